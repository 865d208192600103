package admin

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// keyPath is the path of a key's endpoint, whatever the key.
func keyPath(key string) string {
	return "keys/" + strings.ReplaceAll(url.PathEscape(key), ".", "%2E")
}

// adminRecord is the answer for a key.
type adminRecord struct {
	Key   string          `json:"key"`
	TTL   *int64          `json:"ttl_seconds"`
	Value json.RawMessage `json:"value"`
}

func (a adminAnswer) record(t *testing.T) (r adminRecord) {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.NoError(t, json.Unmarshal([]byte(a.Body), &r), "%s", a.Body)
	require.NotNil(t, r.TTL)
	return r
}

func TestAdminWritesReadsAndDropsRecords(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		require.Equal(t, http.StatusNotFound, c.get(t, "keys/file:meta:1").Status)
		put := c.do(t, http.MethodPut, "keys/file:meta:1?ttl=1h", `{"name": "document.pdf"}`)
		require.Equal(t, http.StatusNoContent, put.Status)
		require.Empty(t, put.Body)

		r := c.get(t, "keys/file:meta:1").record(t)
		require.Equal(t, "file:meta:1", r.Key)
		require.JSONEq(t, `{"name": "document.pdf"}`, string(r.Value))
		require.InDelta(t, 3600, *r.TTL, 10)
		require.LessOrEqual(t, *r.TTL, int64(3600))

		for range 2 { // also where it was absent
			require.Equal(t, http.StatusNoContent, c.do(t, http.MethodDelete, "keys/file:meta:1", "").Status)
		}
		a := c.get(t, "keys/file:meta:1")
		require.Equal(t, http.StatusNotFound, a.Status)
		require.Equal(t, "there is no such key", a.message(t))
		require.NotContains(t, app.Cache().Stats().Snapshot().Routes, "admin")
		require.Zero(t, app.Cache().Stats().Snapshot().All.TotalRequests, "the administrator's reads are no lookups")
	})
}

func TestAdminGivesValuesAsTheyAreStored(t *testing.T) {
	overBothStores(t, func(t *testing.T, _ *lookuptest.App, c adminClient) {
		for name, value := range map[string]string{
			"white space and order": "{ \"b\" : 1,\n\t\"a\": [ ] }",
			"markup":                `{"html":"<b>&amp;</b>"}`,
			"escapes":               `{"text":"\u00e9\/\ud83d\ude00"}`,
			"large numbers":         `{"n":123456789012345678901234567890,"f":1.10}`,
			"unicode":               `{"이름":"문서 😀"}`,
			"a name twice":          `{"a":1,"a":2}`,
			"absent":                `null`,
			"denied":                `{"denied":403}`,
			"empty":                 `{}`,
		} {
			require.Equal(t, http.StatusNoContent, c.do(t, http.MethodPut, "keys/k?ttl=1h", value).Status, name)
			a := c.get(t, "keys/k")
			a.record(t)
			_, got, _ := strings.Cut(a.Body, `"value":`)
			require.Equal(t, value+"}\n", got, name)
		}
	})
}

var awkwardKeys = []string{
	"plain", "file:meta:test-123", "file:meta:/srv/files/report.pdf", "/", "//", "/a", "a/", "a//b", "a///b/",
	".", "..", "...", "../..", "a/..", "a/../b", "./a", "/../etc/passwd", "a/./b", "keys/a", "stats",
	"?", "a?b=c", "a?ttl=1h", "#", "a#b", "%", "%2F", "%2f..", "%00", "%zz", "100%", "a%20b",
	" ", "a b", " a ", "+", "a+b", "{id}", "{env.HOME}", "{http.request.uri}", "[a-z]*?", "*", `a\b`, `"quoted"`, "'",
	"<b>&amp;</b>", "a;b,c=d", "김치", "é", "e\u0301", "😀", "\u2028", "a:b@c", "~", "http://a/b", "\u00a0",
}

func TestAdminTakesAnyKey(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		for _, key := range awkwardKeys {
			value, err := json.Marshal(map[string]string{"for": key})
			require.NoError(t, err)
			put := c.do(t, http.MethodPut, keyPath(key)+"?ttl=1h", string(value))
			require.Equal(t, http.StatusNoContent, put.Status, "%q: %s", key, put.Body)
			entry, err := app.Cache().Get(t.Context(), key)
			require.NoError(t, err)
			require.NotNil(t, entry.Record, "%q is not what was written", key)
		}
		for _, key := range awkwardKeys {
			r := c.get(t, keyPath(key)).record(t)
			require.Equal(t, key, r.Key)
			require.Contains(t, string(r.Value), `{"for":`)
		}
		require.ElementsMatch(t, awkwardKeys, listAll(t, c, "", "1000"))
		for i, key := range awkwardKeys {
			require.Equal(t, http.StatusNoContent, c.do(t, http.MethodDelete, keyPath(key), "").Status, "%q", key)
			require.Equal(t, http.StatusNotFound, c.get(t, keyPath(key)).Status, "%q", key)
			require.Len(t, listAll(t, c, "", "1000"), len(awkwardKeys)-i-1, "%q took another one along", key)
		}
	})
}

