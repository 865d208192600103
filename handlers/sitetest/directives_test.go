// Beside each of Caddy's standard directives, a site with file_metadata answers
// as it does without.

package sitetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// siblingSites are the directives of sites, in which METADATA stands for
// file_metadata with source file_system, or for nothing.
var siblingSites = map[string]string{
	"nothing else":               "root ROOT\nMETADATA\nfile_server",
	"file_server with its root":  "METADATA\nfile_server {\nroot ROOT\n}",
	"file_server, two roots":     "root ROOT/sub\nMETADATA\nfile_server {\nroot ROOT\n}",
	"file_server, hide":          "root ROOT\nMETADATA\nfile_server {\nhide a.txt *.bak ROOT/private\n}",
	"file_server, index":         "root ROOT\nMETADATA\nfile_server {\nindex main.html\n}",
	"file_server, browse":        "root ROOT\nMETADATA\nfile_server browse",
	"file_server, precompressed": "root ROOT\nMETADATA\nfile_server {\nprecompressed gzip\n}",
	"file_server, not canonical": "root ROOT\nMETADATA\nfile_server {\ndisable_canonical_uris\n}",
	"file_server, pass_thru":     "root ROOT\nMETADATA\nroute {\nMETADATA\nfile_server {\npass_thru\n}\nrespond \"passed through\" 201\n}",
	"file_server on some paths":  "root ROOT\nMETADATA\nfile_server /sub/*",
	"no root at all":             "METADATA\nfile_server",
	"no file_server":             "root ROOT\nMETADATA\nrespond /private/* 403",

	"tracing, map, vars, log":   "tracing {\nspan s\n}\nmap {path} {v} {\n/a.txt x\ndefault y\n}\nvars w z\nlog_append v {v}\nlog_skip /sub/*\nlog_name other\nroot ROOT\nMETADATA\nfile_server",
	"root of some paths":        "root ROOT\nroot /sub/* ROOT/private\nMETADATA\nfile_server",
	"fs":                        "fs files\nroot .\nMETADATA\nfile_server",
	"fs of some paths":          "fs /sub/* files\nroot /sub/* .\nMETADATA\nfile_server",
	"header":                    "root ROOT\nheader Etag `\"mine\"`\nheader /sub/* Cache-Control no-cache\nheader >X-After {http.response.header.Content-Type}\nheader /page.html -Etag\nMETADATA\nfile_server",
	"request_body":              "root ROOT\nrequest_body {\nmax_size 1\n}\nMETADATA\nfile_server",
	"redir":                     "root ROOT\nredir /a.txt /page.html\nMETADATA\nfile_server",
	"method":                    "root ROOT\nmethod /sub/* GET\nMETADATA\nfile_server",
	"rewrite":                   "root ROOT\nrewrite /a.txt /private/b.txt\nrewrite /none /sub/\nMETADATA\nfile_server",
	"uri":                       "root ROOT\nuri strip_prefix /sub\nMETADATA\nfile_server",
	"try_files":                 "root ROOT\ntry_files {path} {path}.txt /page.html\nMETADATA\nfile_server",
	"try_files with a status":   "root ROOT\ntry_files {path} =410\nMETADATA\nfile_server",
	"basic_auth":                "root ROOT\nbasic_auth /private/* {\nbob $2a$04$TYmWAz1QuGtMyN3l97d7seKUPUqScEbCDTQwHBEHjCTsm.FC6wCjO\n}\nMETADATA\nfile_server",
	"forward_auth":              "root ROOT\nforward_auth /private/* BACKEND {\nuri /deny\n}\nMETADATA\nfile_server",
	"request_header":            "root ROOT\nrequest_header /sub/* -If-None-Match\nMETADATA\nfile_server",
	"encode":                    "root ROOT\nencode gzip {\nminimum_length 1\n}\nMETADATA\nfile_server",
	"push":                      "root ROOT\npush /page.html /a.txt\nMETADATA\nfile_server",
	"intercept":                 "root ROOT\nintercept {\n@gone status 404\nhandle_response @gone {\nrespond \"intercepted\" 402\n}\n@fine status 200\nreplace_status @fine 203\n}\nMETADATA\nfile_server",
	"templates":                 "root ROOT\ntemplates\nMETADATA\nfile_server",
	"invoke":                    "root ROOT\ninvoke named\nMETADATA\nfile_server",
	"handle":                    "root ROOT\nhandle /private/* {\nrespond \"gated\" 403\n}\nhandle /sub/* {\nMETADATA\nfile_server\n}\nMETADATA\nfile_server",
	"handle that falls through": "root ROOT\nhandle /private/* {\nheader X-Was-There yes\n}\nMETADATA\nfile_server",
	"handle for everything":     "root ROOT\nMETADATA\nhandle {\nMETADATA\nfile_server\n}",
	"handle_path":               "root ROOT\nhandle_path /sub/* {\nMETADATA\nfile_server\n}\nhandle_path /private/* {\nrespond 403\n}\nMETADATA\nfile_server",
	"route":                     "root ROOT\nroute /private/* {\nMETADATA\nrespond \"gated\" 403\n}\nroute {\nMETADATA\nfile_server\n}",
	"route, then a proxy":       "root ROOT\nroute {\nMETADATA\nreverse_proxy /a.txt BACKEND\nreverse_proxy /sub/* BACKEND\nfile_server\n}",
	"route, then a prefix":      "root ROOT\nroute {\nMETADATA\nuri strip_prefix /txt\nfile_server\n}",
	"route, then a header":      "root ROOT\nroute {\nMETADATA\nheader X-A b\nencode gzip\nrespond /a.txt 403\nfile_server\n}",
	"header of a coding":        "root ROOT\nheader Content-Encoding identity\nMETADATA\nfile_server",
	"header of a date":          "root ROOT\nheader Last-Modified \"Wed, 21 Oct 2015 07:28:00 GMT\"\nMETADATA\nfile_server",
	"message of an error":       "root ROOT\nMETADATA\nfile_server\nhandle_errors {\nrespond \"{err.status_code} {err.message}\"\n}",
	"abort":                     "root ROOT\nabort /private/*\nMETADATA\nfile_server",
	"error":                     "root ROOT\nerror /private/* 418\nMETADATA\nfile_server",
	"respond":                   "root ROOT\nrespond /private/* \"gated\" 403\nrespond /none \"found\"\nMETADATA\nfile_server",
	"metrics":                   "root ROOT\nmetrics /none\nMETADATA\nfile_server",
	"reverse_proxy":             "root ROOT\nreverse_proxy /private/* BACKEND\nMETADATA\nfile_server",
	"reverse_proxy for all":     "root ROOT\nMETADATA\nreverse_proxy BACKEND\nfile_server",
	"reverse_proxy handles":     "root ROOT\nreverse_proxy /private/* BACKEND {\nhandle_response {\nrewrite /a.txt\nMETADATA\nfile_server\n}\n}\nMETADATA\nfile_server",
	"php_fastcgi":               "root ROOT\nphp_fastcgi FASTCGI\nMETADATA\nfile_server",
	"acme_server":               "root ROOT\nMETADATA\nacme_server /acme/*",
	"handle_errors":             "root ROOT\nMETADATA\nfile_server\nhandle_errors {\nrewrite /page.html\nMETADATA\nfile_server\n}",
	"handle_errors, no page":    "root ROOT\nerror /private/* 502\nMETADATA\nfile_server\nhandle_errors {\nrewrite /nowhere.html\nMETADATA\nfile_server\n}",
	"handle_errors of a status": "root ROOT\nMETADATA\nfile_server\nhandle_errors 404 {\nrespond \"page of a missing file: {err.status_code}\" 404\n}",
	"snippet":                   "import files ROOT",
	"snippet in handle":         "handle /sub/* {\nimport files ROOT\n}\nrespond /private/* 403\nimport files ROOT",
	"named matcher":             "root ROOT\n@some {\npath /sub/* /a.txt\nmethod GET HEAD\n}\nMETADATA @some\nfile_server",
	"matchers that differ":      "root ROOT\n@some path /sub/*\n@other path /private/*\nMETADATA @some\nMETADATA @other\nfile_server @some {\nhide *.txt\n}\nfile_server @other\nrespond @other 403",
	"expression":                "root ROOT\n@some `path('/sub/*')`\nMETADATA @some\nfile_server",
	"not the same matchers":     "root ROOT\n@not not path /private/*\nMETADATA @not\nfile_server @not",
}

