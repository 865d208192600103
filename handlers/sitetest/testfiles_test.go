package sitetest_test

import (
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(new(testFiles)) }

// testFiles is a file system that is a directory.
type testFiles struct {
	Dir string `json:"dir,omitempty"`
	fs.FS
	opens *atomic.Int64
}

// opensByDir counts how often files in a directory were opened, also to read
// their metadata.
var opensByDir sync.Map

func opensIn(dir string) *atomic.Int64 {
	count, _ := opensByDir.LoadOrStore(dir, new(atomic.Int64))
	return count.(*atomic.Int64)
}

func (*testFiles) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.testfiles", New: func() caddy.Module { return new(testFiles) }}
}

func (f *testFiles) Provision(caddy.Context) error {
	f.FS, f.opens = os.DirFS(f.Dir), opensIn(f.Dir)
	return nil
}

func (f *testFiles) Open(name string) (fs.File, error) {
	if name != "." { // which the check of roots opens, on a clock of its own
		f.opens.Add(1)
	}
	return f.FS.Open(name)
}

func (f *testFiles) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&f.Dir) {
		return d.ArgErr()
	}
	return nil
}
