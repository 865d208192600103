package httpsource

import (
	"bufio"
	"bytes"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/version"
)

func newSilentLog() *log.Logger { return log.New(io.Discard, "", 0) }

// listener is an application that remembers what it was asked.
type listener struct {
	url  string
	mu   sync.Mutex
	seen []*http.Request
}

func listen(t testing.TB) *listener {
	l := new(listener)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, r)
		_, _ = io.WriteString(w, `{"asked": true}`)
	})
	l.url = server.URL
	return l
}

// take returns what was asked since the last call.
func (l *listener) take() []*http.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen
	l.seen = nil
	return seen
}

// carrier is a way for an identity to the application.
type carrier struct {
	name     string
	path     string
	identity string
	headers  http.Header
	// received are the values that arrived in the identity's place; nil where
	// anything else has changed with them
	received func(r *http.Request) []string
}

func carriers() []carrier {
	inPath := func(before, after string) func(r *http.Request) []string {
		return func(r *http.Request) []string {
			segments := strings.Split(r.URL.EscapedPath(), "/")
			if len(segments) != 4 || segments[1] != "files" || segments[3] != "meta" || r.URL.RawQuery != "" {
				return nil
			}
			id, err := url.PathUnescape(segments[2])
			if err != nil || !strings.HasPrefix(id, before) || !strings.HasSuffix(id, after) {
				return nil
			}
			return []string{strings.TrimSuffix(strings.TrimPrefix(id, before), after)}
		}
	}
	return []carrier{
		{name: "path", path: "/files/{id}/meta", received: inPath("", "")},
		{name: "part of a segment", path: "/files/.{id}/meta", received: inPath(".", "")},
		{name: "query", path: "/find?exact=1&id={id}", received: func(r *http.Request) []string {
			query, err := url.ParseQuery(r.URL.RawQuery)
			if err != nil || len(query) != 2 || query.Get("exact") != "1" || r.URL.EscapedPath() != "/find" {
				return nil
			}
			return query["id"]
		}},
		{name: "header", path: "/", headers: http.Header{"X-Id": {"{id}"}}, received: func(r *http.Request) []string {
			return r.Header["X-Id"]
		}},
		{name: "cookie", path: "/", identity: "{http.request.cookie.sid}", received: func(r *http.Request) []string {
			// a cookie that came several times goes out as often
			cookies := r.CookiesNamed("sid")
			names := slices.Repeat([]string{"sid"}, len(cookies))
			return []string{strings.Join(received(r, names...), ";")}
		}},
		{name: "cookie header", path: "/", headers: http.Header{"Cookie": {"lang=en; sid={id}"}}, received: func(r *http.Request) []string {
			cookies := received(r, "lang", "sid")
			if len(cookies) != 2 || cookies[0] != "en" {
				return nil
			}
			return cookies[1:]
		}},
	}
}

// received are the cookies' values if they have just these names.
func received(r *http.Request, names ...string) []string {
	var values []string
	cookies := r.Cookies()
	// readers that do not take quotes off must see the same
	raw := strings.FieldsFunc(r.Header.Get("Cookie"), func(r rune) bool { return strings.ContainsRune("; ,", r) })
	if len(cookies) != len(names) || len(raw) != len(names) {
		return nil
	}
	for i, c := range cookies {
		if c.Name != names[i] || raw[i] != c.Name+"="+c.Value {
			return nil
		}
		values = append(values, c.Value)
	}
	return values
}

func (c carrier) provision(t testing.TB, to *listener) *Source {
	return provisioned(t, &Source{URL: to.url + c.path, Headers: c.headers}, c.identity)
}

// requireFaithful asks for an identity and requires that it arrived as it is,
// or that nothing was asked.
func requireFaithful(t *testing.T, c carrier, h *Source, to *listener, id string) (asked bool) {
	loaded, err := load(h, id)
	require.NoError(t, err)
	seen := to.take()
	if len(seen) == 0 {
		require.Equal(t, cache.Absent, loaded.Record.State())
		require.True(t, loaded.NoStore)
		return false
	}
	require.Len(t, seen, 1)
	require.Equal(t, "http://"+seen[0].Host, to.url)
	require.Equal(t, []string{id}, c.received(seen[0]), "%s of %q", c.name, seen[0].RequestURI)
	return true
}

