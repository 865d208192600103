// Keys that a configuration writes out, to drop records: which keys lookups use
// for them.

package lookup

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// KeysOf returns the keys of the records that a key written out with placeholders
// means. written is the template of the key, without key_prefix, and key its value for a
// request.
//
// The keys of lookups have another text than the identity if they hash identities, or if
// the identity is long or has several parts. A template that is the key of a lookup with
// its identity in place of {id} means the lookup's key for the request. In any other
// template, the text in the place of {id} is the identity.
//
// The keys of some lookups depend on more of a request than the template names, which
// later handlers may still change. again, unless nil, returns the keys of the same
// identities for the request as it is when again is called.
func (l *Lookups) KeysOf(r *http.Request, repl *caddy.Replacer, policy *Policy, written template.Split, key string) (keys []string, again func() []string) {
	key = policy.KeyPrefix + key
	keys = []string{key}
	for _, family := range policy.Families {
		if before, after, ok := strings.Cut(family.KeyTemplate, cache.IDPlaceholder); ok {
			keys = appendKeyWith(keys, policy.KeyPrefix+before, after, key, false)
		}
	}
	var varying []func() []string
	for _, lookup := range l.distinct() {
		if lookup.written.Equal(written) {
			keyOf := lookup.keyOf(r, repl)
			keys = append(keys, keyOf()...)
			if lookup.takesMore() {
				varying = append(varying, keyOf)
			}
		}
		if before, after, ok := lookup.key.aroundID(); ok && !lookup.key.foreign {
			keys = appendKeyWith(keys, before, after, key, lookup.key.hash)
		}
	}
	if varying != nil {
		again = func() (keys []string) {
			for _, keyOf := range varying {
				keys = append(keys, keyOf()...)
			}
			return keys
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), again
}

// keyOf returns a function that returns the key of the request's identity for the request
// as it is when the function is called, or nothing if there is none.
func (l *Lookup) keyOf(r *http.Request, repl *caddy.Replacer) func() []string {
	id := l.Identify(r, repl)
	return func() []string {
		if id.ID == "" {
			return nil
		}
		req, err := l.Request(r, repl, id)
		if err != nil {
			return nil
		}
		return []string{req.Key}
	}
}

// takesMore reports whether the key depends on values of a request that are neither in
// the identity nor in the template of the key.
func (l *Lookup) takesMore() bool {
	_, locates := l.source.(Locator)
	return locates || l.varying != nil
}

// appendKeyWith appends the key for the identity that is between two texts in a written
// key.
func appendKeyWith(keys []string, before, after, key string, hash bool) []string {
	id, begins := strings.CutPrefix(key, before)
	id, ends := strings.CutSuffix(id, after)
	if !begins || !ends || id == "" {
		return keys
	}
	return append(keys, before+cache.KeyIdentity(id, hash)+after)
}

// aroundID returns the texts before and after the identity. ok is false unless the
// template consists of texts and the whole identity, once. The texts include key_prefix
// and the values of the environment.
func (k *keyTemplate) aroundID() (before, after string, ok bool) {
	for _, s := range k.segments {
		switch {
		case !s.isText():
			if ok || s.part != 0 {
				return "", "", false
			}
			ok = true
		case ok:
			after = s.text
		default:
			before = s.text
		}
	}
	return before, after, ok
}

// writtenKey returns the template of the key with the identity in place of {id}, as a
// configuration writes it out. It is zero if the identity does not come from a template.
func (l *Lookup) writtenKey() (template.Split, error) {
	if len(l.ID) == 0 || l.kind.Decoder != nil {
		return template.Split{}, nil
	}
	replaced := []string{cache.IDPlaceholder, strings.Join(l.ID, ":")}
	for n, part := range l.ID {
		replaced = append(replaced, "{id."+strconv.Itoa(n+1)+"}", part)
	}
	return template.NewSplit(strings.NewReplacer(replaced...).Replace(l.keyText))
}

// isWrittenAs reports whether another lookup with the same question has the same keys
// for the same requests.
func (l *Lookup) isWrittenAs(other *Lookup) bool {
	return l.keyText == other.keyText && l.key.hash == other.key.hash && slices.Equal(l.ID, other.ID) &&
		l.sourceID == other.sourceID
}

// templateOfKey returns the template of the keys of a lookup, without key_prefix.
func (l *Lookup) templateOfKey(kind *Kind, family cache.Family, sourceID string) (string, error) {
	text := cmp.Or(l.Key, kind.DefaultKey, family.KeyTemplate)
	if sourceID == "" && strings.Contains(text, sourcePlaceholder) {
		return "", fmt.Errorf("key '%s' has %s, and there is no source: write another text", text, sourcePlaceholder)
	}
	return strings.ReplaceAll(text, sourcePlaceholder, sourceID), nil
}
