// Generated files and requests: with file_metadata a site answers as it does
// without, whatever the files are named and whatever clients ask for.

package sitetest_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

const (
	generatedRequests = 24 // to each site, in each round
	generatedRounds   = 3  // between them, files are replaced
)

// generatedVariants are the ways in which the same site has file_metadata.
var generatedVariants = map[string]string{
	"bare-":   "",
	"both-":   "file_metadata {\nsource file_system {\nrevalidate 1ms\n}\n}",
	"memory-": "file_metadata {\nsource file_system {\nrevalidate 1ms\n}\nmemory 64KiB\n}",
	"hash-":   "file_metadata {\nsource file_system {\nrevalidate 1ms\nhash sha256\n}\nkey hashed:{id}\n}",
}

// generatedSeeds are run always; FILEWALLBALL_SEED=n runs another one.
func generatedSeeds(t *testing.T) []uint64 {
	if text := os.Getenv("FILEWALLBALL_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return []uint64{n}
	}
	return []uint64{1, 2}
}

func TestGeneratedFilesAreServedTheSameBesideFileMetadata(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	backend, php := siblingBackend(t), siblingPHP(t)
	for _, seed := range generatedSeeds(t) {
		t.Run(fmt.Sprintf("FILEWALLBALL_SEED=%d", seed), func(t *testing.T) {
			g := &generated{t: t, random: rand.New(rand.NewPCG(seed, 2)), root: siblingFiles(t), differs: make(map[string]bool)}
			g.run(backend, php)
		})
	}
}

// generated is a tree of files, the sites over it, and what is known of both.
type generated struct {
	t       *testing.T
	random  *rand.Rand
	root    string
	page    string
	client  *http.Client
	hosts   map[string]string // of the sites, by their names
	paths   []string          // of files and directories, as they stand in a URL
	files   []string          // their names
	tags    []string          // that file_server has sent
	dates   []string
	written int // contents
	// differs has the sites, with their variants, that were seen to differ.
	differs map[string]bool
}

func (g *generated) run(backend, php string) {
	g.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer g.client.CloseIdleConnections()
	g.serve(strings.NewReplacer("ROOT", g.root, "BACKEND", backend, "FASTCGI", php))
	defer func() { require.NoError(g.t, caddy.Stop()) }()
	for range 40 {
		g.add()
	}
	lookups := 0
	for range generatedRounds {
		g.learn()
		for _, name := range sortedNames(g.hosts) {
			for range generatedRequests {
				lookups += g.compare(name, g.request())
			}
		}
		for range 15 { // for the next round, in which clients still have the tags of this one
			g.change()
		}
	}
	require.Greater(g.t, lookups, generatedRounds*generatedRequests*len(g.hosts)/3, "hardly anything was looked up")
}

