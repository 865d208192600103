// Package openapi compares docs/openapi.yaml with the endpoints of a running Caddy:
// every endpoint that it describes is called, and every endpoint must be in it.
package openapi

import (
	"testing"

	_ "github.com/filewallball/caddy-filewallball"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
