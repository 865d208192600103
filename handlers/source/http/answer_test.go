package httpsource

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// answering is a source whose application gives the same answer to everybody.
func answering(t *testing.T, h Source, status int, header http.Header, body string) *Source {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	h.URL = server.URL + "/{id}"
	return provisioned(t, &h, "")
}

func TestStatusDecides(t *testing.T) {
	t.Parallel()
	const failed = "error"
	for status := 200; status <= 599; status++ {
		want := failed
		switch {
		case status <= 299:
			want = "found"
		case status == 304:
		case status <= 399:
			want = "response"
		case status == 401 || status == 404 || status == 410:
			want = "absent"
		case status == 403:
			want = "denied"
		}
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			h := answering(t, Source{}, status, nil, "")
			loaded, err := load(h, "a")
			switch want {
			case failed:
				require.EqualError(t, err, fmt.Sprintf("status %d", status))
				require.Nil(t, loaded.Record)
				return
			case "response":
				require.Nil(t, loaded.Record)
				require.Equal(t, status, loaded.Response.(*Response).Status)
			case "found":
				require.Equal(t, cache.Found, loaded.Record.State())
				require.JSONEq(t, fmt.Sprintf(`{"status": %d, "headers": {}}`, status), loaded.Record.Text())
			case "absent":
				require.Equal(t, cache.Absent, loaded.Record.State())
			case "denied":
				require.Equal(t, cache.Denied, loaded.Record.State())
				require.Equal(t, 403, loaded.Record.DeniedStatus())
			}
			require.NoError(t, err)
			require.False(t, loaded.NoStore)
		})
	}
}

func TestAStatusThatIsNoFinalAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"000", "001", "099", "101"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 "+status+" X\r\nContent-Length: 0\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn) // until the source closes it
			conn.Close()
		}))
		t.Cleanup(server.Close)
		h := provisioned(t, &Source{URL: server.URL + "/{id}"}, "")
		h.asker.Pass = true
		loaded, err := load(h, "a")
		require.NoError(t, h.Cleanup())
		number, _ := strconv.Atoi(status)
		require.EqualError(t, err, fmt.Sprintf("status %d", number))
		require.Nil(t, loaded.Response, "it cannot be passed")
		require.Nil(t, loaded.Record)
	}
}

