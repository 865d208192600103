package dashboard

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestMain(m *testing.M) {
	lookuptest.Main(m, func() {
		caddy.RegisterModule(Handler{})
		httpcaddyfile.RegisterHandlerDirective(directiveName, Parse)
		httpcaddyfile.RegisterDirectiveOrder(directiveName, httpcaddyfile.Before, "respond")
	})
}