// A test that says what differs where the plugin is there must not be blind to
// everything: at least so many requests are looked up.
const fewestLookups = 1500

func TestStandardDirectivesAnswerTheSameBesideFileMetadata(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	dir := siblingFiles(t)
	backend, php := siblingBackend(t), siblingPHP(t)
	s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	replace := strings.NewReplacer("ROOT", dir, "BACKEND", backend, "FASTCGI", php)
	_, port, err := net.SplitHostPort(s.Page)
	require.NoError(t, err)

	var sites strings.Builder
	hosts := make(map[string]string)
	for name, site := range siblingSites {
		host := fmt.Sprintf("site%d.test:%s", len(hosts), port)
		hosts[name] = host
		for prefix, metadata := range map[string]string{"both-": siblingMetadata, "bare-": ""} {
			text := strings.ReplaceAll(site, "METADATA @some", metadataBeside(metadata, "@some"))
			text = strings.ReplaceAll(text, "METADATA @other", metadataBeside(metadata, "@other"))
			text = strings.ReplaceAll(text, "METADATA @not", metadataBeside(metadata, "@not"))
			text = strings.ReplaceAll(text, "METADATA", metadataBeside(metadata, ""))
			text = strings.ReplaceAll(text, "import files", "import "+prefix+"files")
			fmt.Fprintf(&sites, "http://%s%s {\nbind 127.0.0.1\n%s\n}\n", prefix, host, replace.Replace(text))
		}
	}
	config, err := sitetest.Adapt(fmt.Sprintf(`{
		admin %s
		persist_config off
		skip_install_trust
		grace_period 1s
		log {
			output discard
		}
		filesystem files testfiles %s
	}
	&(named) {
		respond /private/* "gated" 403
	}
	(both-files) {
		root {args[0]}
		%s
		file_server
	}
	(bare-files) {
		root {args[0]}
		file_server
	}
	%s`, s.Admin, dir, siblingMetadata, sites.String()))
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })

	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	lookups := 0
	for name, host := range hosts {
		t.Run(name, func(t *testing.T) {
			for _, r := range siblingRequests() {
				want, _ := r.ask(t, client, s.Page, "bare-"+host)
				for _, cached := range []string{"first", "again"} {
					got, lookedUp := r.ask(t, client, s.Page, "both-"+host)
					require.Equal(t, want, got, "%s %s %v, %s", r.method, r.path, r.header, cached)
					if lookedUp {
						lookups++
					}
				}
			}
		})
	}
	require.Greater(t, lookups, fewestLookups)
}

