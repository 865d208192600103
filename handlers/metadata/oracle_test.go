// file_metadata before file_server must not be noticed: the same requests go
// to file_server alone and to both, and the answers must be the same.

package metadata

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// oracleRequests is how many requests each pair of routes gets.
const oracleRequests = 2500

func TestFileServerAnswersTheSameWithAndWithoutMetadata(t *testing.T) {
	site := newOracleSite(t)
	url, _ := lookuptest.RunCaddy(t, "grace_period 1s\n\tlog {\n\t\toutput discard\n\t}", site.routes())
	for seed, variant := range oracleVariants() {
		t.Run(variant.name, func(t *testing.T) {
			if variant.hash {
				site.waitForHashes(t, url, "both-"+variant.name)
			}
			random := rand.New(rand.NewPCG(9110, uint64(seed)))
			statuses := make(map[int]int)
			known := 0
			for range oracleRequests {
				r := site.request(random)
				want := site.ask(t, url, "alone-"+variant.name, r, nil)
				translate := map[string]string{}
				if variant.hash {
					translate = r.file.translation()
				}
				got := site.ask(t, url, "both-"+variant.name, r, translate)
				if got.lookedUp {
					known++
				}
				require.Equal(t, want.String(), got.String(), "%s %s\n%v", r.method, r.path, r.header)
				statuses[got.status]++
			}
			t.Log(statuses, "looked up:", known)
			require.Greater(t, known, oracleRequests/2)
			for _, status := range []int{200, 206, 304, 404, 405, 412, 416} {
				require.Positive(t, statuses[status], "no answer had status %d", status)
			}
		})
	}
}

type oracleVariant struct {
	name                                string
	precompressed, encode, hash, memory bool
}

func oracleVariants() []oracleVariant {
	return []oracleVariant{
		{name: "plain"},
		{name: "precompressed", precompressed: true},
		{name: "encode", encode: true},
		{name: "both", precompressed: true, encode: true},
		{name: "hash", hash: true},
		{name: "hash-precompressed", precompressed: true, hash: true},
		{name: "memory", memory: true},
		{name: "memory-hash", memory: true, hash: true},
		{name: "memory-precompressed", memory: true, precompressed: true},
		{name: "memory-hash-precompressed", memory: true, precompressed: true, hash: true},
		{name: "memory-everything", memory: true, precompressed: true, encode: true},
	}
}

// oracleSite is a directory of files, and what is known of them.
type oracleSite struct {
	root   string
	files  []*oracleFile
	client *http.Client
}

type oracleFile struct {
	path     string // in a URL
	size     int64
	modified time.Time
	tag      string // as file_server makes it, "" without a useful date
	sum      string // the tag made of the content
	encoded  []string
	sidecars map[string]string // from the sums of precompressed files to their tags
}

// translation is from tags of the hash to those of file_server.
func (f *oracleFile) translation() map[string]string {
	tags := map[string]string{}
	if f.sum != "" {
		tags[strings.Trim(f.sum, `"`)] = strings.Trim(f.tag, `"`)
	}
	maps.Copy(tags, f.sidecars)
	return tags
}

