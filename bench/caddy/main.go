// Command caddy is what `make bench` measures: Caddy with its standard modules,
// the plugin, and a slow file system. Configured without them, it is Caddy as
// it stands.
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/filewallball/caddy-filewallball"
)

func main() {
	caddy.RegisterModule(SlowFS{})
	caddycmd.Main()
}