func TestFileServersWithAnswersOfTheirOwnAreRefused(t *testing.T) {
	dir := t.TempDir()
	for site, want := range map[string]string{
		"METADATA\nfile_server {\nstatus 410\n}":                                             "with status",
		"METADATA\nfile_server /gone/* {\nstatus 410\n}\nfile_server":                        "with status",
		"METADATA\nfile_server {\netag_file_extensions .md5\n}":                              "with etag_file_extensions",
		"handle /a/* {\nMETADATA\n}\nfile_server {\nstatus 410\n}":                           "with status",
		"route {\nMETADATA\nfile_server {\nstatus 410\n}\n}":                                 "with status",
		"METADATA /a/*\nfile_server /a/*\nfile_server /b/* {\nstatus 410\n}":                 "",
		"handle /a/* {\nMETADATA\nfile_server\n}\nhandle {\nfile_server {\nstatus 410\n}\n}": "",
		"METADATA\nfile_server\nhandle_errors {\nMETADATA\nfile_server {\nstatus 200\n}\n}":  "",
	} {
		site = strings.ReplaceAll(site, "METADATA /a/*", metadataBeside(siblingMetadata, "/a/*"))
		site = strings.ReplaceAll(site, "METADATA", siblingMetadata)
		config, err := sitetest.Adapt("{\nadmin off\n}\nhttp://127.0.0.1:0 {\nroot " + dir + "\n" + site + "\n}")
		require.NoError(t, err)
		var parsed caddy.Config
		require.NoError(t, json.Unmarshal(config, &parsed))
		err = caddy.Validate(&parsed)
		if want == "" {
			require.NoError(t, err, site)
		} else {
			require.ErrorContains(t, err, want, site)
		}
	}
}