func newOracleSite(t *testing.T) *oracleSite {
	t.Helper()
	s := &oracleSite{root: t.TempDir(), client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(s.client.CloseIdleConnections)
	modified := time.Now().Add(-time.Hour)
	var names, urls []string
	text := strings.Repeat("All that is gold does not glitter. ", 60)
	for i, file := range []struct{ name, url, content string }{
		{"hello.txt", "/hello.txt", text},
		{"page.html", "/page.html", "<!doctype html>" + text},
		{"data.bin", "/data.bin", text},
		{"noext", "/noext", "no extension\n"},
		{"weird.ext-unknown", "/weird.ext-unknown", "?"},
		{"with space.txt", "/with%20space.txt", "space"},
		{"per%cent.txt", "/per%25cent.txt", "percent"},
		{"ünï.txt", "/%C3%BCn%C3%AF.txt", "unicode"},
		{"what?.txt", "/what%3F.txt", "question"},
		{"hash#.txt", "/hash%23.txt", "hash"},
		{"dots...txt", "/dots...txt", "dots"},
		{".dotfile", "/.dotfile", "dot"},
		{"empty.txt", "/empty.txt", ""},
		{"big.css", "/big.css", text},
		{"one.json", "/one.json", "{}"},
		{"epoch.txt", "/epoch.txt", "no date"},
		{"nix.txt", "/nix.txt", "no date"},
		{"index.html", "/index.html", "root index"},
		{"sub/index.html", "/sub/index.html", "index"},
		{"sub/file.txt", "/sub/file.txt", text},
		{"secret.txt", "/secret.txt", "hidden by its name"},
		{"sub/x.bak", "/sub/x.bak", "hidden by a pattern"},
		{"private/x.txt", "/private/x.txt", "hidden by its directory"},
	} {
		at := modified.Add(time.Duration(i) * 1234567 * time.Microsecond)
		switch file.name {
		case "epoch.txt":
			at = time.Unix(0, 0)
		case "nix.txt":
			at = time.Unix(1, 0)
		}
		s.write(t, file.name, file.content, at)
		names = append(names, file.name)
		urls = append(urls, file.url)
	}
	for i, sidecar := range []string{".gz", ".br", ".zst"} {
		s.write(t, "big.css"+sidecar, "compressed with "+sidecar+strings.Repeat("!", i), modified.Add(time.Minute))
	}
	s.write(t, "hello.txt.gz", "compressed", modified.Add(-time.Minute))
	require.NoError(t, os.Mkdir(filepath.Join(s.root, "noindex"), 0o755))
	for link, target := range map[string]string{
		"link.txt": "hello.txt", "linkdir": "sub", "broken.txt": "nowhere", "loop.txt": "loop.txt",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(s.root, link)))
	}
	s.write(t, "unreadable.txt", "x", modified)
	for i := range names {
		s.files = append(s.files, s.file(t, names[i], urls[i]))
	}
	for _, path := range []string{
		"/sub", "/linkdir", "/noindex", "/noindex/", "/missing", "/missing/", "/sub/missing.txt",
		"/hello.txt/", "/hello.txt/x", "/hello.txt//", "/sub/.", "/sub/..", "/HELLO.TXT", "/hello.txt%3Fx=1",
		"/a%00b", "/%ff", "/new%0aline", "/" + strings.Repeat("long", 100), "/broken.txt", "/loop.txt",
		"/%2e%2e/%2e%2e/etc/passwd",
	} {
		s.files = append(s.files, &oracleFile{path: path, modified: modified})
	}
	// other ways to the same files
	for path, name := range map[string]string{
		"/": "index.html", "/sub/": "sub/index.html", "/linkdir/": "sub/index.html", "/sub/../": "index.html",
		"//hello.txt": "hello.txt", "/./hello.txt": "hello.txt", "/sub/../hello.txt": "hello.txt",
		"/sub/%2e%2e/hello.txt": "hello.txt", "/../../hello.txt": "hello.txt", "/hello.txt/.": "hello.txt",
		"/hello.txt?x=1": "hello.txt", "/%68ello.txt": "hello.txt",
		"/sub//file.txt": "sub/file.txt", "/linkdir/file.txt": "sub/file.txt", "/link.txt": "link.txt",
		"/hello.txt.gz": "hello.txt.gz", "/big.css.br": "big.css.br", "/unreadable.txt": "unreadable.txt",
	} {
		s.files = append(s.files, s.file(t, name, path))
	}
	require.NoError(t, os.Chmod(filepath.Join(s.root, "unreadable.txt"), 0))
	slices.SortFunc(s.files, func(a, b *oracleFile) int { return strings.Compare(a.path, b.path) })
	// asked for more often: they have everything
	for _, file := range s.files {
		if len(file.encoded) > 0 {
			s.files = append(s.files, file)
		}
	}
	return s
}

func (s *oracleSite) write(t *testing.T, name, content string, modified time.Time) {
	t.Helper()
	name = filepath.Join(s.root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	require.NoError(t, os.Chtimes(name, modified, modified))
}

func (s *oracleSite) file(t *testing.T, name, url string) *oracleFile {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.root, name))
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(s.root, name))
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	f := &oracleFile{path: url, size: info.Size(), modified: info.ModTime(), sum: `"` + hex.EncodeToString(sum[:]) + `"`}
	if info.ModTime().Unix() > 1 {
		f.tag = fmt.Sprintf(`"%s-%s"`, strconv.FormatInt(info.ModTime().UnixNano(), 36), strconv.FormatInt(info.Size(), 36))
	}
	for _, sidecar := range []struct{ suffix, coding string }{{".gz", "gzip"}, {".br", "br"}, {".zst", "zstd"}} {
		info, err := os.Stat(filepath.Join(s.root, name+sidecar.suffix))
		if err != nil {
			continue
		}
		f.encoded = append(f.encoded, sidecar.coding)
		content, err := os.ReadFile(filepath.Join(s.root, name+sidecar.suffix))
		require.NoError(t, err)
		sum := sha256.Sum256(content)
		if f.sidecars == nil {
			f.sidecars = make(map[string]string)
		}
		f.sidecars[hex.EncodeToString(sum[:])] = strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36)
	}
	return f
}

