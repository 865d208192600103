package source

import "github.com/caddyserver/caddy/v2"

// AskerCtxKey is under which a lookup tells its source, when it provisions it,
// what it is: an [Asker].
const AskerCtxKey caddy.CtxKey = "filewallball.asker"

// Asker is what a source may know of its lookup.
type Asker struct {
	// Identity has the templates of the identity's parts, as in the configuration.
	Identity []string
	// Session reports that a record is a session: an empty one is none.
	Session bool
	// Pass reports that clients may be answered what the source answered.
	Pass bool
}
