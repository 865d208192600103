// What the directives' Caddyfile syntax has in common.

package lookup

import (
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// PositionName is the name of a route without one: its directive, and how
// many of its kind there are up to it in the file. Unlike the order in which
// servers are provisioned, it stays the same from one load to the next.
func PositionName(h httpcaddyfile.Helper, directive string) string {
	counter := AppID + "." + directive
	n, _ := h.State[counter].(int)
	h.State[counter] = n + 1
	name := directive + "-" + strconv.Itoa(n+1)
	if h.IsNamedRoute() { // these count for themselves
		name = "named-" + name
	}
	return name
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

// UnmarshalOption reads the current subdirective if both lookups have it.
func (l *Lookup) UnmarshalOption(d *caddyfile.Dispenser, once directive.Once, redirects bool) (known bool, err error) {
	switch d.Val() {
	case "key", "hash_id", "ttl", "negative_ttl", "source", "on_missing", "on_denied", "on_error", "stale_if_error", "name":
	case "tag":
		tags := d.RemainingArgs()
		if len(tags) == 0 {
			return true, d.Err("tag takes one template or more")
		}
		l.Tags = append(l.Tags, tags...)
		return true, nil
	default:
		return false, nil
	}
	if err := once.Check(d); err != nil {
		return true, err
	}
	switch d.Val() {
	case "key":
		l.Key, err = directive.OneArg(d)
	case "hash_id":
		var on bool
		on, err = directive.OnOff(d)
		l.HashID = &on
	case "ttl":
		l.TTL, err = directive.Duration(d)
	case "negative_ttl":
		l.NegativeTTL, err = directive.Duration(d)
	case "stale_if_error":
		var stale caddy.Duration
		stale, err = directive.DurationOrZero(d)
		l.StaleIfError = &stale
	case "name":
		l.Name, err = directive.OneArg(d)
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
		return directive.NoArgs(d)
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