func (s *oracleSite) routes() string {
	var b strings.Builder
	fmt.Fprintf(&b, "root %s\n", s.root)
	hide := fmt.Sprintf("hide secret.txt *.bak %s/private", s.root)
	for _, v := range oracleVariants() {
		server, encoder, hash, memory := "file_server {\n"+hide+"\n", "", "", ""
		if v.precompressed {
			server += "precompressed zstd br gzip\n"
		}
		if v.encode {
			encoder = "encode zstd gzip"
		}
		if v.hash {
			hash = "hash sha256"
		}
		if v.memory {
			memory = "memory 64KiB"
		}
		server += "}"
		fmt.Fprintf(&b, `
	@alone-%[1]s header X-Route alone-%[1]s
	handle @alone-%[1]s {
		%[2]s
		%[3]s
	}
	@both-%[1]s header X-Route both-%[1]s
	handle @both-%[1]s {
		%[2]s
		file_metadata {
			key "%[1]s:{id}"
			source file_system {
				%[4]s
				%[5]s
			}
			%[6]s
		}
		%[3]s
	}
`, v.name, encoder, server, hide, hash, memory)
	}
	return b.String()
}

// waitForHashes waits until every file that is served has its strong tag.
func (s *oracleSite) waitForHashes(t *testing.T, url, route string) {
	t.Helper()
	for _, file := range s.files {
		for _, accept := range append([]string{"identity"}, file.encoded...) {
			r := oracleRequest{method: http.MethodGet, path: file.path, header: http.Header{"Accept-Encoding": {accept}}, file: file}
			require.Eventually(t, func() bool {
				a := s.ask(t, url, route, r, nil)
				return a.status != http.StatusOK || a.header.Get("Etag") != ""
			}, 10*time.Second, time.Millisecond, file.path)
		}
	}
}

// oracleRequest is a request, with the tags of file_server.
type oracleRequest struct {
	method, path string
	header       http.Header
	file         *oracleFile
}

