// Package stores knows how applications keep their sessions: which cookie
// leads to a session, how it is signed or encrypted, under which key of Redis
// the session is, and in which format. There is a file for each of them.
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
// Another module adds one by implementing [Store]; see the example. A [Settings]
// in it brings the options that all of them have.
package stores

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Namespace is that of the modules: a store is from's argument.
const Namespace = "filewallball.session_stores"

// Store is how an application keeps its sessions. Its methods may be called at
// once from any goroutine.
type Store interface {
	// Identities lists the ids of the sessions that a request may mean, in the
	// order of its cookies: of those alone whose cookie is signed or encrypted
	// as it should be. Signatures must be compared in constant time.
	Identities(r *http.Request) []string

	// KeyTemplate is what the keys of sessions look like, such as sess:{id}.
	// It is asked after the module is provisioned.
	KeyTemplate() string

	// Decode makes JSON of a session as the application wrote it. It must
	// neither execute anything nor take more memory than a small multiple of
	// what it reads, and its errors must not repeat it.
	Decode(raw cache.Raw) (Session, error)
}

// Session is a decoded session.
type Session struct {
	// JSON is the text of an object, in which require, copy_headers and
	// placeholders find their fields.
	JSON string
	// Expires is when the session ends; the zero time is when its key in Redis
	// expires.
	Expires time.Time
}

// Login is implemented by a [Store] that knows where its sessions say who is
// logged in.
type Login interface {
	// UserFields are the paths of such fields, as require takes them; the first
	// that is a text or a number is the user, in {http.auth.user.id} and access
	// logs. Where there is none of them, user_id, sub and id count.
	UserFields() []string
}

// Variant is implemented by a [Store] with options that change what Decode
// makes of a value. Two lookups with one key must have one variant.
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
