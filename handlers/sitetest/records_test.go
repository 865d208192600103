// Index files and precompressed files are answered from their records, as the
// file_server behind file_metadata answers them, however it is configured.

package sitetest_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// recordedRequests is how many requests each site gets.
const recordedRequests = 250

// recordedSites are sites in which METADATA stands for file_metadata or for
// nothing.
var recordedSites = map[string]struct {
	site string
	// left has the paths that must be left to file_server, "*" for all.
	left []string
	// open has those that are left to it for some clients.
	open []string
}{
	"no precompressed files":   {site: "METADATA\nfile_server"},
	"all precompressed files":  {site: "METADATA\nfile_server {\nprecompressed\n}"},
	"another order":            {site: "METADATA\nfile_server {\nprecompressed gzip zstd br\n}"},
	"some formats":             {site: "METADATA\nfile_server {\nprecompressed br\n}"},
	"other index files":        {site: "METADATA\nfile_server {\nprecompressed\nindex main.html index.txt\n}"},
	"an index of the request":  {site: "METADATA\nfile_server {\nindex {query.index}.html index.html\n}", left: []string{"/", "/sub/", "/empty/", "/none/"}},
	"index files that differ":  {site: "METADATA /sub/*\nfile_server /sub/c.txt {\nindex main.html\n}\nfile_server", left: []string{"/", "/sub/", "/empty/", "/none/"}},
	"hidden precompressed":     {site: "METADATA\nfile_server {\nprecompressed\nhide *.br index.html.gz\n}"},
	"hidden index":             {site: "METADATA\nfile_server {\nprecompressed\nhide index.html\n}"},
	"hidden directory":         {site: "METADATA\nfile_server {\nhide sub\n}", left: []string{"/sub/", "/sub/c.txt", "/sub"}},
	"hidden in metadata alone": {site: "HIDING\nfile_server {\nprecompressed\n}", left: []string{"/", "/sub/", "/empty/"}, open: []string{"/big.css"}},
	"listings":                 {site: "METADATA\nfile_server {\nprecompressed\nbrowse\n}", left: []string{"/empty/", "/none/"}},
	"passed through":           {site: "route {\nMETADATA\nfile_server {\nprecompressed\npass_thru\n}\nrespond \"passed through\" 201\n}", left: []string{"/empty/", "/none/", "/none.css"}},
	"not canonical":            {site: "METADATA\nfile_server {\nprecompressed\ndisable_canonical_uris\n}", left: []string{"/sub", "/half.css/"}},
	"handle_path":              {site: "handle_path /sub/* {\nMETADATA\nfile_server {\nprecompressed\n}\n}\nMETADATA\nfile_server {\nprecompressed\n}"},
	"try_files":                {site: "try_files {path} {path}/ /index.html\nMETADATA\nfile_server {\nprecompressed\n}", left: []string{"*"}},
	"rewrite":                  {site: "rewrite /none.css /big.css\nrewrite /none/ /sub/\nMETADATA\nfile_server {\nprecompressed\n}"},
	"encode before":            {site: "encode {\ngzip\nminimum_length 1\n}\nMETADATA\nfile_server {\nprecompressed\n}"},
	"header before":            {site: "header Etag `\"mine\"`\nMETADATA\nfile_server {\nprecompressed\n}"},

	"encode between":    {site: "route {\nMETADATA\nencode {\ngzip\nminimum_length 1\n}\nfile_server {\nprecompressed\n}\n}", left: []string{"*"}},
	"templates between": {site: "route {\nMETADATA\ntemplates\nfile_server {\nprecompressed\n}\n}", left: []string{"*"}},
	"header between":    {site: "route {\nMETADATA\nheader X-More yes\nfile_server {\nprecompressed\n}\n}", left: []string{"*"}},
	"root between":      {site: "route {\nMETADATA\nroot sub\nfile_server\n}", left: []string{"*"}},
	"intercept between": {site: "route {\nMETADATA\nintercept {\n@fine status 200\nreplace_status @fine 203\n}\nfile_server\n}", left: []string{"*"}},
	"formats that differ": {
		site: "METADATA\nfile_server /big.css {\nprecompressed gzip\n}\nfile_server {\nprecompressed br\n}",
		open: []string{"/", "/sub/", "/big.css", "/half.css"},
	},
}

func recordedFiles(t *testing.T) (dir string) {
	files := map[string]string{
		"index.html": "the index of the root", "sub/index.html": "an index", "sub/main.html": "main", "sub/index.txt": "a text", "sub/c.txt": "c",
		"empty/file.txt": "no index", "big.css": strings.Repeat("big ", 99), "half.css": strings.Repeat("half ", 99), "plain.css": strings.Repeat("plain ", 99),
	}
	for name, suffixes := range map[string]string{"index.html": ".gz .br", "sub/index.html": ".gz", "sub/main.html": ".zst", "sub/index.txt": ".br", "big.css": ".gz .br .zst", "half.css": ".gz"} {
		for suffix := range strings.FieldsSeq(suffixes) {
			files[name+suffix] = name + " as " + suffix
		}
	}
	dir = sitetest.Files(t, files)
	at := time.Now().Add(-time.Hour)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		at = at.Add(1234567 * time.Microsecond) // each file has a tag of its own
		return os.Chtimes(path, at, at)
	}))
	return dir
}