func (s *oracleSite) request(random *rand.Rand) oracleRequest {
	r := oracleRequest{method: http.MethodGet, header: make(http.Header), file: pick(random, s.files)}
	r.path = r.file.path
	switch n := random.IntN(20); {
	case n < 9:
		r.method = http.MethodHead
	case n < 11:
		r.method = pick(random, []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
	}
	maybe := func(chance float64, name string, value func(*rand.Rand, *oracleFile) string) {
		if random.Float64() < chance {
			r.header.Set(name, value(random, r.file))
		}
	}
	maybe(0.15, "If-Match", someTags)
	maybe(0.15, "If-Unmodified-Since", someDate)
	maybe(0.3, "If-None-Match", someTags)
	maybe(0.3, "If-Modified-Since", someDate)
	maybe(0.4, "Range", someRange)
	maybe(0.2, "If-Range", func(random *rand.Rand, f *oracleFile) string {
		return pick(random, []func(*rand.Rand, *oracleFile) string{someTag, someDate})(random, f)
	})
	maybe(0.5, "Accept-Encoding", func(*rand.Rand, *oracleFile) string {
		return pick(random, []string{
			"gzip", "br", "zstd, gzip", "gzip, deflate, br, zstd", "identity", "gzip;q=0", "*", "deflate",
			"br;q=0.5, gzip", "gzip;q=0, *",
		})
	})
	return r
}

func pick[T any](random *rand.Rand, of []T) T { return of[random.IntN(len(of))] }

func someTag(random *rand.Rand, f *oracleFile) string {
	own := f.tag
	if own == "" {
		own = `"none"`
	}
	return pick(random, []string{
		own, own, own, own, "W/" + own, strings.TrimSuffix(own, `"`) + `-gzip"`, strings.TrimSuffix(own, `"`) + `-zstd"`,
		`"other"`, `W/"other"`, strings.Trim(own, `"`), own + "x", `"unfinished`, `w/` + own, `""`,
	})
}

func someTags(random *rand.Rand, f *oracleFile) string {
	switch random.IntN(8) {
	case 0:
		return "*"
	case 1:
		return someTag(random, f) + ", " + someTag(random, f)
	case 2:
		return `"a",W/"b" ,, ` + someTag(random, f)
	case 3:
		return pick(random, []string{`"a" *`, "* , x", ",", "x", `"a"b, ` + someTag(random, f), `"a" ` + someTag(random, f)})
	}
	return someTag(random, f)
}

func someDate(random *rand.Rand, f *oracleFile) string {
	at := f.modified.UTC().Add(pick(random, []time.Duration{
		0, 0, 0, time.Second, -time.Second, time.Hour, -24 * time.Hour, 50 * 365 * 24 * time.Hour,
	}))
	return at.Format(pick(random, []string{
		http.TimeFormat, http.TimeFormat, http.TimeFormat, http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC,
		time.RFC3339, "yesterday",
	}))
}

func someRange(random *rand.Rand, f *oracleFile) string {
	n := f.size
	return pick(random, []string{
		"bytes=0-0", "bytes=0-9", "bytes=2-", "bytes=-3", "bytes=-0", fmt.Sprintf("bytes=%d-", n), fmt.Sprintf("bytes=0-%d", n),
		fmt.Sprintf("bytes=%d-%d", n-1, n+5), "bytes=0-0,2-3", "bytes=0-0, -1", "bytes=0-1,999999-", "bytes=999999-",
		"bytes=", "bytes=a-b", "bytes=5-2", "items=0-1", "bytes 0-1", "bytes=--1", "bytes=0-,0-,0-", " bytes=1-2",
	})
}

// oracleAnswer is an answer without what differs from one to the next anyway.
type oracleAnswer struct {
	status   int
	header   http.Header
	body     string
	err      error // of reading the body
	lookedUp bool
}

func (a oracleAnswer) String() string {
	var b bytes.Buffer
	fmt.Fprintln(&b, a.status)
	_ = a.header.Write(&b)
	fmt.Fprint(&b, a.body, a.err)
	return b.String()
}

// decode takes off what encode has put on: the same content comes out in other
// bytes where it was written in other pieces.
func (a *oracleAnswer) decode() {
	var decoded []byte
	var err error
	switch a.header.Get("Content-Encoding") {
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(strings.NewReader(a.body)); err == nil {
			defer d.Close()
			decoded, err = io.ReadAll(d)
		}
	case "gzip":
		var d *gzip.Reader
		if d, err = gzip.NewReader(strings.NewReader(a.body)); err == nil {
			decoded, err = io.ReadAll(d)
		}
	default:
		return
	}
	if err == nil { // else it is one of the files that only have the name of one
		a.body = string(decoded)
		a.header.Del("Content-Length")
	}
}

// ask sends a request to a route. Tags are translated on their way out from
// the values to the keys, and back in the answer.
func (s *oracleSite) ask(t *testing.T, url, route string, r oracleRequest, translate map[string]string) oracleAnswer {
	t.Helper()
	req, err := http.NewRequest(r.method, url+r.path, nil)
	require.NoError(t, err)
	req.Header = r.header.Clone()
	req.Header.Set("X-Route", route)
	for hash, tag := range translate {
		for _, name := range []string{"If-Match", "If-None-Match", "If-Range"} {
			if value := req.Header.Get(name); value != "" && tag != "" {
				req.Header.Set(name, strings.ReplaceAll(value, tag, hash))
			}
		}
	}
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	// file_server's 412 for a precompressed file promises content that does
	// not come, so that an error belongs to the answer
	body, err := io.ReadAll(resp.Body)
	a := oracleAnswer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	a.err = err
	a.lookedUp = a.header.Get("Cache-Status") != ""
	for hash, tag := range translate {
		if value := a.header.Get("Etag"); value != "" {
			if tag == "" {
				if strings.Contains(value, hash) {
					a.header.Del("Etag") // file_server has none without a date
				}
				continue
			}
			require.NotContains(t, value, tag, "the tag is not made of the hash: %s %s %v", r.method, r.path, r.header)
			a.header.Set("Etag", strings.ReplaceAll(value, hash, tag))
		}
	}
	a.decode()
	a.header.Del("Date")
	a.header.Del("Cache-Status")
	if kind, params, err := mime.ParseMediaType(a.header.Get("Content-Type")); err == nil && kind == "multipart/byteranges" {
		a.header.Set("Content-Type", kind)
		a.body = strings.ReplaceAll(a.body, params["boundary"], "boundary")
	}
	return a
}
