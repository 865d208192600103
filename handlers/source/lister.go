package source

import (
	"context"
	"iter"

	"github.com/caddyserver/caddy/v2"
)

// Quick is a source whose loads may be as short as reading the metadata of a file. A
// warm-up then takes the leases of many loads together.
type Quick interface {
	// Quick reports whether loads are that short.
	Quick() bool
}

// Lister is a source that can list all its identities.
type Lister interface {
	// CanList returns an error if the source needs a request to find its
	// records. The replacer has all placeholders that are known without a
	// request.
	CanList(repl *caddy.Replacer) error
	// List lists identities in the form that requests have them. An error,
	// which names no identity, stands for a part that cannot be listed; the
	// listing goes on after it. It ends when ctx does.
	List(ctx context.Context, repl *caddy.Replacer) iter.Seq2[string, error]
}
