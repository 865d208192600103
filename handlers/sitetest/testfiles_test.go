package sitetest_test

import (
	"io/fs"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(new(testFiles)) }

// testFiles is a file system that is a directory.
type testFiles struct {
	Dir string `json:"dir,omitempty"`
	fs.FS
}

func (*testFiles) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.testfiles", New: func() caddy.Module { return new(testFiles) }}
}

func (f *testFiles) Provision(caddy.Context) error {
	f.FS = os.DirFS(f.Dir)
	return nil
}

func (f *testFiles) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&f.Dir) {
		return d.ArgErr()
	}
	return nil
}