func TestAdminTakesSlashesAsTheyAreInPaths(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	require.Equal(t, http.StatusNoContent, c.do(t, http.MethodPut, "keys/file:meta:/a/b.txt", `{}`).Status)
	require.Equal(t, "file:meta:/a/b.txt", c.get(t, "keys/file:meta:%2Fa%2Fb%2Etxt").record(t).Key)

	// Caddy redirects what it would clean: nothing is done under another key
	app.Put(t, "a/b", "{}")
	for _, path := range []string{"keys/a//b", "keys/x/../a/b", "keys/./a/b"} {
		require.Equal(t, http.StatusTemporaryRedirect, c.do(t, http.MethodDelete, path, "").Status, path)
	}
	require.Equal(t, http.StatusOK, c.get(t, "keys/a/b").Status)
}

func TestAdminRefusesMalformedKeys(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	for name, path := range map[string]string{
		"empty":         "keys/",
		"control":       "keys/a%00b",
		"newline":       "keys/a%0Ab",
		"C1 control":    "keys/a%C2%85b",
		"invalid UTF-8": "keys/a%FFb",
		"long":          "keys/" + strings.Repeat("k", cache.MaxIdentity+1),
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			a := c.do(t, method, path, "{}")
			require.Equal(t, http.StatusBadRequest, a.Status, "%s %s", method, name)
			require.Contains(t, a.message(t), "key is malformed: want 1 to 8192 bytes of UTF-8 text")
		}
		require.Equal(t, http.StatusBadRequest, c.do(t, http.MethodHead, path, "").Status, name)
	}
	require.Equal(t, http.StatusNotFound, c.get(t, "keys/"+strings.Repeat("k", cache.MaxIdentity)).Status)
}

func TestAdminPutSaysWhatWouldBeRight(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().MaxValueSize = 100
	c := startAdmin(t, app)
	for name, test := range map[string]struct {
		path, body string
		status     int
		message    string
	}{
		"no JSON":         {"keys/a?ttl=1h", "{", 400, "value is not valid JSON"},
		"empty":           {"keys/a?ttl=1h", "", 400, "want a JSON object or null"},
		"array":           {"keys/a?ttl=1h", "[]", 400, "value is not a JSON object or null"},
		"string":          {"keys/a?ttl=1h", `"{}"`, 400, "value is not a JSON object or null"},
		"two objects":     {"keys/a?ttl=1h", "{} {}", 400, "value is not valid JSON"},
		"invalid UTF-8":   {"keys/a?ttl=1h", "{\"a\":\"\xff\"}", 400, "value is not valid UTF-8"},
		"too large":       {"keys/a?ttl=1h", `{"a":"` + strings.Repeat("a", 93) + `"}`, 413, "want at most 100 bytes"},
		"no duration":     {"keys/a?ttl=soon", "{}", 400, "want a duration of at least 1ms, like 500ms, 30s or 1h"},
		"a bare number":   {"keys/a?ttl=60", "{}", 400, "ttl is not right"},
		"empty ttl":       {"keys/a?ttl=", "{}", 400, "ttl is not right"},
		"zero ttl":        {"keys/a?ttl=0s", "{}", 400, "ttl is not right"},
		"negative ttl":    {"keys/a?ttl=-1h", "{}", 400, "ttl is not right"},
		"tiny ttl":        {"keys/a?ttl=1us", "{}", 400, "ttl is not right"},
		"two ttls":        {"keys/a?ttl=1h&ttl=2h", "{}", 400, "ttl is given twice"},
		"misspelt":        {"keys/session:user:a?tll=1h", "{}", 400, "unknown parameter: want ttl"},
		"question mark":   {"keys/session:user:a?b", "{}", 400, "a ? in a key is %3F"},
		"malformed query": {"keys/session:user:a?ttl=%zz", "{}", 400, "query is malformed"},
		"foreign key":     {"keys/other:a", "{}", 400, "key is of no family, so it needs a ttl, like 1h"},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.do(t, http.MethodPut, test.path, test.body)
			require.Equal(t, test.status, a.Status, a.Body)
			require.Contains(t, a.message(t), test.message)
		})
	}
	require.Empty(t, listAll(t, c, "", "1000"), "something was written all the same")
	require.Equal(t, http.StatusNoContent,
		c.do(t, http.MethodPut, "keys/a?ttl=1h", `{"a":"`+strings.Repeat("a", 92)+`"}`).Status, "just small enough")
}

