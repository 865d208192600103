package source

import "github.com/caddyserver/caddy/v2"

// AskerCtxKey is the context key under which a lookup passes an [Asker] to the
// source that it provisions.
const AskerCtxKey caddy.CtxKey = "filewallball.asker"

// Asker describes a lookup to its source.
type Asker struct {
	// Identity has the templates of the identity's parts, as in the configuration.
	Identity []string
	// Session reports whether records are sessions: an empty object is then absent.
	Session bool
	// Pass reports whether clients may get the answer of the source.
	Pass bool
}
