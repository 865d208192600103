// What the directives' Caddyfile syntax has in common.

package lookup

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/directive"
)

// Reactions says which words an option takes besides a status and continue.
type Reactions struct{ Redirect, Pass, Ask bool }

func (r Reactions) args() string {
	args := "<status>"
	if r.Ask {
		args = "ask | " + args
	}
	if r.Redirect {
		args += " | redirect <url>"
	}
	if r.Pass {
		args += " | pass"
	}
	return args + " | continue"
}

// want lists the words for an error.
func (r Reactions) want() string {
	words := strings.Replace(r.args(), "<status>", "an HTTP status from 400 to 599", 1)
	return orList(strings.Split(words, " | "))
}

// orList joins words: "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// ReactionOption is the option of a reaction.
func ReactionOption(name string, words Reactions, into **Reaction) directive.Option {
	return directive.Option{Name: name, Args: words.args(), Read: func(d *caddyfile.Dispenser) (err error) {
		*into, err = unmarshalReaction(d, words)
		return err
	}}
}

func unmarshalReaction(d *caddyfile.Dispenser, words Reactions) (*Reaction, error) {
	name, args := d.Val(), d.RemainingArgs()
	switch {
	case len(args) == 2 && args[0] == "redirect" && words.Redirect:
		return &Reaction{Redirect: args[1]}, nil
	case len(args) != 1:
	case args[0] == "continue":
		return &Reaction{Continue: true}, nil
	case args[0] == "pass" && words.Pass:
		return &Reaction{Pass: true}, nil
	case args[0] == "ask" && words.Ask:
		return &Reaction{Ask: true}, nil
	default:
		status, err := strconv.Atoi(args[0])
		if err == nil && status >= http.StatusBadRequest && status <= 599 {
			return &Reaction{Status: status}, nil
		}
	}
	return nil, d.Errf("%s: '%s' is not right: want %s", name, strings.Join(args, " "), words.want())
}

// RecordOptions are the options for the keys and the TTLs of records.
func (l *Lookup) RecordOptions() directive.Options {
	return directive.Options{
		directive.Text("key", "<template>", &l.Key),
		directive.Pointer("hash_id", "[on|off]", &l.HashID, directive.OnOff),
		directive.Value("ttl", "<duration>", &l.TTL, directive.Duration),
		directive.Pointer("negative_ttl", "<duration>", &l.NegativeTTL, directive.DurationOrZero),
	}
}

// SourceOption is the option for the source of records. kinds are the sources that the
// directive takes, as its documentation shows them.
func (l *Lookup) SourceOption(kinds string) directive.Option {
	return directive.Option{Name: "source", Args: kinds, Read: func(d *caddyfile.Dispenser) error {
		return l.unmarshalSource(d, kinds)
	}}
}

// ReactionOptions are the options for the response where there is no record.
func (l *Lookup) ReactionOptions(missing, others Reactions) directive.Options {
	return directive.Options{
		ReactionOption("on_missing", missing, &l.OnMissing),
		ReactionOption("on_denied", others, &l.OnDenied),
		ReactionOption("on_error", others, &l.OnError),
		directive.Pointer("stale_if_error", "<duration>", &l.StaleIfError, directive.DurationOrZero),
	}
}

// NameOptions are the options for the tags of records and the name of the lookup.
func (l *Lookup) NameOptions() directive.Options {
	return directive.Options{
		{Name: "tag", Args: "<template...>", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			tags := d.RemainingArgs()
			if len(tags) == 0 {
				return d.Err("tag takes one template or more")
			}
			l.Tags = append(l.Tags, tags...)
			return nil
		}},
		directive.Text("name", "<name>", &l.Name),
	}
}

func (l *Lookup) unmarshalSource(d *caddyfile.Dispenser, kinds string) error {
	want := orList(strings.Split(strings.ReplaceAll(kinds, " { … }", ""), " | "))
	if !d.NextArg() {
		return d.Errf("source takes %s", want)
	}
	name := d.Val()
	if name == "none" {
		return directive.NoArgs(d)
	}
	if _, err := caddy.GetModule("filewallball.sources." + name); err != nil {
		return d.Errf("source '%s' is not known: want %s", name, want)
	}
	unm, err := caddyfile.UnmarshalModule(d, "filewallball.sources."+name)
	if err != nil {
		return err
	}
	l.SourceRaw = caddyconfig.JSONModuleObject(unm, "source", name, nil)
	return nil
}