func sortedNames(hosts map[string]string) (names []string) {
	for name := range hosts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// moreSites are those that only make sense with generated files.
var moreSites = map[string]string{
	"all precompressed":   "root ROOT\nMETADATA\nfile_server {\nprecompressed br zstd gzip\n}",
	"some precompressed":  "root ROOT\nMETADATA\nfile_server {\nprecompressed zstd br\nindex index.txt index.html\n}",
	"browse and hide":     "root ROOT\nMETADATA\nfile_server {\nbrowse\nhide .* *~ *.php sub/private\n}",
	"rewrite to a name":   "root ROOT\nrewrite /sub/* {file_match.relative}\ntry_files {path} {path}/ /index.html\nMETADATA\nfile_server",
	"uri replace":         "root ROOT\nuri replace /private/ /sub/\nuri path_regexp /{2,} /\nMETADATA\nfile_server",
	"encode and compress": "root ROOT\nencode zstd gzip {\nminimum_length 1\n}\nMETADATA\nfile_server {\ndisable_canonical_uris\n}",
}

func (g *generated) serve(replace *strings.Replacer) {
	s := sitetest.Site{Page: ports.Addr(g.t), Admin: ports.Addr(g.t)}
	_, port, err := net.SplitHostPort(s.Page)
	require.NoError(g.t, err)
	g.page, g.hosts = s.Page, make(map[string]string)
	var sites, snippets strings.Builder
	for prefix, metadata := range generatedVariants {
		fmt.Fprintf(&snippets, "(%sfiles) {\nroot {args[0]}\n%s\nfile_server\n}\n", prefix, metadata)
	}
	for _, of := range []map[string]string{siblingSites, moreSites} {
		for name, site := range of {
			host := fmt.Sprintf("site%d.test:%s", len(g.hosts), port)
			g.hosts[name] = host
			for prefix, metadata := range generatedVariants {
				text := site
				for _, matcher := range []string{"@some", "@other", "@not", ""} {
					text = strings.ReplaceAll(text, strings.TrimSpace("METADATA "+matcher), metadataBeside(metadata, matcher))
				}
				text = strings.ReplaceAll(text, "import files", "import "+prefix+"files")
				fmt.Fprintf(&sites, "http://%s%s {\nbind 127.0.0.1\n%s\n}\n", prefix, host, replace.Replace(text))
			}
		}
	}
	config, err := sitetest.Adapt(fmt.Sprintf("{\nadmin %s\npersist_config off\nskip_install_trust\ngrace_period 1s\nlog {\noutput discard\n}\n"+
		"filesystem files testfiles %s\n}\n&(named) {\nrespond /private/* \"gated\" 403\n}\n%s%s", s.Admin, g.root, &snippets, &sites))
	require.NoError(g.t, err)
	require.NoError(g.t, caddy.Load(config, true))
}

func choose[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// name is the name of a file or a directory.
func (g *generated) name() string {
	for {
		var b strings.Builder
		for range 1 + g.random.IntN(4) {
			b.WriteString(choose(g.random,
				"a", "B", "7", " ", "é", "e\u0301", "\xff", ".", "..", "...", "%", "%2e", "%00", "#", "?", "+", "&", ";", "..;", "'", `"`, `\`, ":", "~", "*", "{", "}",
				"{{", "<", "|", "\t", "\n", "\u200b", "日本", "-", "_", "@", "=", ",", ".txt", ".html", ".php", ".css", ".bak", ".js", ".gz", "index.html", "index.txt",
				strings.Repeat("long", 1+g.random.IntN(50)),
			))
		}
		if name := b.String(); name != "." && name != ".." && len(name) < 250 {
			return name
		}
	}
}

// dir is one of the directories.
func (g *generated) dir() string {
	dir := choose(g.random, "", "", "sub", "private", "empty/deeper")
	if g.random.IntN(4) == 0 {
		dir = filepath.Join(dir, g.name())
	}
	require.NoError(g.t, os.MkdirAll(filepath.Join(g.root, filepath.Dir(dir)), 0o755))
	if info, err := os.Stat(filepath.Join(g.root, dir)); err == nil && !info.IsDir() {
		return ""
	}
	require.NoError(g.t, os.MkdirAll(filepath.Join(g.root, dir), 0o755))
	return dir
}

// add makes a file or a symbolic link.
func (g *generated) add() {
	name := filepath.Join(g.dir(), g.name())
	full := filepath.Join(g.root, name)
	if _, err := os.Lstat(full); err == nil {
		return
	}
	switch g.random.IntN(12) {
	case 0: // a link into the tree or out of it, or to nothing
		require.NoError(g.t, os.Symlink(choose(g.random, filepath.Join(g.root, "a.txt"), filepath.Join(g.root, "sub"), "/etc/hostname", "nowhere", filepath.Base(name)), full))
	case 1:
		require.NoError(g.t, os.Mkdir(full, 0o755))
	default:
		g.write(full)
		if g.random.IntN(4) == 0 {
			for _, suffix := range []string{".gz", ".br", ".zst"} {
				if g.random.IntN(2) == 0 {
					g.write(full + suffix)
				}
			}
		}
	}
	g.files = append(g.files, full)
	g.paths = append(g.paths, "/"+name)
}

// write gives a file some content and some date.
func (g *generated) write(name string) {
	// with hash, the date of a content is the one it had first: none comes twice
	g.written++
	content := strconv.Itoa(g.written) + choose(g.random, "", "x", "<p>page</p>", strings.Repeat("All that is gold does not glitter. ", g.random.IntN(60)))
	if _, err := os.Lstat(name); err != nil && strings.HasPrefix(name, g.root) && g.random.IntN(8) == 0 {
		content = ""
	}
	if os.WriteFile(name, []byte(content), choose(g.random, os.FileMode(0o644), 0o644, 0o644, 0o600, 0)) != nil {
		return // its name has become too long
	}
	if g.random.IntN(20) == 0 {
		require.NoError(g.t, os.Truncate(name, 300<<10)) // sparse
	}
	at := choose(g.random,
		time.Unix(0, 0), time.Unix(1, 0), time.Unix(2, 5), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Now().Add(-time.Duration(g.random.Int64N(int64(1000*time.Hour)))), time.Now().Add(-time.Duration(g.random.Int64N(int64(1000*time.Hour)))),
		time.Now().Add(-time.Minute).Truncate(time.Second), time.Now().Add(time.Hour),
	)
	require.NoError(g.t, os.Chtimes(name, at, at))
}

// change replaces, removes or adds a file.
func (g *generated) change() {
	name := choose(g.random, g.files...)
	info, err := os.Lstat(name)
	switch {
	case err != nil || g.random.IntN(4) == 0:
		g.add()
	case g.random.IntN(5) == 0:
		require.NoError(g.t, os.RemoveAll(name))
	case info.Mode().IsRegular():
		next := name
		if g.random.IntN(2) == 0 { // another inode
			next = filepath.Join(g.t.TempDir(), "next")
		}
		g.write(next)
		require.NoError(g.t, os.Rename(next, name))
	}
}

// learn asks file_server alone for tags and dates.
func (g *generated) learn() {
	for _, path := range g.paths {
		req, err := http.NewRequestWithContext(g.t.Context(), http.MethodHead, "http://"+g.page, http.NoBody)
		require.NoError(g.t, err)
		req.URL.Opaque, req.Host = escaped(path), "bare-"+g.hosts["nothing else"]
		resp, err := g.client.Do(req)
		if err != nil {
			continue // it leads to a Location that the client does not understand
		}
		resp.Body.Close()
		if tag := resp.Header.Get("Etag"); tag != "" {
			g.tags = append(g.tags, tag)
		}
		if date := resp.Header.Get("Last-Modified"); date != "" {
			g.dates = append(g.dates, date)
		}
	}
}

func escaped(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return strings.Join(segments, "/")
}

// path is what a client asks for.
func (g *generated) path() string {
	path := choose(g.random, choose(g.random, g.paths...), choose(g.random, g.paths...), choose(g.random,
		"/", "/a.txt", "/a", "/page.html", "/x.php", "/x.php/info", "/x.bak", "/sub", "/sub/", "/sub/c.txt", "/sub/index.html", "/private/b.txt", "/none", "/empty/", "/big.css", "/"+g.name()))
	var b strings.Builder
	for _, c := range []byte(escaped(path)) {
		if c != '/' && c != '%' && g.random.IntN(30) == 0 {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	path = b.String()
	at := func() int { return strings.LastIndexByte(path, '/') }
	switch g.random.IntN(40) {
	case 0:
		path += "/"
	case 1:
		path = "/" + path
	case 2:
		path = path[:at()] + "/." + path[at():]
	case 3:
		path = "/sub/.." + path
	case 4:
		path = "/sub/%2e%2e" + path
	case 5:
		path = "/..;" + path
	case 6:
		path += "%00"
	case 7:
		path += "/."
	case 8:
		path = "/" + strings.Repeat("./", choose(g.random, 10, 5000)) + path[1:]
	case 9:
		path += strings.Repeat("x", choose(g.random, 300, 9000))
	case 10:
		path = path[:at()] + "%2F" + path[at()+1:]
	case 11:
		path += "?" + choose(g.random, "x=1", "", "x=%ff", "/../")
	case 12:
		path = "/.." + path
	case 13:
		path = strings.ToUpper(path[:1]) + strings.ToUpper(path[1:])
	case 14:
		path += choose(g.random, ".", "%20", "~", "::$DATA", ";x=1", "%5c", ".gz", ".br")
	}
	return path
}

func (g *generated) tag() string {
	tag := choose(g.random, append([]string{`"none"`}, g.tags...)...)
	return choose(g.random, tag, tag, tag, "W/"+tag, `"x", `+tag, "*", strings.Trim(tag, `"`), tag+`,`)
}

func (g *generated) date() string {
	return choose(g.random, append([]string{time.Now().UTC().Format(http.TimeFormat), "Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"}, g.dates...)...)
}

func (g *generated) request() siblingRequest {
	r := siblingRequest{method: choose(g.random, "GET", "GET", "GET", "HEAD", "HEAD", "HEAD", "POST", "OPTIONS", "PUT"), path: g.path(), header: make(http.Header)}
	maybe := func(name string, value func() string) {
		if g.random.IntN(5) == 0 {
			r.header.Set(name, value())
		}
	}
	maybe("Range", func() string {
		return choose(g.random, "bytes=0-0", "bytes=0-9", "bytes=2-", "bytes=-3", "bytes=0-0,2-3", "bytes=999999-", "bytes=5-2", "items=0-1", "bytes=-0", "bytes=")
	})
	if r.header.Get("Range") != "" {
		maybe("If-Range", func() string { return choose(g.random, g.tag(), g.date()) })
	}
	maybe("If-None-Match", g.tag)
	maybe("If-Modified-Since", g.date)
	maybe("If-Match", g.tag)
	maybe("If-Unmodified-Since", g.date)
	maybe("Accept-Encoding", func() string {
		return choose(g.random, "gzip", "br", "zstd, gzip", "gzip, deflate, br, zstd", "identity", "gzip;q=0", "*")
	})
	return r
}

// boundary is another one in each answer of several ranges.
var boundary = regexp.MustCompile(`[0-9a-f]{60}`)

// wasReset is how a connection ends to which the server has answered 400 before it
// had read all.
var wasReset = regexp.MustCompile(`read tcp \S+: read: connection reset by peer`)

// Lines of an answer with its validators.
var (
	entityTag = regexp.MustCompile(`(?m)^Etag: .*\r\n`)
	date      = regexp.MustCompile(`(?m)^Last-Modified: .*\r\n`)
)

// withoutTag is an answer without its entity tag. A 304 without a tag has the date.
func withoutTag(answer string) string {
	answer = entityTag.ReplaceAllString(answer, "")
	if strings.HasPrefix(answer, "304") {
		return date.ReplaceAllString(answer, "")
	}
	return answer
}

// compare asks a site with and without file_metadata.
func (g *generated) compare(name string, r siblingRequest) (lookups int) {
	ask := func(prefix string) string {
		answer, lookedUp := r.ask(g.t, g.client, g.page, prefix+g.hosts[name])
		if lookedUp {
			lookups++
		}
		answer, _, _ = strings.Cut(answer, "version=0.0.4") // metrics
		answer = wasReset.ReplaceAllString(answer, "<nil>")
		return boundary.ReplaceAllString(strings.ReplaceAll(answer, prefix, ""), "boundary")
	}
	want := ask("bare-")
	for _, prefix := range []string{"both-", "both-", "memory-"} {
		g.require(name, r, prefix, want, ask(prefix))
	}
	for _, field := range []string{"If-Range", "If-None-Match", "If-Match"} {
		if r.header.Get(field) != "" {
			return lookups
		}
	}
	got := ask("hash-")
	g.require(name, r, "hash-", withoutTag(want), withoutTag(got))
	return lookups
}

func (g *generated) require(name string, r siblingRequest, prefix, want, got string) {
	if want == got || g.differs[name+prefix] {
		return
	}
	g.differs[name+prefix] = true
	require.Less(g.t, len(g.differs), 20, "too many sites differ")
	assert.Equal(g.t, want, got, "site %q, %s\n%s %.300s %v", name, prefix, r.method, r.path, r.header)
}
