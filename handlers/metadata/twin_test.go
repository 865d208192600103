// Directories, precompressed files and odd requests, asked of file_server alone and
// with file_metadata before it.

package metadata

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// twinRequests is how many requests each path of each site gets.
const twinRequests = 5

// twins are the ways in which a site may be configured: what file_server has and
// what encloses both.
var twins = map[string]struct{ open, server, close string }{
	"plain":      {server: ""},
	"orders":     {server: "precompressed gzip br zstd"},
	"all":        {server: "precompressed"},
	"browse":     {server: "browse\nprecompressed br gzip"},
	"index":      {server: "index start.txt index.html\nprecompressed br gzip"},
	"no-index":   {server: "index absent.html\nprecompressed br gzip"},
	"hide":       {server: "hide *.gz .htaccess sub\nprecompressed br gzip"},
	"hide-index": {server: "hide index.html\nprecompressed br gzip"},
	"canonical":  {server: "disable_canonical_uris\nprecompressed br gzip"},
	"pass":       {server: "pass_thru\nprecompressed br gzip"},
	"stripped":   {open: "handle_path /sub/* {", server: "precompressed br gzip", close: "}"},
	"rewritten":  {open: "rewrite /old/* /sub{path}\nuri strip_prefix /sub/old", server: "precompressed br gzip"},
	"to-index":   {open: "try_files {path} /index.html", server: "precompressed br gzip"},
	// several file_servers behind one file_metadata
	"two-differ":  {open: "@html path *.html */\nfile_server @html {\nprecompressed gzip\n}", server: "precompressed br zstd"},
	"two-orders":  {open: "@html path *.html */\nfile_server @html {\nprecompressed gzip br\n}", server: "precompressed br gzip"},
	"two-one":     {open: "@html path *.html */\nfile_server @html", server: "precompressed br gzip"},
	"two-other":   {open: "@html path *.html */\nfile_server @html {\nprecompressed gzip br\n}", server: ""},
	"two-same":    {open: "@html path *.html */\nfile_server @html {\nprecompressed br gzip\n}", server: "precompressed br gzip"},
	"two-hide":    {open: "@html path *.html */\nfile_server @html {\nhide *.br\nprecompressed br gzip\n}", server: "precompressed br gzip"},
	"two-index":   {open: "@sub path /sub/* /txt/*\nfile_server @sub {\nindex start.txt\nprecompressed gzip\n}", server: "precompressed br"},
	"two-handles": {open: "@html path *.html\nhandle @html {\nfile_server {\nprecompressed gzip\n}\n}\nhandle {", server: "precompressed zstd br", close: "}"},
	"two-pass":    {open: "@html path *.html */\nfile_server @html {\npass_thru\nprecompressed gzip\n}", server: "precompressed br zstd"},
}