func TestBodyOfSuccess(t *testing.T) {
	t.Parallel()
	header := http.Header{"X-User": {"ann"}, "X-Roles": {"a", "b"}, "Content-Type": {"text/plain"}, "Set-Cookie": {"sid=1"}}
	copies := []string{"x-user", "X-Roles", "X-Missing"}
	const notAnObject = "not a JSON object or null"
	const status = `{"status": 200, "headers": {}}`
	long := strings.Repeat("x", 200)
	for name, test := range map[string]struct {
		source Source
		body   string
		want   string
		fails  string
	}{
		"object":                 {Source{}, `{"user_id": 12345678901234567890}`, `{"user_id": 12345678901234567890}`, ""},
		"object within spaces":   {Source{}, " \r\n\t{\"a\": 1}\n", `{"a": 1}`, ""},
		"empty object":           {Source{}, `{}`, `null`, ""},
		"reserved fields alone":  {Source{}, `{"_source": "0123456789abcdef"}`, `null`, ""},
		"null":                   {Source{}, "null\n", `null`, ""},
		"refusal":                {Source{}, `{"denied": 451}`, `{"denied": 451}`, ""},
		"nothing":                {Source{}, ``, status, ""},
		"text":                   {Source{}, `nope`, status, ""},
		"array":                  {Source{}, `[{"a": 1}]`, "", notAnObject},
		"string":                 {Source{}, `"{}"`, "", notAnObject},
		"braces":                 {Source{}, `{{ template }}`, "", notAnObject},
		"two objects":            {Source{}, `{} {}`, "", notAnObject},
		"HEAD":                   {Source{Method: "HEAD"}, `{"a": 1}`, status, ""},
		"POST":                   {Source{Method: "POST"}, `{"a": 1}`, `{"a": 1}`, ""},
		"false":                  {Source{}, `false`, "", notAnObject},
		"true":                   {Source{}, `true`, "", notAnObject},
		"number":                 {Source{}, `0`, "", notAnObject},
		"empty array":            {Source{}, `[]`, "", notAnObject},
		"NaN":                    {Source{}, `{"denied": true, "risk": NaN}`, "", notAnObject},
		"trailing comma":         {Source{}, `{"denied": true,}`, "", notAnObject},
		"cut off":                {Source{}, `{"denied": tr`, "", notAnObject},
		"byte order mark":        {Source{}, "\xef\xbb\xbf{\"denied\": true}", "", notAnObject},
		"UTF-16":                 {Source{}, "\xff\xfe{\x00}\x00", "", notAnObject},
		"UTF-16, no mark":        {Source{}, "\x00{\x00}", "", notAnObject},
		"invisible space":        {Source{}, "\u200b{\"denied\": true}", "", notAnObject},
		"no-break space":         {Source{}, "\u00a0{\"denied\": true}", "", notAnObject},
		"comment":                {Source{}, "/* no */ {\"denied\": true}", "", notAnObject},
		"guard against scripts":  {Source{}, ")]}',\n{\"denied\": true}", "", notAnObject},
		"JSONP":                  {Source{}, "callback({\"denied\": true})", "", notAnObject},
		"comment of a shell":     {Source{}, "# no\n{\"denied\": true}", "", notAnObject},
		"parentheses":            {Source{}, "({\"absent\": true})", "", notAnObject},
		"False of Python":        {Source{}, "False\n", "", notAnObject},
		"None":                   {Source{}, "None", "", notAnObject},
		"undefined":              {Source{}, "undefined;", "", notAnObject},
		"-Infinity":              {Source{}, "-Infinity", "", notAnObject},
		"gzip":                   {Source{}, "\x1f\x8b\x08\x00", "", notAnObject},
		"False, and more":        {Source{}, "False alarm", status, ""},
		"false with a comma":     {Source{}, "false,", "", notAnObject},
		"null with a comma":      {Source{}, "null, ", "", notAnObject},
		"number with a comma":    {Source{}, "0,", "", notAnObject},
		"number, and more":       {Source{}, "200 OK", status, ""},
		"lines of false":         {Source{}, "false\nfalse", "", notAnObject},
		"false and a comment":    {Source{}, "false // no", "", notAnObject},
		"false of UTF-16":        {Source{}, "\x00f\x00a\x00l\x00s\x00e", "", notAnObject},
		"null of UTF-32":         {Source{}, "n\x00\x00\x00u\x00\x00\x00l\x00\x00\x00l\x00\x00\x00", "", notAnObject},
		"single quotes":          {Source{}, "'denied'", "", notAnObject},
		"callback of an object":  {Source{}, `callback({"user": "ann"});`, "", notAnObject},
		"event with an object":   {Source{}, "event: x\ndata: {\"user\": \"ann\"}\n\n", "", notAnObject},
		"guard of words":         {Source{}, `throw 1; <don't> {"user": "ann"}`, "", notAnObject},
		"text with braces":       {Source{}, "welcome {name}", status, ""},
		"page with an object":    {Source{}, `<script>x({"a": 1})</script>`, status, ""},
		"zlib":                   {Source{}, "x\x9c\xabV", "", notAnObject},
		"zeros over max_body":    {Source{MaxBody: 100}, strings.Repeat("\x00", 200) + `{"denied": true}`, "", "larger than 100 bytes"},
		"JSON behind max_body":   {Source{MaxBody: 100}, strings.Repeat(" ", 200) + `{"denied": true}`, "", "larger than 100 bytes"},
		"denied twice":           {Source{}, `{"denied": true, "denied": false}`, `{"denied": true, "denied": false}`, ""},
		"HTML":                   {Source{}, "<html>welcome</html>", status, ""},
		"invalid UTF-8":          {Source{}, "{\"a\": \"\xff\"}", "", "not valid UTF-8"},
		"object of max_body":     {Source{MaxBody: 8}, `{"a": 1}`, `{"a": 1}`, ""},
		"object over max_body":   {Source{MaxBody: 7}, `{"a": 1}`, "", "larger than 7 bytes"},
		"text over max_body":     {Source{MaxBody: 100}, long, status, ""},
		"record over max_body":   {Source{MaxBody: 10, CopyHeaders: copies}, `{"a": 1}`, "", "larger than 10 bytes"},
		"headers beside nothing": {Source{CopyHeaders: copies}, ``, `{"status": 200, "headers": {"x-user": "ann", "X-Roles": "a,b"}}`, ""},
		"headers beside HEAD":    {Source{Method: "HEAD", CopyHeaders: copies}, ``, `{"status": 200, "headers": {"x-user": "ann", "X-Roles": "a,b"}}`, ""},
		"headers in object":      {Source{CopyHeaders: copies}, `{"n": 12345678901234567890}`, `{"n": 12345678901234567890, "headers": {"x-user": "ann", "X-Roles": "a,b"}}`, ""},
		"headers over its own":   {Source{CopyHeaders: []string{"X-Missing"}}, `{"headers": {"X-Missing": "forged"}}`, `{"headers": {}}`, ""},
		"headers not in refusal": {Source{CopyHeaders: copies}, `{"denied": 403}`, `{"denied": 403}`, ""},
		"headers not in null":    {Source{CopyHeaders: copies}, `null`, `null`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loaded, err := load(answering(t, test.source, http.StatusOK, header, test.body), "a")
			if test.fails != "" {
				require.ErrorContains(t, err, test.fails)
				require.Zero(t, loaded)
				return
			}
			require.NoError(t, err)
			require.JSONEq(t, test.want, loaded.Record.Text())
			if strings.Contains(test.want, "12345678901234567890") {
				require.Contains(t, loaded.Record.Text(), "12345678901234567890", "numbers stay as they were written")
			}
		})
	}
}

