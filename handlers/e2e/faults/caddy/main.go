// Command caddy is Caddy with its standard modules and the plugin. The tests of
// faults build it once and run it as their nodes.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/filewallball/caddy-filewallball"
)

func main() { caddycmd.Main() }
