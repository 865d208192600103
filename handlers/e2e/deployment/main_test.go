// Package deployment holds deploy/ against what is to run it: the Caddyfiles and the
// start of Redis are run with the environment that compose, Kubernetes and systemd
// give them; the rest is checked, because no container engine runs in tests.
package deployment

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }

// dir is the folder of everything that is tested here.
const dir = "../../../deploy"
