package metadata

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/session"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
)

func TestMain(m *testing.M) {
	lookuptest.Main(m, func() {
		caddy.RegisterModule(Handler{})
		caddy.RegisterModule(new(scriptedSource))
		caddy.RegisterModule(session.Handler{})
		caddy.RegisterModule(httpsource.Source{})
		caddy.RegisterModule(filesource.Source{})
		httpcaddyfile.RegisterHandlerDirective("file_metadata", Parse)
		httpcaddyfile.RegisterDirectiveOrder("file_metadata", httpcaddyfile.Before, "file_server")
		httpcaddyfile.RegisterHandlerDirective("session_lookup", session.Parse)
		httpcaddyfile.RegisterDirectiveOrder("session_lookup", httpcaddyfile.Before, "request_header")
	})
}