func TestDirectoriesAndPrecompressedFilesAreThoseOfFileServer(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i, name := range []string{
		"index.html", "index.html.gz", "index.html.br", "start.txt", "page.html", "page.html.gz", "page.html.br", "page.html.zst",
		"sub/index.html", "sub/index.html.gz", "sub/page.html", "sub/page.html.br", "only/index.html.gz", "gone.html.gz", "gone.html.br",
		"notes.txt", "notes.txt.gz", "empty.css", "archive", "archive.gz", "dirs/index.html/index.html", "odd.gz", "odd.gz.gz",
		"txt/index.txt", "txt/index.txt.br", ".htaccess", ".htaccess.gz", "a b.html", "a b.html.gz", "per%2Fcent.html",
	} {
		put(t, dir, name, strings.Repeat(name, i))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), at, at.Add(time.Duration(i)*time.Second)))
	}
	for _, name := range []string{"nothing", "empty.css.gz", "notes.txt.br"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	for link, target := range map[string]string{
		"link.html": "page.html", "link.html.gz": "page.html.gz", "archive.br": "nowhere", "linked": "sub", "sub.gz": "page.html.gz",
		"start.txt.br": "start.txt.br", "start.txt.gz": "sub",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	var routes strings.Builder
	for name, twin := range twins {
		for _, with := range []string{"alone", "both", "memory"} {
			metadata := ""
			if with != "alone" {
				hide := ""
				for _, line := range strings.Split(twin.server, "\n") {
					if strings.HasPrefix(line, "hide") {
						hide = line
					}
				}
				metadata = "file_metadata {\nkey " + name + with + ":{id}\nsource file_system {\nroot " + dir + "\n" + hide + "\n}\n"
				if with == "memory" {
					metadata += "memory 64KiB\n"
				}
				metadata += "}\n"
			}
			fmt.Fprintf(&routes, "@%[1]s-%[2]s header X-Route %[1]s-%[2]s\nroute @%[1]s-%[2]s {\nroot %[3]s\n%[4]s\n%[5]sfile_server {\nroot %[3]s\n%[6]s\n}\n%[7]s\n}\n",
				name, with, dir, twin.open, metadata, twin.server, twin.close)
		}
	}
	url, _ := lookuptest.RunCaddy(t, "", routes.String())
	conn := dialTwin(t, url)
	paths := []string{
		"/", "//", "///", "/?x=1", "/index.html", "/index.html/", "/index.html.gz", "/page.html", "/page.html/", "//page.html", "/page%2ehtml",
		"/sub", "/sub/", "/sub//", "//sub/", "/sub/./", "/sub/../sub/", "/sub/..", "/sub/../", "/sub%2F", "/sub%2findex.html", "/%2F", "/%2f%2f", "/.", "/./", "/..",
		"/sub/index.html", "/sub/index.html/", "/sub/page.html", "/linked", "/linked/", "/linked/page.html", "/only", "/only/", "/nothing", "/nothing/", "/none/",
		"/gone.html", "/notes.txt", "/notes.txt/", "/empty.css", "/archive", "/archive/", "/dirs", "/dirs/", "/dirs/index.html", "/dirs/index.html/",
		"/odd", "/odd.gz", "/txt/", "/.htaccess", "/a%20b.html", "/per%2Fcent.html", "/per%252Fcent.html", "/link.html", "/start.txt", "/old/page.html", "/old/",
		"/sub/page.html%00", "/SUB/", "/sub/%2e%2e/", "/sub/%2e/", "/nothing/..", "/page.html/..", "/page.html/../", "/sub.gz", "/page.html%2F", "/sub/old/",
	}
	accepts := []string{
		"", "gzip", "br", "gzip, br", "br;q=0.1, gzip", "*", "gzip;q=0", "gzip;q=0, *", "identity;q=0", "identity;q=0, gzip", "br;q=0, gzip;q=0.00001",
		"GZIP", "gzip\r\nAccept-Encoding: br", "zstd;q=1.5, br", "gzip;q=abc", ",", "gzip;level=1;q=0", "x-gzip", "br;q=0\r\nAccept-Encoding: br",
	}
	others := []string{"", "Range: bytes=0-3", "If-None-Match: *", "If-Match: *", "If-None-Match: {tag}", "If-None-Match: W/{tag}", "If-Match: {tag}",
		"If-Modified-Since: {date}", "Range: bytes=0-3\r\nIf-Range: {tag}", "Range: bytes=0-3\r\nIf-Range: {date}", "Range: bytes=-2, 0-1", "If-Match: \"x\"", "Range: bytes=9999999-"}
	random := rand.New(rand.NewPCG(9110, 14))
	for name := range twins {
		for _, path := range paths {
			for range twinRequests {
				accept, other := pick(random, accepts), pick(random, others)
				first := conn.ask(t, "GET", name+"-alone", path, accept, "")
				line := strings.NewReplacer(
					"{tag}", cmp.Or(first.header.Get("Etag"), `"none"`),
					"{date}", cmp.Or(first.header.Get("Last-Modified"), at.UTC().Format(http.TimeFormat)),
				).Replace(other)
				method := pick(random, []string{"GET", "HEAD"})
				want := conn.ask(t, method, name+"-alone", path, accept, line).String()
				for _, with := range []string{"-both", "-memory"} {
					got := conn.ask(t, method, name+with, path, accept, line).String()
					require.Equal(t, want, got, "%s%s %s %s\nAccept-Encoding: %s\n%s", name, with, method, path, accept, line)
				}
			}
		}
	}
}

// twinConn sends requests as they are written here.
type twinConn struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

func dialTwin(t *testing.T, url string) *twinConn {
	t.Helper()
	c := &twinConn{addr: strings.TrimPrefix(url, "http://")}
	c.redial(t)
	t.Cleanup(func() { c.conn.Close() })
	return c
}

func (c *twinConn) redial(t *testing.T) {
	t.Helper()
	var err error
	c.conn, err = net.Dial("tcp", c.addr)
	require.NoError(t, err)
	c.in = bufio.NewReader(c.conn)
}

type twinAnswer struct {
	status int
	header http.Header
	body   []byte
}

func (a twinAnswer) String() string {
	var b bytes.Buffer
	fmt.Fprintln(&b, a.status)
	_ = a.header.Write(&b)
	b.Write(a.body)
	return b.String()
}

func (c *twinConn) ask(t *testing.T, method, route, path, accept, line string) twinAnswer {
	t.Helper()
	text := method + " " + path + " HTTP/1.1\r\nHost: " + c.addr + "\r\nX-Route: " + route + "\r\n"
	if accept != "" {
		text += "Accept-Encoding: " + accept + "\r\n"
	}
	if line != "" {
		text += line + "\r\n"
	}
	_, err := io.WriteString(c.conn, text+"\r\n")
	require.NoError(t, err)
	r, err := http.ReadResponse(c.in, &http.Request{Method: method})
	require.NoError(t, err, text)
	// file_server promises the whole length of a precompressed file with a 412
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	a := twinAnswer{r.StatusCode, r.Header, body}
	if a.header.Get("Content-Security-Policy") != "" { // a listing, each with its own nonce
		a.header.Del("Content-Security-Policy")
		a.body = nil
	}
	for _, name := range []string{"Date", "Cache-Status", "Server"} {
		a.header.Del(name)
	}
	if kind, parts, ok := strings.Cut(a.header.Get("Content-Type"), "boundary="); ok {
		a.header.Set("Content-Type", kind)
		a.body = bytes.ReplaceAll(a.body, []byte(parts), nil)
	}
	if r.Close || err != nil {
		c.conn.Close()
		c.redial(t)
	}
	return a
}
