package filesystem

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A file_server over this file system answers as one over the disk does.
func TestFileServerAnswersAsItDoesWithoutACache(t *testing.T) {
	root := t.TempDir()
	oracleFiles(t, root)
	sites := make(map[string]string)
	for name, site := range map[string]string{
		"plain": "file_server {\nhide secret.txt .git\n}",
		"rich":  "file_server browse {\nprecompressed br gzip\netag_file_extensions .etag\nhide secret.txt .git\nindex index.html a.txt\n}",
		"try":   "try_files {path} {path}/ {path}.html /glob/*.md /fallback.html\nfile_server",
		"policy": "@largest file {\ntry_files {path} /glob/*.txt\ntry_policy largest_size\n}\nrewrite @largest {file_match.relative}\n" +
			"header Found {file_match.relative}\nfile_server {\npass_thru\n}\nrespond nothing 410",
		"errors": "@never path /never\nerror /a.txt 418\nhandle_errors {\nrewrite /fallback.html\nfile_server\n}\nfile_server",
	} {
		sites["disk-"+name] = "root " + root + "\n" + site
		sites["cache-"+name] = "root " + root + "\nfs cache\n" + site
		sites["other-"+name] = "root " + root + "\nfs other\n" + site
	}
	addr := runCaddy(t, "filesystem cache lookup_cache\nfilesystem other lookup_cache {\nfs test_slow 0s\n}", sites)
	c := client(t, addr)

	random := rand.New(rand.NewPCG(1, 2))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	statuses := make(map[int]int)
	for range 400 {
		site, path := one("plain", "rich", "try", "policy", "errors"), one(oraclePaths...)
		method := one("GET", "GET", "GET", "HEAD", "POST", "DELETE")
		var headers []string
		header := func(name string, values ...string) {
			if value := one(append(values, make([]string, len(values))...)...); value != "" {
				headers = append(headers, name, value)
			}
		}
		known := ask(t, c, "HEAD", "http://disk-"+site+path).Header
		header("Range", "bytes=0-9", "bytes=5-", "bytes=-7", "bytes=0-0,5-6", "bytes=999999-", "bytes=9-3", "lines=1")
		header("If-Range", known.Get("Etag"), known.Get("Last-Modified"), `"other"`)
		header("If-None-Match", known.Get("Etag"), `"other"`, "*")
		header("If-Modified-Since", known.Get("Last-Modified"), "Mon, 01 Jan 2001 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT")
		header("If-Match", known.Get("Etag"), `"other"`)
		header("If-Unmodified-Since", known.Get("Last-Modified"), "Mon, 01 Jan 2001 00:00:00 GMT")
		header("Accept-Encoding", "gzip", "br, gzip;q=0.5", "identity", "zstd")
		header("Accept", "application/json", "text/plain", "text/html")

		want := normal(ask(t, c, method, "http://disk-"+site+path, headers...))
		statuses[want.Status]++
		for _, fs := range []string{"cache-", "cache-", "other-", "other-"} {
			got := normal(ask(t, c, method, "http://"+fs+site+path, headers...))
			require.Equal(t, want, got, "%s %s %v of %s%s", method, path, headers, fs, site)
		}
	}
	for _, status := range []int{200, 206, 304, 308, 400, 404, 405, 410, 412, 416, 418} {
		require.NotZero(t, statuses[status], "no request was answered %d: %v", status, statuses)
	}
}

var oraclePaths = []string{
	"/", "/a.txt", "/big.bin", "/empty", "/page.html", "/page", "/directory.html", "/old.txt", "/sp%20ace.txt", "/%C3%BC.txt", "/100%25.txt",
	"/dir", "/dir/", "/dir/index.html", "/dir/index.html/", "/bare", "/bare/", "/bare/x.txt", "/linked.txt", "/linkeddir/", "/linkeddir/x.txt",
	"/secret.txt", "/.git/config", "/.git/", "/fallback.html", "/none", "/none/", "/none/none.html", "/a.txt/", "/a.txt/none", "/dangling", "/loop",
	"//a.txt", "/./a.txt", "/dir/../a.txt", "/../a.txt", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/a.txt%00", "/*", "/%5B", "/a%3F.txt", "/a%5C.txt",
	"/glob/", "/glob/large.txt", "/" + strings.Repeat("x", 300), "/" + strings.Repeat("long/", 1200), "/?sort=size&order=desc", "/bare/?layout=grid",
}

func oracleFiles(t *testing.T, root string) {
	at := func(name string) string { return filepath.Join(root, name) }
	age := time.Hour
	for name, content := range map[string]string{
		"a.txt": "some text that has ranges", "big.bin": strings.Repeat("0123456789", 10_000), "empty": "",
		"page.html": "<p>a page", "page.html.gz": "as if with gzip", "page.html.br": "as if brotli", "page.html.etag": "\"of a file\"\n",
		"directory.html": "its gz is a directory", "directory.html.gz/x": "", "old.txt": "at the epoch", "sp ace.txt": "space", "ü.txt": "u", "100%.txt": "percent",
		"dir/index.html": "an index", "bare/x.txt": "x", "bare/y/z.txt": "z", "secret.txt": "hidden", ".git/config": "hidden", "fallback.html": "fallback",
		"glob/small.txt": "s", "glob/large.txt": "large", "glob/readme.md": "# read me", `a\.txt`: "backslash", "a?.txt": "question mark",
	} {
		age += time.Minute
		write(t, at(name), content, age)
	}
	require.NoError(t, os.Chtimes(at("old.txt"), time.Unix(0, 0), time.Unix(0, 0)))
	for link, target := range map[string]string{"linked.txt": "a.txt", "linkeddir": "bare", "dangling": "none", "loop": "loop"} {
		require.NoError(t, os.Symlink(target, at(link)))
	}
}

// once is what Caddy and net/http make up for each response, and the names of
// the sites.
var once = regexp.MustCompile(`boundary=([0-9a-f]+)|'nonce-([0-9a-f-]+)'|//(disk|cache|other)-`)

// normal leaves out what differs between any two responses.
func normal(r reply) reply {
	header := make(http.Header)
	var differs []string
	for _, values := range r.Header {
		for _, value := range values {
			for _, m := range once.FindAllStringSubmatch(value, -1) {
				differs = append(differs, m[1]+m[2]+m[3], "")
			}
		}
	}
	replacer := strings.NewReplacer(differs...)
	for name, values := range r.Header {
		for _, value := range values {
			if name != "Date" {
				header.Add(name, replacer.Replace(value))
			}
		}
	}
	return reply{r.Status, header, replacer.Replace(r.Body), r.Cut}
}
