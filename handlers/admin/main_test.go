package admin

import (
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/metadata"
	"github.com/filewallball/caddy-filewallball/handlers/session"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
)

func TestMain(m *testing.M) {
	lookuptest.Main(m, func() {
		caddy.RegisterModule(API{})
		caddy.RegisterModule(session.Handler{})
		caddy.RegisterModule(metadata.Handler{})
		caddy.RegisterModule(httpsource.Source{})
		caddy.RegisterModule(filesource.Source{})
	})
}
