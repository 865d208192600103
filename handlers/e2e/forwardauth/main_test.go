// Package forwardauth tests cached_forward_auth, and the session_lookup that it is short
// for, against the real oauth2-proxy and against servers that answer like Authelia,
// authentik and Tinyauth. Each test compares it with Caddy's own forward_auth.
package forwardauth

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
