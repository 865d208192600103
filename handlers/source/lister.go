package source

import (
	"context"
	"iter"

	"github.com/caddyserver/caddy/v2"
)

// Lister is a source that can list all identities it knows.
type Lister interface {
	// CanList returns an error where the source needs a request to know where
	// its records are. The replacer has all placeholders that are known without
	// one.
	CanList(repl *caddy.Replacer) error
	// List lists identities, each in a form that a request would have it. An
	// error, which names no identity, stands for a part that cannot be listed; the
	// rest follows. It ends early when ctx does.
	List(ctx context.Context, repl *caddy.Replacer) iter.Seq2[string, error]
}
