// Package filewallball puts a shared cache of sessions and file metadata in
// front of file routes.
package filewallball

import (
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/filewallball/caddy-filewallball/handlers"
	_ "github.com/maypok86/otter/v2"
	_ "github.com/redis/go-redis/v9"
)
