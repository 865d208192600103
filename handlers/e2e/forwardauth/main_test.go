// Package forwardauth tests cached_forward_auth, and session_lookup with what
// it stands for, against the real oauth2-proxy and against a server that
// answers as Authelia does. Caddy's own forward_auth stands beside it: both
// must answer the same.
package forwardauth

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
