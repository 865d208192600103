// Package version has the version of the plugin.
package version

import (
	"runtime/debug"
	"sync"
)

// Module is the path of the plugin's Go module.
const Module = "github.com/filewallball/caddy-filewallball"

// String returns the version that Go recorded in the build, such as "v0.1.0", or
// "devel" if the plugin was built from a working directory.
var String = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	modules := append([]*debug.Module{&info.Main}, info.Deps...)
	for _, m := range modules {
		if m.Path != Module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
})

// UserAgent is the User-Agent of requests to sources.
func UserAgent() string { return "caddy-filewallball/" + String() }
