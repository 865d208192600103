// A Caddy with this module, and file systems to put it over.

package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	caddy.RegisterModule(new(LookupCache))
	caddy.RegisterModule(new(slowFS))
	// certmagic lets go of its storage in its own time
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// running keeps other tests from running a Caddy in this process.
var running sync.Mutex

// runCaddy runs Caddy with global options and, by their host names, sites. It
// returns the address that they all listen at.
func runCaddy(t testing.TB, options string, sites map[string]string) (addr string) {
	t.Helper()
	config := fmt.Sprintf("{\nadmin off\npersist_config off\ngrace_period 30s\nlog {\noutput discard\n}\nstorage file_system %s\n%s\n}\n", t.TempDir(), options)
	for host, site := range sites {
		config += fmt.Sprintf("http://%s:0 {\nbind 127.0.0.1\n%s\n}\n", host, site)
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	require.NoError(t, err)
	running.Lock()
	require.NoError(t, caddy.Load(adapted, true))
	t.Cleanup(func() {
		defer running.Unlock()
		require.NoError(t, caddy.Stop())
	})
	v, err := caddy.ActiveContext().App("http")
	require.NoError(t, err)
	for _, server := range v.(*caddyhttp.App).Servers {
		addr = server.Listeners()[0].Addr().String()
	}
	return addr
}

// reply is a response that has been read.
type reply struct {
	Status int
	Header http.Header
	Body   string
	Cut    bool // the body is shorter than was announced
}

// client sends requests as they are to one address.
func client(t testing.TB, addr string) *http.Client {
	transport := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func ask(t testing.TB, c *http.Client, method, url string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	require.NoError(t, err, "%s %s %v", method, url, headers)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		require.NoError(t, err, "%s %s %v", method, url, headers)
	}
	return reply{resp.StatusCode, resp.Header, string(body), err != nil}
}

// write makes or overwrites a file as it was written a while ago.
func write(t testing.TB, name, content string, age time.Duration) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	when := time.Now().Add(-age)
	require.NoError(t, os.Chtimes(name, when, when))
}

// replace puts another file in the place of one, as careful programs do.
func replace(t testing.TB, name, content string, age time.Duration) {
	t.Helper()
	write(t, name+".new", content, age)
	require.NoError(t, os.Rename(name+".new", name))
}

// newCache is a lookup cache over a file system, outside of Caddy.
func newCache(t testing.TB, under fs.FS, ttl time.Duration, maxSize int64) *LookupCache {
	t.Helper()
	c := &LookupCache{TTL: caddy.Duration(ttl), MaxSize: maxSize}
	require.NoError(t, c.Provision(caddy.Context{}))
	c.under = under
	t.Cleanup(func() { require.NoError(t, c.Cleanup()) })
	return c
}

// slowFS is the disk behind a slow network: to look up a name takes time.
type slowFS struct {
	Latency caddy.Duration `json:"latency,omitempty"`
}

func (*slowFS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.test_slow", New: func() caddy.Module { return new(slowFS) }}
}

func (s *slowFS) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	d.Next()
	var latency string
	if !d.AllArgs(&latency) {
		return d.ArgErr()
	}
	v, err := time.ParseDuration(latency)
	s.Latency = caddy.Duration(v)
	return err
}

func (s *slowFS) Open(name string) (fs.File, error) {
	time.Sleep(time.Duration(s.Latency))
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return remoteFile{f}, nil
}

// remoteFile is not an *os.File, so that it is not taken for a file on disk.
type remoteFile struct{ *os.File }

// countingFS counts what is done to the disk, and can be made to wait or fail.
type countingFS struct {
	opened, closed atomic.Int64
	// hide makes a file of one that was opened, which may do less.
	hide func(*countedFile) fs.File
	// before is called before each opening.
	before func(name string) error
}

func (c *countingFS) Open(name string) (fs.File, error) {
	c.opened.Add(1)
	if c.before != nil {
		if err := c.before(name); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	file := &countedFile{File: f, fs: c}
	if c.hide != nil {
		return c.hide(file), nil
	}
	return file, nil
}

// open is how many files are open.
func (c *countingFS) open(missing int64) int64 { return c.opened.Load() - missing - c.closed.Load() }

type countedFile struct {
	*os.File
	fs *countingFS
}

func (f *countedFile) Close() error {
	f.fs.closed.Add(1)
	return f.File.Close()
}

// unshareable hides that a file can be read by many.
func unshareable(f *countedFile) fs.File {
	return struct {
		fs.ReadDirFile
		io.Seeker
	}{f, f}
}

func readAll(t testing.TB, fsys fs.FS, name string) string {
	t.Helper()
	content, err := fs.ReadFile(fsys, name)
	require.NoError(t, err)
	return string(content)
}
