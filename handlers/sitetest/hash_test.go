package sitetest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func init() { caddy.RegisterModule(new(gatedFiles)) }

// gatedFiles is a directory whose files are read only once there is a file that
// opens the gate. It notes in another file that one was read.
type gatedFiles struct {
	Dir  string `json:"dir,omitempty"`
	Note string `json:"note,omitempty"`
	Gate string `json:"gate,omitempty"`
	fs.FS
}

func (*gatedFiles) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.gated", New: func() caddy.Module { return new(gatedFiles) }}
}

func (f *gatedFiles) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&f.Dir, &f.Note, &f.Gate) {
		return d.ArgErr()
	}
	return nil
}

func (f *gatedFiles) Provision(caddy.Context) error {
	f.FS = os.DirFS(f.Dir)
	return nil
}

func (f *gatedFiles) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &gatedFile{File: file, pass: sync.OnceValue(f.pass)}, nil
}

func (f *gatedFiles) pass() error {
	note, err := os.OpenFile(f.Note, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer note.Close()
	if _, err := note.WriteString("read\n"); err != nil {
		return err
	}
	for range time.NewTicker(time.Millisecond).C {
		if _, err := os.Stat(f.Gate); err == nil {
			break
		}
	}
	return nil
}

type gatedFile struct {
	fs.File
	pass func() error
}

func (f *gatedFile) Read(p []byte) (int, error) {
	if err := f.pass(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func TestAFileIsHashedOnceInTheFleet(t *testing.T) {
	server := redistest.Start(t)
	content := strings.Repeat("content ", 1<<10)
	files := sitetest.Files(t, map[string]string{"a.txt": content})
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(files, "a.txt"), old, old))
	state := t.TempDir()
	note := func(node string) string { return filepath.Join(state, "read-by-"+node) }
	gate := func(node string) string { return filepath.Join(state, "gate-of-"+node) }
	serve := func(node string) sitetest.Site {
		return sitetest.ServeProcess(t,
			"filesystem gated gated "+files+" "+note(node)+" "+gate(node)+"\nfilewallball {\nredis "+server.Addr()+"\n}",
			"fs gated\nroot .\nfile_metadata {\nsource file_system {\nhash sha256\nrevalidate 1ms\n}\n}\nfile_server")
	}
	tag := func(s sitetest.Site) string {
		a := sitetest.Request(t, http.MethodHead, "http://"+s.Page+"/a.txt", "")
		require.Equal(t, http.StatusOK, a.Status)
		return a.Header.Get("Etag")
	}
	first, second := serve("first"), serve("second")
	require.NoError(t, os.WriteFile(gate("second"), nil, 0o644), "nothing but the lease holds the second node back")

	require.Eventually(t, func() bool {
		require.Empty(t, tag(first))
		_, err := os.Stat(note("first"))
		return err == nil
	}, 10*time.Second, time.Millisecond)
	for range 50 {
		require.Empty(t, tag(second))
	}
	require.NoFileExists(t, note("second"), "it reads what the other node is hashing")

	require.NoError(t, os.WriteFile(gate("first"), nil, 0o644))
	sum := sha256.Sum256([]byte(content))
	want := `"` + hex.EncodeToString(sum[:]) + `"`
	for _, s := range []sitetest.Site{first, second} {
		require.Eventually(t, func() bool { return tag(s) == want }, 20*time.Second, 10*time.Millisecond)
	}
	require.NoFileExists(t, note("second"))
	reads, err := os.ReadFile(note("first"))
	require.NoError(t, err)
	require.Equal(t, "read\n", string(reads))
}
