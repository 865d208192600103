package directive

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Block reads a block of subdirectives, of which each may be given once. want is the part
// of an error that says what would be right. read reads one subdirective and returns false
// if there is none of that name.
func Block(d *caddyfile.Dispenser, want string, read func(name string) (known bool, err error)) error {
	if d.NextArg() {
		return d.Errf("unexpected '%s': %s", d.Val(), want)
	}
	once := make(Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if err := once.Check(d); err != nil {
			return err
		}
		if err := CheckLine(d); err != nil {
			return err
		}
		known, err := read(name)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unknown option '%s': %s", name, want)
		}
	}
	return nil
}

// OneOf returns the only argument of the current subdirective, which must be
// one of these.
func OneOf(d *caddyfile.Dispenser, values ...string) (string, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return "", err
	}
	for _, value := range values {
		if arg == value {
			return arg, nil
		}
	}
	return "", d.Errf("%s: '%s' is not one of %s", name, arg, strings.Join(values, ", "))
}

// Count returns the only argument of the current subdirective as a whole number
// of at least least.
func Count(d *caddyfile.Dispenser, least int) (int, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < least {
		return 0, d.Errf("%s: '%s' is not a whole number of at least %d", name, arg, least)
	}
	return n, nil
}

// Percent returns the only argument of the current subdirective as a percentage
// above 0 and up to 100; the sign may be left out.
func Percent(d *caddyfile.Dispenser) (float64, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return 0, err
	}
	p, err := strconv.ParseFloat(strings.TrimSuffix(arg, "%"), 64)
	if err != nil || !(p > 0 && p <= 100) {
		return 0, d.Errf("%s: '%s' is not a percentage above 0 and up to 100, like 80", name, arg)
	}
	if p < 1 {
		return 0, d.Errf("%s: '%s' is less than one percent: write %g for %g percent", name, arg, 100*p, 100*p)
	}
	return p, nil
}