func TestIdentityArrivesUnchangedOrNotAtAll(t *testing.T) {
	t.Parallel()
	all := []string{"path", "part of a segment", "query", "header", "cookie", "cookie header"}
	url := []string{"path", "part of a segment", "query"}
	for id, want := range map[string][]string{
		"abc123":           all,
		"eyJh.eyJz.c2ln-_": all,
		"a=b&c=d":          all,
		"100%":             all,
		"%2e%2e":           all,
		"%2F..%2F":         all,
		"#fragment":        all,
		"?admin=1":         all,
		"a/b":              all,
		"//other.example":  {"path", "query", "header", "cookie", "cookie header"},
		"@other.example":   all,
		"http://x/":        all,
		"a+b":              all,
		"{id}":             all,
		"{env.HOME}":       all,
		".":                {"query", "header", "cookie", "cookie header"},
		"..":               {"part of a segment", "query", "header", "cookie", "cookie header"},
		"../admin":         {"part of a segment", "query", "header", "cookie", "cookie header"},
		"a/../../admin":    {"query", "header", "cookie", "cookie header"},
		"./x":              {"query", "header", "cookie", "cookie header"},
		"..;x":             {"part of a segment", "query", "header", "cookie"}, // as two cookies
		`..\admin`:         {"part of a segment", "query", "header"},
		"a; admin=1":       {"path", "part of a segment", "query", "header"},
		"a;admin=1":        {"path", "part of a segment", "query", "header", "cookie"},
		"a,admin=1":        {"path", "part of a segment", "query", "header"},
		"a b":              {"path", "part of a segment", "query", "header"},
		`"quoted"`:         {"path", "part of a segment", "query", "header"},
		" a":               url,
		"a ":               url,
		"a\r\nX-Admin: 1":  url,
		"a\x00b":           url,
		"żółć":             {"path", "part of a segment", "query", "header"},
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			to := listen(t)
			var asked []string
			for _, c := range carriers() {
				if requireFaithful(t, c, c.provision(t, to), to, id) {
					asked = append(asked, c.name)
				}
			}
			require.Equal(t, want, asked)
		})
	}
}

// What goes over the wire is read again here, without a connection in between,
// so that the fuzzer sees the same coverage each time.
func FuzzIdentityArrivesUnchangedOrNotAtAll(f *testing.F) {
	for _, id := range []string{"abc", "..", "a/../b", "a;b=c", "a b", `"a"`, "%2e", "a\\b", "é", "?a#b", " ", "a,b", "\t"} {
		f.Add(id)
	}
	sources := make(map[string]*Source)
	for _, c := range carriers() {
		sources[c.name] = c.provision(f, &listener{url: "http://app.internal"})
	}
	f.Fuzz(func(t *testing.T, id string) {
		if id == "" || cache.CheckIdentity(id) != nil {
			t.Skip("reaches no source")
		}
		for _, c := range carriers() {
			sent, ok := sources[c.name].question.about(t.Context(), &cache.Request{ID: id})
			if !ok {
				continue
			}
			var wire bytes.Buffer
			require.NoError(t, sent.Write(&wire))
			reader := bufio.NewReader(&wire)
			got, err := http.ReadRequest(reader)
			require.NoError(t, err)
			require.Equal(t, "app.internal", got.Host)
			require.Equal(t, []string{id}, c.received(got), "%s of %q", c.name, got.RequestURI)
			require.Zero(t, reader.Buffered()+wire.Len(), "something follows the request")
		}
	})
}

func TestIdentityIsForwardedTheWayItCame(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, identity, header, want string
	}{
		{"cookie", "{http.request.cookie.sid}", "Cookie", "sid=token"},
		{"cookie as in JSON by hand", "{cookie.sid}", "Cookie", "sid=token"},
		{"header", "{http.request.header.Authorization}", "Authorization", "token"},
		{"header as in JSON by hand", "{header.x-api-key}", "X-Api-Key", "token"},
		{"all cookies", "{http.request.header.Cookie}", "Cookie", "token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			to := listen(t)
			h := provisioned(t, &Source{URL: to.url}, test.identity)
			_, err := load(h, "token")
			require.NoError(t, err)
			seen := to.take()
			require.Len(t, seen, 1)
			require.Equal(t, []string{test.want}, seen[0].Header.Values(test.header))
		})
	}
	t.Run("whole cookie header as it is", func(t *testing.T) {
		t.Parallel()
		to := listen(t)
		_, err := load(provisioned(t, &Source{URL: to.url}, "{header.Cookie}"), "a=1; b=2")
		require.NoError(t, err)
		require.Equal(t, "a=1; b=2", to.take()[0].Header.Get("Cookie"))
	})
	t.Run("several cookies of one name", func(t *testing.T) {
		t.Parallel()
		to := listen(t)
		_, err := load(provisioned(t, &Source{URL: to.url}, "{cookie.sid}"), "old;new")
		require.NoError(t, err)
		require.Equal(t, "sid=old; sid=new", to.take()[0].Header.Get("Cookie"))
	})
	t.Run("beside own headers", func(t *testing.T) {
		t.Parallel()
		to := listen(t)
		h := provisioned(t, &Source{URL: to.url, Headers: http.Header{"X-Session": {"{id}"}}}, "{cookie.sid}")
		_, err := load(h, "token")
		require.NoError(t, err)
		seen := to.take()
		require.Equal(t, "token", seen[0].Header.Get("X-Session"))
		require.Equal(t, "sid=token", seen[0].Header.Get("Cookie"))
	})
	t.Run("but not over own headers", func(t *testing.T) {
		t.Parallel()
		to := listen(t)
		h := provisioned(t, &Source{URL: to.url, Headers: http.Header{"Cookie": {"app={id}"}}}, "{cookie.sid}")
		_, err := load(h, "token")
		require.NoError(t, err)
		require.Equal(t, "app=token", to.take()[0].Header.Get("Cookie"))
	})
}