func TestIndexFilesAndPrecompressedFilesAreAnsweredFromRecords(t *testing.T) {
	dir := recordedFiles(t)
	opens := opensIn(dir)
	addr := ports.Addr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	hosts := make(map[string]string)
	var sites strings.Builder
	for name, c := range recordedSites {
		hosts[name] = fmt.Sprintf("site%d.test:%s", len(hosts), port)
		for prefix, memory := range map[string]string{"bare-": "", "both-": "answer on", "memory-": "memory 64KiB"} {
			site := c.site
			for word, hide := range map[string]string{"HIDING": "hide index.html big.css.br", "METADATA": ""} {
				metadata := ""
				if memory != "" {
					metadata = "file_metadata {\nsource file_system {\nrevalidate 1h\n" + hide + "\n}\nttl 1h\nnegative_ttl 1h\n" + memory + "\n}"
				}
				site = strings.ReplaceAll(site, word+" /sub/*", metadataBeside(metadata, ""))
				site = strings.ReplaceAll(site, word, metadata)
			}
			fmt.Fprintf(&sites, "http://%s%s {\nbind 127.0.0.1\nfs files\nroot .\n%s\n}\n", prefix, hosts[name], site)
		}
	}
	config, err := sitetest.Adapt(fmt.Sprintf("{\nadmin %s\npersist_config off\nskip_install_trust\ngrace_period 1s\nlog {\noutput discard\n}\n"+
		"filesystem files testfiles %s\n}\n%s", ports.Addr(t), dir, &sites))
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)

	for _, name := range sortedNames(hosts) {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(14, 7))
			answered := make(map[string]int)
			for range recordedRequests {
				r := recordedRequest(t, client, addr, "bare-"+hosts[name], random)
				ask := func(prefix string) string {
					answer, _ := r.ask(t, client, addr, prefix+hosts[name])
					return boundary.ReplaceAllString(strings.ReplaceAll(answer, prefix, ""), "boundary")
				}
				want := ask("bare-")
				for _, prefix := range []string{"both-", "memory-"} {
					warm := ask(prefix)
					require.Equal(t, want, warm, "%s %s %v, %s first", r.method, r.path, r.header, prefix)
					before := opens.Load()
					got := ask(prefix)
					require.Equal(t, want, got, "%s %s %v, %s again", r.method, r.path, r.header, prefix)
					opened := opens.Load() - before
					if slices.Contains(recordedSites[name].open, r.path) {
						continue
					}
					switch kind := r.answerable(want, prefix == "memory-", recordedSites[name].left); kind {
					case "":
						require.Positive(t, opened, "%s %s %v, %s was not left to file_server", r.method, r.path, r.header, prefix)
					default:
						require.Zero(t, opened, "%s %s %v, %s was left to file_server:\n%s", r.method, r.path, r.header, prefix, want)
						answered[kind]++
					}
				}
			}
			if len(recordedSites[name].left) == 0 {
				for _, kind := range []string{"HEAD", "304", "404", "GET"} {
					require.Positive(t, answered[kind], "none of these was answered: %s", kind)
				}
			}
		})
	}
}

// recordedRequest is a request whose conditions refer to what file_server
// answers to it.
func recordedRequest(t *testing.T, client *http.Client, addr, host string, random *rand.Rand) siblingRequest {
	r := siblingRequest{
		method: choose(random, "GET", "HEAD"),
		path:   choose(random, "/", "/", "/sub/", "/sub/", "/empty/", "/none/", "/big.css", "/big.css", "/half.css", "/plain.css", "/none.css", "/sub/c.txt", "/sub", "/half.css/"),
		header: make(http.Header),
	}
	if accept := choose(random, "", "gzip", "br", "gzip, br", "zstd, br, gzip", "gzip;q=1, br;q=0.5, zstd;q=0.1", "br;q=0, gzip", "identity", "*", "GZIP", "gzip;q=0.5, zstd;q=0.5", "deflate"); accept != "" {
		r.header.Set("Accept-Encoding", accept)
	}
	answer, _ := r.ask(t, client, addr, host)
	value := func(field string) string {
		_, rest, _ := strings.Cut(answer, field+": ")
		value, _, _ := strings.Cut(rest, "\r\n")
		return value
	}
	if tag, at := value("Etag"), value("Last-Modified"); tag != "" && at != "" {
		switch random.IntN(8) {
		case 0:
			r.header.Set("If-None-Match", tag)
		case 1:
			r.header.Set("If-None-Match", `"other", W/`+tag)
		case 2:
			r.header.Set("If-Modified-Since", at)
		case 3:
			r.header.Set("If-Match", choose(random, tag, `"other"`))
		case 4:
			r.header.Set("If-Unmodified-Since", choose(random, at, "Thu, 01 Jan 1998 00:00:00 GMT"))
		}
		if random.IntN(3) == 0 {
			r.header.Set("Range", choose(random, "bytes=0-2", "bytes=2-", "bytes=0-0,2-3", "bytes=9999-", "bytes=-2"))
			if random.IntN(3) == 0 {
				r.header.Set("If-Range", choose(random, tag, at, `"other"`))
			}
		}
	}
	return r
}

// answerable is a kind of answer that must come from the records alone, "" for
// those that must be file_server's.
func (r siblingRequest) answerable(answer string, inMemory bool, left []string) string {
	status, _, _ := strings.Cut(answer, "\n")
	for _, path := range left {
		if path == "*" || path == r.path {
			return ""
		}
	}
	switch {
	case status == "304" || status == "404":
		return status
	case status == "308", status == "412" && strings.Contains(answer, "Content-Encoding"):
		return ""
	case r.method == http.MethodHead || status == "412":
		return "HEAD"
	case inMemory:
		return "GET"
	}
	return ""
}
