// Which keys and tags a request names. Handlers that run later change the request in
// place: a rewrite changes its path, session_lookup its headers. So keys and tags are read
// before them, except for values that do not exist yet.

package invalidate

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// written is the template of a key or a tag.
type written struct {
	text    string // as it is written
	split   template.Split
	readers []lookup.IdentityReader // of the placeholders, as lookups read them
}

func newWritten(ctx caddy.Context, text string) (written, error) {
	w := written{text: text}
	var err error
	if w.split, err = template.NewSplit(text); err != nil {
		return w, err
	}
	for _, name := range w.split.Names {
		value := "{" + name + "}"
		w.readers = append(w.readers, lookup.NewIdentityReader(lookup.Identity{value}, false).On(ctx))
	}
	return w, nil
}

// filled is a template with the values of a request.
type filled struct {
	*written
	values []string // "" where the request has none
}

// fill returns the template with the values of a request. Each must be a valid identity.
func (w *written) fill(r *http.Request, repl *caddy.Replacer) (filled, error) {
	f := filled{w, make([]string, len(w.split.Names))}
	return f, f.complete(r, repl)
}

// complete reads again the values that are empty.
func (f filled) complete(r *http.Request, repl *caddy.Replacer) error {
	for i := range f.values {
		if f.values[i] != "" {
			continue
		}
		value := f.readers[i].Of(r, repl).ID
		if err := cache.CheckIdentity(value); err != nil {
			return err
		}
		f.values[i] = value
	}
	return nil
}

// empty are the names of the placeholders without a value.
func (f filled) empty() (names []string) {
	for i, name := range f.split.Names {
		if f.values[i] == "" {
			names = append(names, name)
		}
	}
	return names
}

func (f filled) String() string { return f.split.With(f.values) }

// named is what one request named before the next handler ran.
type named struct {
	keys  []string          // of the store
	again []func() []string // return further keys after the next handler
	late  []filled          // keys with an empty placeholder
	tags  []filled
}

// named reads what a request is to drop. The error is that of a malformed key or
// tag.
func (h *Handler) named(r *http.Request, repl *caddy.Replacer) (*named, error) {
	n := new(named)
	for i := range h.keys {
		key, err := h.keys[i].fill(r, repl)
		if err != nil {
			return nil, err
		}
		if key.empty() != nil {
			n.late = append(n.late, key)
			continue
		}
		h.addKey(n, r, repl, key)
	}
	for i := range h.tags {
		tag, err := h.tags[i].fill(r, repl)
		if err != nil {
			return nil, err
		}
		n.tags = append(n.tags, tag)
	}
	if h.session {
		sessionKeyOf := func() []string {
			if key := lookup.FindingsOf(repl).Session.Key; key != "" {
				return []string{key}
			}
			return nil
		}
		if n.keys = append(n.keys, sessionKeyOf()...); sessionKeyOf() == nil {
			n.again = append(n.again, sessionKeyOf)
		}
	}
	return n, nil
}

// addKey adds the keys that lookups use for a key whose placeholders are filled, unless
// it is empty or the plugin's own.
func (h *Handler) addKey(n *named, r *http.Request, repl *caddy.Replacer, f filled) {
	key, policy := f.String(), h.app.Policy()
	if key == "" || policy.IsOwn(policy.KeyPrefix+key) {
		return
	}
	keys, again := h.app.Lookups().KeysOf(r, repl, policy, f.split, key)
	n.keys = append(n.keys, keys...)
	if again != nil {
		n.again = append(n.again, again)
	}
}

// keysOf are the keys to drop after the next handler has succeeded. It leaves
// out keys that are malformed.
func (h *Handler) keysOf(r *http.Request, repl *caddy.Replacer, n *named) []string {
	for _, again := range n.again {
		n.keys = append(n.keys, again()...)
	}
	for _, key := range n.late {
		if key.complete(r, repl) == nil {
			h.addKey(n, r, repl, key)
		}
	}
	slices.Sort(n.keys)
	return slices.Compact(n.keys)
}

// tagsOf are the tags to drop after the next handler has succeeded. It leaves out tags
// that are malformed or lack a value: no record has them.
func (h *Handler) tagsOf(r *http.Request, repl *caddy.Replacer, n *named) (tags []string) {
	for _, tag := range n.tags {
		err := tag.complete(r, repl)
		if empty := tag.empty(); err != nil || empty != nil {
			h.logger.Warn("tag is not invalidated: a placeholder is empty or malformed",
				zap.String("tag", tag.text), zap.Strings("empty", empty), zap.Error(err))
			continue
		}
		tags = append(tags, tag.String())
	}
	return tags
}
