// Package sessionstores tests session_lookup's from against the software that
// it reads the sessions of: each application in testdata runs unchanged, with
// its framework's own session store in a real Redis.
package sessionstores

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
