// What the directives' Caddyfile syntax has in common.

package handlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// Once refuses a second use of single-valued subdirectives.
type Once map[string]bool

// Check returns an error that names the token if it was there before.
func (o Once) Check(d *caddyfile.Dispenser) error {
	name := d.Val()
	if o[name] {
		return d.Errf("%s is given twice: once is all it takes", name)
	}
	o[name] = true
	return nil
}

// OneArg returns the only argument of the current subdirective.
func OneArg(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return "", d.Errf("%s takes one argument, not %d", name, len(args))
	}
	return args[0], nil
}

// NoArgs refuses arguments of the current subdirective.
func NoArgs(d *caddyfile.Dispenser) error {
	name := d.Val()
	if args := d.RemainingArgs(); len(args) > 0 {
		return d.Errf("%s takes no argument, but has '%s'", name, args[0])
	}
	return nil
}

// Duration returns the only argument of the current subdirective as a
// duration above zero.
func Duration(d *caddyfile.Dispenser) (caddy.Duration, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return 0, err
	}
	return parseDuration(d, name, arg)
}

func parseDuration(d *caddyfile.Dispenser, name, arg string) (caddy.Duration, error) {
	dur, err := caddy.ParseDuration(arg)
	if err != nil || dur < time.Millisecond {
		return 0, d.Errf("%s: '%s' is not a duration of at least 1ms, like 500ms, 30s or 1h", name, arg)
	}
	return caddy.Duration(dur), nil
}

// Size returns the only argument of the current subdirective as a number of
// bytes above zero.
func Size(d *caddyfile.Dispenser) (int64, error) {
	name := d.Val()
	arg, err := OneArg(d)
	if err != nil {
		return 0, err
	}
	size, err := humanize.ParseBytes(arg)
	if err != nil || size == 0 || size > 1<<62 {
		return 0, d.Errf("%s: '%s' is not a size, like 64MiB or 1GB", name, arg)
	}
	return int64(size), nil
}

// OnOff returns the argument on or off of the current subdirective; without
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
	return false, d.Errf("%s takes on or off, not '%s'", name, args[0])
}

// unmarshalReaction reads <status> | continue and, where it may stand,
// redirect <url>.
func unmarshalReaction(d *caddyfile.Dispenser, redirects bool) (*Reaction, error) {
	name := d.Val()
	want := "an HTTP status from 400 to 599, or continue"
	if redirects {
		want = "an HTTP status from 400 to 599, redirect <url>, or continue"
	}
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "continue":
		return &Reaction{Continue: true}, nil
	case len(args) == 2 && args[0] == "redirect" && redirects:
		return &Reaction{Redirect: args[1]}, nil
	case len(args) == 1:
		status, err := strconv.Atoi(args[0])
		if err == nil && status >= http.StatusBadRequest && status <= 599 {
			return &Reaction{Status: status}, nil
		}
		return nil, d.Errf("%s: '%s' is not right: want %s", name, args[0], want)
	}
	return nil, d.Errf("%s takes %s", name, want)
}

// unmarshalLookup reads the current subdirective if both lookups have it.
func (l *Lookup) unmarshal(d *caddyfile.Dispenser, once Once, redirects bool) (known bool, err error) {
	switch d.Val() {
	case "key", "hash_id", "ttl", "negative_ttl", "source", "on_missing", "on_denied", "on_error", "name":
	default:
		return false, nil
	}
	if err := once.Check(d); err != nil {
		return true, err
	}
	switch d.Val() {
	case "key":
		l.Key, err = OneArg(d)
	case "hash_id":
		var on bool
		on, err = OnOff(d)
		l.HashID = &on
	case "ttl":
		l.TTL, err = Duration(d)
	case "negative_ttl":
		l.NegativeTTL, err = Duration(d)
	case "name":
		l.Name, err = OneArg(d)
	case "source":
		err = l.unmarshalSource(d)
	case "on_missing":
		l.OnMissing, err = unmarshalReaction(d, redirects)
	case "on_denied":
		l.OnDenied, err = unmarshalReaction(d, false)
	case "on_error":
		l.OnError, err = unmarshalReaction(d, false)
	}
	return true, err
}

func (l *Lookup) unmarshalSource(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("source takes none, http <url> or file_system")
	}
	name := d.Val()
	if name == "none" {
		return NoArgs(d)
	}
	if _, err := caddy.GetModule("filewallball.sources." + name); err != nil {
		return d.Errf("source '%s' is not known: want none, http <url> or file_system", name)
	}
	unm, err := caddyfile.UnmarshalModule(d, "filewallball.sources."+name)
	if err != nil {
		return err
	}
	l.SourceRaw = caddyconfig.JSONModuleObject(unm, "source", name, nil)
	return nil
}