const siblingMetadata = "file_metadata {\nsource file_system\n}"

// metadataBeside is file_metadata with a matcher.
func metadataBeside(metadata, matcher string) string {
	return strings.Replace(metadata, "file_metadata", "file_metadata "+matcher, 1)
}

func siblingFiles(t *testing.T) (dir string) {
	dir = sitetest.Files(t, map[string]string{
		"a.txt": "a", "page.html": "<p>{{`page`}}", "x.php": "<?php secret", "index.html": "index of the root", "x.bak": "backup",
		"sub/index.html": "index", "sub/c.txt": "c", "sub/main.html": "main", "private/b.txt": "secret", "big.css": strings.Repeat("big ", 99),
		"big.css.gz": "compressed", "empty/deeper/file.txt": "deeper", "sub/private/b.txt": "another", "txt/index.txt": "text",
	})
	old := time.Now().Add(-time.Hour)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		return os.Chtimes(path, old, old)
	}))
	return dir
}

func siblingBackend(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/deny" {
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprintf(w, "backend: %s", r.URL.Path)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func siblingPHP(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "php: %s", r.URL.Path)
		}))
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

type siblingRequest struct {
	method, path string
	header       http.Header
}

func siblingRequests() (requests []siblingRequest) {
	for _, path := range []string{
		"/", "/a.txt", "/a", "/a.txt/", "/page.html", "/x.php", "/x.php/info", "/x.bak", "/sub", "/sub/", "/sub/c.txt", "/sub/index.html",
		"/private/b.txt", "/private/none.txt", "/private", "/none", "/empty/", "/empty", "/txt/", "/big.css", "/acme/local/directory",
		"/sub/../a.txt", "//a.txt", "/go.mod",
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			requests = append(requests, siblingRequest{method, path, nil})
		}
	}
	for _, path := range []string{"/", "/a.txt", "/sub/", "/big.css", "/private/b.txt"} {
		for _, header := range []http.Header{
			{"Accept-Encoding": {"gzip"}}, {"If-None-Match": {"*"}}, {"Range": {"bytes=0-0"}}, {"If-Match": {`"x"`}},
			{"If-Modified-Since": {time.Now().UTC().Format(http.TimeFormat)}}, {"Range": {"bytes=0-1"}, "If-Range": {`"x"`}},
		} {
			requests = append(requests, siblingRequest{"GET", path, header}, siblingRequest{"HEAD", path, header})
		}
	}
	return requests
}

// ask returns an answer as text, without what differs from one site to the next
// anyway.
func (r siblingRequest) ask(t *testing.T, client *http.Client, addr, host string) (answer string, lookedUp bool) {
	req, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+addr, http.NoBody)
	require.NoError(t, err)
	req.URL.Opaque, req.Host = r.path, host
	req.Header = r.header.Clone()
	if strings.HasPrefix(r.path, "//") {
		req.URL.Opaque = "//" + addr + r.path
	}
	resp, err := client.Do(req)
	if err != nil {
		return "no answer", false // abort
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	lookedUp = resp.Header.Get("Cache-Status") != ""
	for _, name := range []string{"Cache-Status", "Date"} {
		resp.Header.Del(name)
	}
	slices.Sort(resp.Header["Allow"]) // in whatever order a router has it
	var b strings.Builder
	fmt.Fprintln(&b, resp.StatusCode)
	_ = resp.Header.Write(&b)
	if r.path != "/none" || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "# HELP") {
		b.Write(body) // all but metrics
	}
	fmt.Fprintln(&b, err)
	answer = strings.ReplaceAll(b.String(), host, "HOST")
	return browseNonce.ReplaceAllString(answer, "nonce"), lookedUp
}

// browseNonce is another one in each listing of a directory.
var browseNonce = regexp.MustCompile(`nonce[-="]+[0-9a-f-]{36}`)
