package lookuptest

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// Main runs the tests of a package whose modules and directives register
// registers, and fails where they leave a goroutine behind.
func Main(m *testing.M, register func()) {
	caddy.RegisterModule(new(App))
	register()
	// certmagic lets go of its storage in its own time
	goleak.VerifyTestMain(m, redistest.IgnoreLateDials(),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}