func TestPlaceholdersAreResolvedAtLoadTime(t *testing.T) {
	to := listen(t)
	secret := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(secret, []byte("from-file\n"), 0o600))
	t.Setenv("TEST_SOURCE_APP", to.url)
	t.Setenv("TEST_SOURCE_TOKEN", "from-env{id}")
	h := provisioned(t, &Source{
		URL:    "{env.TEST_SOURCE_APP}/verify/{id}",
		Method: http.MethodPost,
		Headers: http.Header{
			"Authorization": {"Bearer {env.TEST_SOURCE_TOKEN}"},
			"X-Token":       {"{file." + secret + "}", "second"},
			"Host":          {"app.internal"},
		},
	}, "")
	t.Setenv("TEST_SOURCE_TOKEN", "changed")
	_, err := load(h, "a")
	require.NoError(t, err)
	seen := to.take()
	require.Len(t, seen, 1)
	require.Equal(t, "POST", seen[0].Method)
	require.Equal(t, "app.internal", seen[0].Host)
	require.Equal(t, "/verify/a", seen[0].URL.Path)
	require.Equal(t, "Bearer from-env{id}", seen[0].Header.Get("Authorization"), "{id} in a value is text")
	require.Equal(t, []string{"from-file", "second"}, seen[0].Header.Values("X-Token"))
}

// Nodes and reloads with one configuration use each other's records, so neither
// keys nor fingerprints may depend on the order in which a map is read.
func TestEqualConfigurationsAskEqualQuestions(t *testing.T) {
	t.Parallel()
	of := func() *Source {
		headers := make(http.Header)
		for _, name := range []string{"Method", "Proto", "Host", "Uri", "For"} {
			headers.Set("X-Forwarded-"+name, "{http.request.header.X-"+name+"}")
		}
		return provisioned(t, &Source{URL: "http://app.internal/", Headers: headers}, "{http.request.cookie.sid}")
	}
	first := of()
	for range 20 {
		other := of()
		require.Equal(t, first.RequestTemplates(), other.RequestTemplates())
		require.Equal(t, first.Fingerprint(), other.Fingerprint())
	}
}

func TestApplicationSeesNothingButTheIdentity(t *testing.T) {
	t.Parallel()
	to := listen(t)
	_, err := load(provisioned(t, &Source{URL: to.url}, "{cookie.sid}"), "token")
	require.NoError(t, err)
	require.Equal(t, http.Header{
		"Cookie":          {"sid=token"},
		"Accept-Encoding": {"gzip"},
		"User-Agent":      {"caddy-filewallball/" + version.String()},
	}, to.take()[0].Header)
}

