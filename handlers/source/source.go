package source

import "github.com/caddyserver/caddy/v2"

// AskerCtxKey is the context key under which a lookup passes an [Asker] to its
// source when it provisions the source.
const AskerCtxKey caddy.CtxKey = "filewallball.asker"

// Asker describes a lookup to its source.
type Asker struct {
	// Identity has the templates of the identity's parts, as in the configuration.
	Identity []string
	// Session reports whether records are sessions: an empty object is then absent.
	Session bool
	// Pass reports whether clients may get the source's answer.
	Pass bool
}