func TestCopiedHeaderMustBeText(t *testing.T) {
	t.Parallel()
	h := answering(t, Source{CopyHeaders: []string{"X-User"}}, 200, http.Header{"X-User": {"Jos\xe9"}}, "")
	_, err := load(h, "a")
	require.ErrorContains(t, err, "response header X-User is not valid UTF-8")
}

func TestCompressedBodyIsBoundToo(t *testing.T) {
	t.Parallel()
	body := `{"zeros": "` + strings.Repeat("0", 1<<20) + `"}`
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gzipped(body))
	})
	_, err := load(provisioned(t, &Source{URL: server.URL + "/{id}"}, ""), "a")
	require.ErrorContains(t, err, "larger than 1048576 bytes")
	loaded, err := load(provisioned(t, &Source{URL: server.URL + "/{id}", MaxBody: 2 << 20}, ""), "a")
	require.NoError(t, err)
	require.Equal(t, body, loaded.Record.Text())
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}

func TestRedirectGoesToTheClient(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "state", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "nonce", Value: "2"})
		w.Header().Set("X-Internal", "secret")
		w.Header().Set("Cache-Control", "max-age=3600")
		http.Redirect(w, r, other.URL+"/login", http.StatusMovedPermanently)
	})
	h := provisioned(t, &Source{
		URL:     app.URL + "/{id}",
		Headers: http.Header{"Authorization": {"Bearer secret"}},
	}, "")
	loaded, err := load(h, "a")
	require.NoError(t, err)
	require.Nil(t, loaded.Record)
	require.Zero(t, followed.Load(), "the Authorization header must not reach another server")

	response := loaded.Response.(*Response)
	for range 2 { // for two clients that asked at once
		w := httptest.NewRecorder()
		w.Header().Set("Set-Cookie", "earlier=0")
		response.Serve(w)
		require.Equal(t, http.StatusMovedPermanently, w.Code)
		require.Equal(t, http.Header{
			"Location":      {other.URL + "/login"},
			"Set-Cookie":    {"earlier=0", "state=1", "nonce=2"},
			"Cache-Control": {"no-store"},
		}, w.Result().Header)
		require.Empty(t, w.Body.String())
	}
}

// A redirect or refusal that may name what is ignored in the key, like the URI to
// return to, does not go to requests that only waited for the same load.
func TestAnswersAboutIgnoredValuesAreForOneClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status  int
		ignored []string
		private bool
	}{
		"a redirect":                     {http.StatusFound, []string{"X-Forwarded-Uri"}, true},
		"a login page":                   {http.StatusUnauthorized, []string{"X-Forwarded-Uri"}, true},
		"a redirect about all of a key":  {http.StatusFound, nil, false},
		"a failure, which is everyone's": {http.StatusBadGateway, []string{"X-Forwarded-Uri"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/login")
				w.WriteHeader(c.status)
			})
			h := provisioned(t, &Source{
				URL:         app.URL + "/{id}",
				Headers:     http.Header{"X-Forwarded-Uri": {"{http.request.header.X-Uri}"}},
				IgnoreInKey: c.ignored,
			}, "")
			loaded, err := h.Load(t.Context(), cache.Request{ID: "a", Values: []string{"/x"}}, nil)
			require.Equal(t, c.status >= 500, err != nil)
			require.Equal(t, c.private, loaded.Private)
		})
	}
}

// Where answers are passed, a client gets all of a redirect.
func TestPassedRedirectIsWhole(t *testing.T) {
	t.Parallel()
	app := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/login")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=3600")
		w.WriteHeader(http.StatusSeeOther)
		_, _ = io.WriteString(w, "<a href=/login>log in</a>")
	})
	h := provisioned(t, &Source{URL: app.URL + "/{id}"}, "")
	h.asker.Pass = true
	loaded, err := load(h, "a")
	require.NoError(t, err)
	require.Nil(t, loaded.Record)
	w := httptest.NewRecorder()
	loaded.Response.(*Response).Serve(w)
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "<a href=/login>log in</a>", w.Body.String())
	require.Equal(t, "/login", w.Header().Get("Location"))
	require.Equal(t, "text/html", w.Header().Get("Content-Type"))
	require.Equal(t, []string{"no-store"}, w.Header().Values("Cache-Control"))
}

