// Package dashboard tests the page of lookup_dashboard as an operator meets it:
// in a real browser, over a real Caddy and a real Redis.
package dashboard

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
