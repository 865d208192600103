// Package openapi holds docs/openapi.yaml against the endpoints of a running
// Caddy: whatever it says of an endpoint is called, and whatever there is to call
// must be in it.
package openapi

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
