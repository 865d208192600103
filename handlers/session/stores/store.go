// Package stores reads the session stores of applications. A store has the cookie that
// leads to a session, its signature or encryption, the session's key in Redis, and its
// format. Each application has a file.
//
// They are Caddy modules in the namespace filewallball.session_stores, named in
// the Caddyfile after from:
//
//	session_lookup {
//		from express {
//			secret {env.SESSION_SECRET}
//		}
//		require user_id
//	}
//
// Other modules add a store by implementing [Store]; see the example. They
// embed [Settings] for the options that all stores share.
package stores

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Namespace is that of the modules: the argument of from is a module's name.
const Namespace = "filewallball.session_stores"

// Store is a way in which an application keeps its sessions. Its methods are
// called concurrently.
type Store interface {
	// Identities lists the ids of the sessions that a request may mean, in the
	// order of its cookies. It leaves out cookies whose signature or encryption
	// is not valid. Signatures must be compared in constant time.
	Identities(r *http.Request) []string

	// KeyTemplate is the template of the keys of sessions, such as sess:{id}.
	// It is called after the module is provisioned.
	KeyTemplate() string

	// Decode converts a session to JSON. It must not execute anything nor take
	// more memory than a small multiple of its input, and its errors must not
	// repeat the input.
	Decode(raw cache.Raw) (Session, error)
}

// Session is a decoded session.
type Session struct {
	// JSON is the text of an object. require, copy_headers and placeholders use
	// its fields.
	JSON string
	// Expires is when the session ends. Default: the zero time, which stands
	// for the expiry of its key in Redis.
	Expires time.Time
}

// Login is implemented by a [Store] whose sessions have the user in fixed fields.
type Login interface {
	// UserFields are the paths of such fields, in the syntax of require. The
	// first that is a text or a number is the user in {http.auth.user.id} and
	// in access logs. Default: user_id, sub and id.
	UserFields() []string
}

// Signer is implemented by a [Store] whose application may sign or encrypt its
// cookies.
type Signer interface {
	// SignsIdentities reports whether Identities returns only what the
	// application has signed or encrypted, so that no client can choose an id.
	// It is called after the module is provisioned. Default: false.
	SignsIdentities() bool
}

// Variant is implemented by a [Store] with options that change the result of
// Decode. Two lookups with one key must have equal variants.
type Variant interface {
	// Variant is equal for stores that decode alike.
	Variant() string
}

// All are the modules of this package.
func All() []caddy.Module {
	return []caddy.Module{
		BetterAuth{}, Django{}, Express{}, Fastify{}, Flask{}, Koa{}, Laravel{}, PHP{}, Rack{}, Spring{},
	}
}
