package directive

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// OneOf returns a function that reads the only argument of the current option, which
// must be one of these words.
func OneOf(words ...string) func(*caddyfile.Dispenser) (string, error) {
	return func(d *caddyfile.Dispenser) (string, error) {
		name := d.Val()
		arg, err := OneArg(d)
		if err == nil && !slices.Contains(words, arg) {
			err = d.Errf("%s: '%s' is not one of %s", name, arg, strings.Join(words, ", "))
		}
		if err != nil {
			return "", err
		}
		return arg, nil
	}
}

// Count returns a function that reads the only argument of the current option as a
// whole number of at least least.
func Count(least int) func(*caddyfile.Dispenser) (int, error) {
	return func(d *caddyfile.Dispenser) (int, error) {
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
}

// Percent returns the only argument of the current option as a percentage
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
