package source

import "github.com/caddyserver/caddy/v2"

// IdentityCtxKey is under which a lookup tells its source, when it provisions
// it, the template of its identity (a string, as in the configuration).
const IdentityCtxKey caddy.CtxKey = "filewallball.identity"
