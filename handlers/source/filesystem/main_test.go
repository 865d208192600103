package filesource_test

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
	"github.com/filewallball/caddy-filewallball/handlers/metadata"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
)

func TestMain(m *testing.M) {
	lookuptest.Main(m, func() {
		caddy.RegisterModule(metadata.Handler{})
		caddy.RegisterModule(filesource.Source{})
		caddy.RegisterModule(new(oddFiles))
		httpcaddyfile.RegisterHandlerDirective("file_metadata", metadata.Parse)
		httpcaddyfile.RegisterDirectiveOrder("file_metadata", httpcaddyfile.Before, "file_server")
	})
}

// oddFiles is a file system of files with unusual dates, and of one that cannot
// be read.
type oddFiles struct{ fs.FS }

// failedReads counts how often the file was tried that cannot be read.
var failedReads atomic.Int64

func (*oddFiles) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.odd", New: func() caddy.Module { return new(oddFiles) }}
}

func (o *oddFiles) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (o *oddFiles) Provision(caddy.Context) error {
	files := make(fstest.MapFS)
	for name, date := range oddDates {
		files[name] = &fstest.MapFile{Data: []byte(name), ModTime: date}
	}
	files["broken.txt"] = &fstest.MapFile{Data: []byte("broken"), ModTime: time.Now().Add(-time.Hour)}
	o.FS = files
	return nil
}

var oddDates = map[string]time.Time{
	"none.txt":   {},
	"epoch.txt":  time.Unix(0, 0),
	"second.txt": time.Unix(1, 0),
	"1500.txt":   time.Date(1500, 1, 2, 3, 4, 5, 0, time.UTC),
	"1677.txt":   time.Date(1677, 1, 2, 3, 4, 5, 0, time.UTC),
	"2300.txt":   time.Date(2300, 1, 2, 3, 4, 5, 0, time.UTC),
	"2026.txt":   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
}

func (o *oddFiles) Open(name string) (fs.File, error) {
	file, err := o.FS.Open(name)
	if err == nil && name == "broken.txt" {
		return unreadable{file}, nil
	}
	return file, err
}

type unreadable struct{ fs.File }

func (unreadable) Read([]byte) (int, error) {
	failedReads.Add(1)
	return 0, &fs.PathError{Op: "read", Path: "broken.txt", Err: errors.New("input/output error")}
}

func (unreadable) Seek(int64, int) (int64, error) { return 6, nil }