func TestUnsafeQuestionsAreLoadErrors(t *testing.T) {
	t.Setenv("TEST_SOURCE_SECRET", "hunter2/x")
	t.Setenv("TEST_SOURCE_LINES", "hunter2\nx")
	header := func(name, value string) Source {
		return Source{URL: "http://app/{id}", Headers: http.Header{name: {value}}}
	}
	for name, test := range map[string]struct {
		source   Source
		identity string
		want     string
	}{
		"no URL":                 {Source{}, "", "want http://"},
		"shorthand in URL":       {Source{URL: "http://app/{id}?m={method}"}, "", "{method} is a shorthand that Caddy does not expand here: write {http.request.method}"},
		"unknown in header":      {header("X-Var", "{http.request.uri.pth}"), "", "{http.request.uri.pth} does not exist"},
		"request is the host":    {Source{URL: "http://{http.request.host}/{id}"}, "", "URL"},
		"request in the port":    {Source{URL: "http://app:{http.request.port}/{id}"}, "", "URL"},
		"request in the Host":    {header("Host", "{http.request.host}"), "", "a client must not choose the server that is asked"},
		"part that is not there": {Source{URL: "http://app/{id.2}"}, "", "{id.2} is not a part of the identity, which has 1"},
		"nothing tells":          {Source{URL: "http://app/"}, "{http.request.uri.path}", "every identity would get the same answer"},
		"two cookies":            {Source{URL: "http://app/"}, "{cookie.a}{cookie.b}", "every identity would get the same answer"},
		"cookie and more":        {Source{URL: "http://app/"}, "{cookie.a}-x", "every identity would get the same answer"},
		"host is not forwarded":  {Source{URL: "http://app/"}, "{header.Host}", "every identity would get the same answer"},
		"framing not forwarded":  {Source{URL: "http://app/"}, "{header.Transfer-Encoding}", "every identity would get the same answer"},
		"identity is the URL":    {Source{URL: "{id}"}, "", "want http://"},
		"identity is the scheme": {Source{URL: "{id}://app/"}, "", "not a URL"},
		"identity is the host":   {Source{URL: "http://{id}/"}, "", "URL"},
		"identity ends the host": {Source{URL: "http://app{id}"}, "", "URL"},
		"identity in the port":   {Source{URL: "http://app:80{id}"}, "", "URL"},
		"identity is the user":   {Source{URL: "http://{id}@app/"}, "", "user in front of the host"},
		"identity in the Host":   {header("Host", "{id}.internal"), "", "a client must not choose the server that is asked"},
		"user":                   {Source{URL: "http://me:{env.TEST_SOURCE_SECRET}@app/{id}"}, "", "not a URL"},
		"plain user":             {Source{URL: "http://me:hunter2@app/{id}"}, "", "send credentials in a header"},
		"other scheme":           {Source{URL: "ftp://app/{id}"}, "", "want http:// or https://"},
		"no host":                {Source{URL: "http:///{id}"}, "", "want http:// or https://"},
		"no host but a port":     {Source{URL: "http://:80/{id}"}, "", "want http:// or https://"},
		"fragment":               {Source{URL: "http://app/#{id}"}, "", "fragment"},
		"space":                  {Source{URL: "http://app/?a=b c&id={id}"}, "", "space"},
		"dot segment":            {Source{URL: "http://app/a/../{id}"}, "", "segment"},
		"encoded dot segment":    {Source{URL: "http://app/a/%2e%2E/{id}"}, "", "segment"},
		"unencoded path":         {Source{URL: "http://app/ż/{id}"}, "", "percent-encoded"},
		"cut escape in path":     {Source{URL: "http://app/%2{id}"}, "", "not a URL"},
		"cut escape in query":    {Source{URL: "http://app/?id=%{id}"}, "", "not a URL"},
		"no header name":         {header("X Y", "1"), "", "not the name of a header"},
		"header of connection":   {header("transfer-encoding", "chunked"), "", "belongs to the connection"},
		"lines in header":        {header("X-Secret", "{env.TEST_SOURCE_LINES}"), "", "character that cannot stand in a header"},
		"method":                 {Source{URL: "http://app/{id}", Method: "DELETE"}, "", "want GET, HEAD or POST"},
		"negative timeout":       {Source{URL: "http://app/{id}", Timeout: -1}, "", "cannot be negative"},
		"negative max_body":      {Source{URL: "http://app/{id}", MaxBody: -1}, "", "cannot be negative"},
		"copied cookies":         {Source{URL: "http://app/{id}", CopyHeaders: []string{"set-cookie"}}, "", "Set-Cookie is for one client"},
		"copied nonsense":        {Source{URL: "http://app/{id}", CopyHeaders: []string{"a b"}}, "", "not the name of a header"},
	} {
		t.Run(name, func(t *testing.T) {
			err := provision(t, &test.source, test.identity)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestPreservedHost(t *testing.T) {
	t.Parallel()
	app := listen(t)
	ask := func(h *Source, host string) {
		t.Helper()
		_, err := h.Load(t.Context(), cache.Request{Key: "k", ID: "a", Values: []string{host}}, nil)
		require.NoError(t, err)
	}
	h := provisioned(t, &Source{URL: app.url + "/{id}", PreserveHost: true}, "")
	require.Equal(t, []string{"{http.request.hostport}"}, h.RequestTemplates())
	require.False(t, h.IgnoredInKey(0))
	ask(h, "site.example:8080")
	require.Equal(t, "site.example:8080", app.take()[0].Host)
	for _, host := range []string{"a b", "a\r\nX: y", "\u00e9"} {
		ask(h, host)
		require.Empty(t, app.take(), "%q is not asked about", host)
	}
	ask(h, "")
	require.Equal(t, strings.TrimPrefix(app.url, "http://"), app.take()[0].Host, "there is none to preserve")
	h = provisioned(t, &Source{URL: app.url + "/{id}", PreserveHost: true, IgnoreInKey: []string{"Host"}}, "")
	require.True(t, h.IgnoredInKey(0))
	require.ErrorContains(t, provision(t, &Source{URL: app.url + "/{id}", PreserveHost: true, Headers: http.Header{"Host": {"x"}}}, ""), "exclude each other")
	require.ErrorContains(t, provision(t, &Source{URL: app.url + "/{id}", IgnoreInKey: []string{"Host"}}, ""), "is not sent")
}
