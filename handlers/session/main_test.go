package session

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/metadata"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
)

func TestMain(m *testing.M) {
	lookuptest.Main(m, func() {
		caddy.RegisterModule(Handler{})
		for _, store := range stores.All() {
			caddy.RegisterModule(store)
		}
		caddy.RegisterModule(metadata.Handler{})
		caddy.RegisterModule(httpsource.Source{})
		caddy.RegisterModule(filesource.Source{})
		httpcaddyfile.RegisterHandlerDirective("session_lookup", Parse)
		httpcaddyfile.RegisterDirectiveOrder("session_lookup", httpcaddyfile.Before, "request_header")
		httpcaddyfile.RegisterHandlerDirective(AuthDirective, ParseForwardAuth)
		httpcaddyfile.RegisterDirectiveOrder(AuthDirective, httpcaddyfile.Before, "request_header")
	})
}
