// Lookups that use one record for different identities: a client could use the session of
// one identity as that of another.

package lookup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// origin is where an identity comes from.
type origin int

const (
	unknownOrigin origin = iota // such as a map
	fromClient                  // the client chooses it, so it must be a secret
	fromServer                  // the server has verified it, so it may be known to anyone
)

// originOf returns where an identity comes from. One verified value is enough.
func originOf(id Identity) origin {
	o := fromClient
	for _, part := range id {
		names, err := template.Placeholders(part)
		if err != nil {
			return unknownOrigin
		}
		for _, name := range names {
			switch {
			case isVerified(name):
				return fromServer
			case !isChosen(name):
				o = unknownOrigin
			}
		}
	}
	return o
}

func isVerified(name string) bool {
	return slices.ContainsFunc([]string{
		"http.request.tls.client.", "http.vars.client_ip", "http.request.remote", "http.auth.user.", SessionPrefix,
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func isChosen(name string) bool {
	return slices.ContainsFunc([]string{
		"http.request.cookie.", "http.request.header.", "http.request.uri", "http.request.orig_uri", "http.request.body",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// mixes returns an error if two lookups of sessions that ask the same can use one record
// for different identities. A require keeps records that the application writes apart,
// and not the answers of a source: one is for exactly one identity. A source is asked for
// the identity itself, so it does not matter for it where that comes from.
func (a *asked) mixes(b *asked) error {
	if a.question != b.question || a.question.family != cache.Session || a.signed || b.signed {
		return nil
	}
	written := a.question.sourceID == ""
	verified := written && (a.origin == fromServer && b.origin == fromClient || a.origin == fromClient && b.origin == fromServer)
	mine, other := a.exactKey(), b.exactKey()
	// most pairs of a large configuration end here
	if begins, others := a.key.begins(), b.key.begins(); !verified && slices.Equal(mine, other) ||
		!strings.HasPrefix(begins, others) && !strings.HasPrefix(others, begins) {
		return nil
	}
	why := "with different identities, so a session of one could be used as one of the other"
	switch {
	case written && !verified && a.gatedFrom(b), !meet(mine, other):
		return nil
	case verified:
		why = "the identity of one is verified by the server, and clients could send it as that of the other"
	}
	return fmt.Errorf("%s and %s can look up the same key, but %s: give one of them keys of its own, like: key %s:{id}",
		b.place, a.place, why, suggestedKey(a))
}

// exactKey returns the exact pattern of the keys. It is made once.
func (a *asked) exactKey() []patternItem {
	if a.exact == nil {
		a.exact = a.key.exact(a.question.parts)
	}
	return a.exact
}

// gatedFrom reports whether the lookup that can read the records of the other one has a
// require. It is the one whose keys begin with less text, or else both.
func (a *asked) gatedFrom(b *asked) bool {
	mine, other := a.key.begins(), b.key.begins()
	switch {
	case len(mine) < len(other):
		return a.gated
	case len(other) < len(mine):
		return b.gated
	}
	return a.gated && b.gated
}

// exact is [keyTemplate.pattern] with what is known of the values: a hash has 64 digits,
// and parts and values have no colon.
func (k *keyTemplate) exact(parts int) []patternItem {
	var items []patternItem
	for i, s := range k.segments {
		switch {
		case s.isText():
			for j := range len(s.text) {
				items = append(items, patternItem{c: s.text[j]})
			}
		case k.isHash(i):
			items = append(items, slices.Repeat([]patternItem{{digit: true}}, 64)...)
		case s.part == 0 && parts < 2:
			items = append(items, patternItem{any: true})
		case s.part == 0:
			items = append(items, patternItem{any: true, noColon: true})
			for range parts - 1 {
				items = append(items, patternItem{c: ':'}, patternItem{any: true, noColon: true})
			}
		default:
			items = append(items, patternItem{any: true, noColon: true})
		}
	}
	return items
}

// takes reports whether one byte of another pattern can be, or be a part of, this item.
func (p patternItem) takes(q patternItem) bool {
	isText := !q.any && !q.digit
	switch {
	case p.any:
		return !p.noColon || !isText || q.c != ':'
	case p.digit:
		return !isText || strings.IndexByte("0123456789abcdef", q.c) >= 0
	case q.digit:
		return strings.IndexByte("0123456789abcdef", p.c) >= 0
	}
	return p.c == q.c
}

// meet reports whether two patterns can match the same text. In doubt it returns true.
func meet(a, b []patternItem) bool {
	// can[j] reports whether a[i:] and b[j:] can match the same text
	can := make([]bool, len(b)+1)
	next := make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				can[j] = true
			case i < len(a) && a[i].any:
				can[j] = next[j] || j < len(b) && a[i].takes(b[j]) && can[j+1]
			case j < len(b) && b[j].any:
				can[j] = can[j+1] || i < len(a) && b[j].takes(a[i]) && next[j]
			default:
				can[j] = i < len(a) && j < len(b) && a[i].takes(b[j]) && next[j+1]
			}
		}
		can, next = next, can
	}
	return next[0]
}