func TestAdminPutWithoutTTLTakesThatOfTheFamily(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().KeyPrefix = "site1:"
	app.Policy().Families[0].TTL = 2 * time.Hour
	c := startAdmin(t, app)
	for key, seconds := range map[string]int64{
		"site1:file:meta:1": 7200, "site1:session:user:1": 86400, "site1:temp:upload:progress:1": 600,
	} {
		require.Equal(t, http.StatusNoContent, c.do(t, http.MethodPut, "keys/"+key, "{}").Status, key)
		require.InDelta(t, seconds, *c.get(t, "keys/"+key).record(t).TTL, 10, key)
	}
	require.Equal(t, http.StatusBadRequest, c.do(t, http.MethodPut, "keys/session:user:1", "{}").Status, "without the prefix it is foreign")
	require.Equal(t, http.StatusNoContent, c.do(t, http.MethodPut, "keys/site1:other?ttl=1d", "{}").Status)
	require.InDelta(t, 86400, *c.get(t, "keys/site1:other").record(t).TTL, 10)
}

// listAll lists all keys, page by page.
func listAll(t *testing.T, c adminClient, prefix, limit string) (keys []string) {
	t.Helper()
	for cursor := ""; ; {
		a := c.get(t, "keys?prefix="+url.QueryEscape(prefix)+"&limit="+limit+"&cursor="+url.QueryEscape(cursor))
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		var page struct {
			Keys   []string
			Cursor *string
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &page))
		require.NotNil(t, page.Keys, "a list, even if it is empty")
		require.NotNil(t, page.Cursor)
		keys = append(keys, page.Keys...)
		if cursor = *page.Cursor; cursor == "" {
			slices.Sort(keys)
			return slices.Compact(keys)
		}
	}
}

func TestAdminListsKeysPageByPage(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		require.Empty(t, listAll(t, c, "", "10"))
		var sessions, files []string
		for i := range 130 {
			n := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
			sessions, files = append(sessions, "session:user:"+n), append(files, "file:meta:"+n)
			app.Put(t, "session:user:"+n, "{}")
			app.Put(t, "file:meta:"+n, "{}")
		}
		app.Put(t, "file:met*:1", "{}")
		require.ElementsMatch(t, sessions, listAll(t, c, "session:user:", "7"))
		require.ElementsMatch(t, files, listAll(t, c, "file:meta:", "1000"))
		require.Len(t, listAll(t, c, "", "1"), 261)
		require.Equal(t, []string{"file:met*:1"}, listAll(t, c, "file:met*", "10"), "a prefix is no pattern")
		require.Empty(t, listAll(t, c, "nothing", "10"))
	})
}

func TestAdminListRefusesWhatIsNotRight(t *testing.T) {
	c := startAdmin(t, newMemoryApp(t))
	for path, message := range map[string]string{
		"keys?limit=0":        "want a number from 1 to 1000",
		"keys?limit=1001":     "want a number from 1 to 1000",
		"keys?limit=-1":       "want a number from 1 to 1000",
		"keys?limit=ten":      "want a number from 1 to 1000",
		"keys?limit=":         "want a number from 1 to 1000",
		"keys?prefix=%00":     "prefix is malformed",
		"keys?prefix=%FF":     "prefix is malformed",
		"keys?pattern=*":      "unknown parameter: want prefix, limit, cursor",
		"keys?limit=1&limit=": "limit is given twice",
	} {
		a := c.get(t, path)
		require.Equal(t, http.StatusBadRequest, a.Status, path)
		require.Contains(t, a.message(t), message, path)
	}
}

func TestAdminListRefusesACursorItNeverGave(t *testing.T) {
	c := startAdmin(t, newRedisApp(t, redistest.Start(t)))
	a := c.get(t, "keys?cursor=abc")
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Contains(t, a.message(t), "cursor is not right")
}

// FuzzAdminKey puts keys through Caddy's kind of mux: what is read is what was
// written, or it is refused.
func FuzzAdminKey(f *testing.F) {
	for _, key := range awkwardKeys {
		f.Add(key)
	}
	f.Add("\x00")
	f.Add("\xff")
	mux := http.NewServeMux()
	var got string
	mux.HandleFunc(adminKey, func(_ http.ResponseWriter, r *http.Request) {
		key, err := keyOf(r, new(lookup.Policy))
		if err == nil {
			got = key
		}
	})
	f.Fuzz(func(t *testing.T, key string) {
		got = ""
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(
			"GET /filewallball/" + keyPath(key) + " HTTP/1.1\r\nHost: caddy\r\n\r\n")))
		require.NoError(t, err)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code, "redirected")
		if cache.CheckIdentity(key) == nil {
			require.Equal(t, key, got)
		} else {
			require.Empty(t, got)
		}
	})
}