func TestCacheControlLimitsTheTTL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines   []string
		age     string
		want    time.Duration
		noStore bool
	}{
		"nothing":              {nil, "", 0, false},
		"max-age":              {[]string{"max-age=60"}, "", time.Minute, false},
		"any case and spaces":  {[]string{" Private , MAX-AGE = 60 "}, "", time.Minute, false},
		"quoted":               {[]string{`max-age="60"`}, "", time.Minute, false},
		"private":              {[]string{"private"}, "", 0, false},
		"no-store":             {[]string{"max-age=60, no-store"}, "", 0, true},
		"no-cache":             {[]string{"no-cache"}, "", 0, true},
		"no-cache for a field": {[]string{`no-cache="Set-Cookie"`}, "", 0, true},
		"max-age=0":            {[]string{"max-age=0"}, "", 0, true},
		"unreadable":           {[]string{"max-age=soon"}, "", 0, true},
		"negative":             {[]string{"max-age=-1"}, "", 0, true},
		"without a value":      {[]string{"max-age"}, "", 0, true},
		"endless":              {[]string{"max-age=99999999999999999999"}, "", longestAge, false},
		"the smallest":         {[]string{"max-age=60", "max-age=30"}, "", 30 * time.Second, false},
		"two lines":            {[]string{"private", "no-store"}, "", 0, true},
		"s-maxage is ours":     {[]string{"max-age=0, s-maxage=60"}, "", time.Minute, false},
		"s-maxage=0":           {[]string{"s-maxage=0, max-age=60"}, "", 0, true},
		"inside quotes":        {[]string{`private="a, no-store, \", no-store", max-age=60`}, "", time.Minute, false},
		"other directive":      {[]string{"x-max-age=5, must-revalidate"}, "", 0, false},
		"aged":                 {[]string{"max-age=60"}, "20", 40 * time.Second, false},
		"aged out":             {[]string{"max-age=60"}, "60", 0, true},
		"age alone":            {nil, "60", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{"Cache-Control": test.lines}
			if test.age != "" {
				header.Set("Age", test.age)
			}
			for _, status := range []int{200, 403, 404} {
				loaded, err := load(answering(t, Source{}, status, header, ""), "a")
				require.NoError(t, err)
				require.Equal(t, test.noStore, loaded.NoStore)
				if !test.noStore {
					require.Equal(t, test.want, loaded.MaxTTL)
				}
			}
		})
	}
}

func FuzzCacheControlNeverExtends(f *testing.F) {
	f.Add(`max-age=60, private="a,b"`, "5")
	f.Fuzz(func(t *testing.T, cacheControl, age string) {
		maxTTL, noStore := cacheLimits(http.Header{"Cache-Control": {cacheControl}, "Age": {age}})
		require.GreaterOrEqual(t, maxTTL, time.Duration(0))
		require.LessOrEqual(t, maxTTL, longestAge)
		if noStore {
			require.Zero(t, maxTTL)
		}
	})
}

// An answer that announces JSON and has none was cut off, however it is framed.
func TestEmptyAnswerOfTypeJSONIsAnError(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", " \n"} {
		_, err := load(answering(t, Source{}, http.StatusOK, http.Header{"Content-Type": {"application/json"}}, body), "a")
		require.ErrorContains(t, err, "not a JSON object or null")
	}
	loaded, err := load(answering(t, Source{}, http.StatusOK, nil, ""), "a")
	require.NoError(t, err)
	require.Equal(t, cache.Found, loaded.Record.State(), "no body and no claim: the status counts")
}

// RFC 9110, section 7.6.1, and what reverse_proxy leaves out beside.
func TestHeadersOfTheConnectionAreNotPassed(t *testing.T) {
	t.Parallel()
	got := endToEnd(http.Header{
		"Connection": {"X-Hop, close", "X-Other-Hop"}, "X-Hop": {"1"}, "X-Other-Hop": {"1"}, "Keep-Alive": {"timeout=5"},
		"Proxy-Authenticate": {"Basic"}, "Proxy-Authorization": {"Basic x"}, "Proxy-Connection": {"close"}, "Trailer": {"X"},
		"Transfer-Encoding": {"chunked"}, "Te": {"trailers"}, "Upgrade": {"h2c"}, "Alt-Svc": {"h3"}, "Content-Length": {"1"},
		"Www-Authenticate": {"Bearer"}, "X-End": {"1"},
	})
	require.Equal(t, http.Header{"Www-Authenticate": {"Bearer"}, "X-End": {"1"}}, got)
}
