package upload

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/session"
)

func TestMain(m *testing.M) {
	lookuptest.Main(m, func() {
		caddy.RegisterModule(Handler{})
		caddy.RegisterModule(Report{})
		caddy.RegisterModule(session.Handler{})
		httpcaddyfile.RegisterHandlerDirective("upload_progress", Parse)
		httpcaddyfile.RegisterDirectiveOrder("upload_progress", httpcaddyfile.Before, "invoke")
		httpcaddyfile.RegisterHandlerDirective("upload_progress_report", ParseReport)
		httpcaddyfile.RegisterDirectiveOrder("upload_progress_report", httpcaddyfile.Before, "respond")
		httpcaddyfile.RegisterHandlerDirective("session_lookup", session.Parse)
		httpcaddyfile.RegisterDirectiveOrder("session_lookup", httpcaddyfile.Before, "request_header")
	})
}
