// Command caddy is what `make bench` measures: Caddy with its standard modules,
// the plugin, a slow file system, and a handler that does the least. Configured without them, it is Caddy as
// it stands.
package main

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/filewallball/caddy-filewallball"
)

func main() {
	caddy.RegisterModule(SlowFS{})
	caddy.RegisterModule(BareRequests{})
	httpcaddyfile.RegisterHandlerDirective("bare_requests", parseBareRequests)
	caddycmd.Main()
}
