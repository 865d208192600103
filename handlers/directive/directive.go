// Package directive reads the parts of Caddyfile syntax that all directives
// and options of this module have in common. Every error names the line and
// says what would be right.
package directive

import (
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// OneArg returns the only argument of the current option.
func OneArg(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return "", d.Errf("%s takes one argument, not %d", name, len(args))
	}
	return args[0], nil
}

// NoArgs refuses arguments of the current option.
func NoArgs(d *caddyfile.Dispenser) error {
	name := d.Val()
	if args := d.RemainingArgs(); len(args) > 0 {
		return d.Errf("%s takes no argument, but has '%s'", name, args[0])
	}
	return nil
}

// Duration returns the only argument of the current option as a
// duration of at least 1ms.
func Duration(d *caddyfile.Dispenser) (caddy.Duration, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return 0, err
	}
	return parseDuration(d, name, arg)
}

// DurationOrZero is like Duration, but also takes 0.
func DurationOrZero(d *caddyfile.Dispenser) (caddy.Duration, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil || arg == "0" || arg == "0s" {
		return 0, err
	}
	return parseDuration(d, name, arg)
}

// parseDuration reads arg, an argument of the option of that name, as a
// duration of at least 1ms.
func parseDuration(d *caddyfile.Dispenser, name, arg string) (caddy.Duration, error) {
	dur, err := caddy.ParseDuration(arg)
	if err != nil || dur < time.Millisecond {
		return 0, d.Errf("%s: '%s' is not a duration of at least 1ms, like 500ms, 30s or 1h", name, arg)
	}
	return caddy.Duration(dur), nil
}

// Size returns the only argument of the current option as a number of
// bytes above zero.
func Size(d *caddyfile.Dispenser) (int64, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return 0, err
	}
	return ParseSize(d, name, arg)
}

// SizeAndTotal returns one or two arguments of the current option as
// numbers of bytes above zero: the size of one thing, and the size of all together, which
// is 0 if it is not given.
func SizeAndTotal(d *caddyfile.Dispenser) (size, total int64, err error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 && len(args) != 2 {
		return 0, 0, d.Errf("%s takes the size of the largest one and optionally the size of all together, like %[1]s 64KiB 256MiB", name)
	}
	if size, err = ParseSize(d, name, args[0]); err == nil && len(args) == 2 {
		total, err = ParseSize(d, name, args[1])
	}
	return size, total, err
}

// ParseSize reads a size, such as 64KiB, in bytes. name is that of its
// option.
func ParseSize(d *caddyfile.Dispenser, name, arg string) (int64, error) {
	size, err := humanize.ParseBytes(arg)
	if err != nil || size == 0 || size > 1<<62 {
		return 0, d.Errf("%s: '%s' is not a size, like 64MiB or 1GB", name, arg)
	}
	return int64(size), nil
}

// OnOff returns the argument on or off of the current option; without
// one it is on.
func OnOff(d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) == 0 || len(args) == 1 && args[0] == "on":
		return true, nil
	case len(args) == 1 && args[0] == "off":
		return false, nil
	}
	return false, d.Errf("%s takes on or off, not '%s'", name, strings.Join(args, " "))
}
