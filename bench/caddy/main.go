// Command caddy is the Caddy that `make bench` measures, with its standard modules and
// the plugin. For comparison it also has a slow file system and BareRequests.
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
