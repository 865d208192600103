// Package version says which version of the plugin this is.
package version

import (
	"runtime/debug"
	"sync"
)

// Module is the path of the plugin's Go module.
const Module = "github.com/filewallball/caddy-filewallball"

// String is the version that Go has built, such as "v0.1.0"; "devel" where the
// plugin was built from a working directory.
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

// UserAgent is what applications that are asked for records see.
func UserAgent() string { return "caddy-filewallball/" + String() }
