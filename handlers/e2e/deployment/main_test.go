// Package deployment tests deploy/: the Caddyfiles and the start script of Redis run with
// the environment that compose, Kubernetes and systemd give them. The rest is only
// checked, because tests have no container engine.
package deployment

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

// dir is deploy/.
const dir = "../../../deploy"
