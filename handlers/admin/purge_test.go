package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestAdminPurgesWhatIsNamed(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		for name, test := range map[string]struct {
			body, answer string
			left         []string
		}{
			"keys":               {`{"keys": ["file:meta:1", "file:meta:none"]}`, `{"purged": 1}`, []string{"*", "file:meta:2", "file:meta:[12]", "session:user:1"}},
			"awkward keys":       {`{"keys": ["*", "file:meta:[12]"]}`, `{"purged": 2}`, []string{"file:meta:1", "file:meta:2", "session:user:1"}},
			"no keys":            {`{"keys": []}`, `{"purged": 0}`, []string{"*", "file:meta:1", "file:meta:2", "file:meta:[12]", "session:user:1"}},
			"prefix":             {`{"prefix": "file:meta:"}`, `{"purged": 3}`, []string{"*", "session:user:1"}},
			"prefix of nothing":  {`{"prefix": "x"}`, `{"purged": 0}`, []string{"*", "file:meta:1", "file:meta:2", "file:meta:[12]", "session:user:1"}},
			"star is no pattern": {`{"prefix": "*"}`, `{"purged": 1}`, []string{"file:meta:1", "file:meta:2", "file:meta:[12]", "session:user:1"}},
			"class is no class":  {`{"prefix": "file:meta:[12]"}`, `{"purged": 1}`, []string{"*", "file:meta:1", "file:meta:2", "session:user:1"}},
		} {
			for _, key := range []string{"*", "file:meta:1", "file:meta:2", "file:meta:[12]", "session:user:1"} {
				app.Put(t, key, "{}")
			}
			a := c.do(t, http.MethodPost, "purge", test.body)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			require.JSONEq(t, test.answer, a.Body, name)
			require.Equal(t, test.left, listAll(t, c, "", "1000"), name)
		}
	})
}

func TestAdminPurgeRefusesWhatIsNotRight(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	app.Put(t, "a", "{}")
	for body, message := range map[string]string{
		``:                               "body is not a JSON object",
		`null`:                           "want one of",
		`[]`:                             "body is not a JSON object",
		`"a"`:                            "body is not a JSON object",
		`{"keys": ["a"]} {}`:             "body is not a JSON object",
		"{\"prefix\": \"\xff\"}":         "body is not a JSON object",
		`{}`:                             `want one of {"keys": ["…"]}, {"prefix": "…"} and {"tag": "…"}`,
		`{"keys": ["a"], "prefix": "a"}`: "want one of",
		`{"prefix": ""}`:                 "which would drop everything",
		`{"prefix": null}`:               "which would drop everything",
		`{"prefix": 1}`:                  "prefix is not a string",
		`{"prefix": "\u0000"}`:           "prefix is malformed",
		`{"prefix": "a", "prefix": "b"}`: "a field is given twice",
		`{"keys": ["a"], "keys": ["b"]}`: "a field is given twice",
		`{"prefix": "\ud800"}`:           "prefix is not a string",
		`{"keys": ["a", "b\udc00"]}`:     "keys is not a list of strings",
		`{"tag": "a\ud800"}`:             "tag is not a string",
		`{"keys": null}`:                 "keys is not a list of strings",
		`{"keys": "a"}`:                  "keys is not a list of strings",
		`{"keys": [1]}`:                  "keys is not a list of strings",
		`{"keys": ["a", ""]}`:            "key is malformed",
		`{"keys": ["a", null]}`:          "key is malformed",
		`{"tags": "user:1"}`:             `unknown field "tags": want one of`,
		`{"tag": ""}`:                    "tag is not a string, or empty",
		`{"tag": ["a"]}`:                 "tag is not a string, or empty",
		`{"Keys": ["a"]}`:                `unknown field "Keys"`,
		`{"prefix": "a", "dry_run": 1}`:  `unknown field "dry_run"`,
	} {
		a := c.do(t, http.MethodPost, "purge", body)
		require.Equal(t, http.StatusBadRequest, a.Status, body)
		require.Contains(t, a.message(t), message, body)
	}
	a := c.do(t, http.MethodPost, "purge", `{"prefix": "`+strings.Repeat("a", maxPurgeBody)+`"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.Status)
	require.Contains(t, a.message(t), "want at most 1048576 bytes")
	require.Equal(t, []string{"a"}, listAll(t, c, "", "10"))
}

func TestAdminErrorsDoNotPutWhatWasSentIntoTheLog(t *testing.T) {
	t.Parallel()
	_, err := whatToPurge([]byte(`{"s3cret": 1}`), new(lookup.Policy))
	var refusal caddy.APIError
	require.ErrorAs(t, err, &refusal)
	require.Contains(t, refusal.Message, "s3cret")
	require.NotContains(t, err.Error(), "s3cret", "this is what Caddy logs")

	require.ErrorAs(t, storeError(errors.Join(cache.ErrUnavailable, errors.New("dialing 10.0.0.1"))), &refusal)
	require.Equal(t, http.StatusServiceUnavailable, refusal.HTTPStatus)
	require.NotContains(t, refusal.Message, "10.0.0.1", "this is what the client sees")
	require.ErrorAs(t, storeError(errors.New("something about 10.0.0.1")), &refusal)
	require.Equal(t, http.StatusInternalServerError, refusal.HTTPStatus)
	require.NotContains(t, refusal.Message, "10.0.0.1")
}

func FuzzPurgeBody(f *testing.F) {
	for _, body := range []string{`{"keys": ["a"]}`, `{"prefix": "a"}`, `{"prefix": ""}`, `{"prefix": "a", "prefix": ""}`, `{"tag": "a"}`, "{\"prefix\": \"\xff\"}"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		what, err := whatToPurge(body, new(lookup.Policy))
		if err != nil {
			return
		}
		require.True(t, json.Valid(body))
		keys, named := what.Keys, 0
		for _, name := range []string{what.Prefix, what.Tag} {
			if name != "" {
				keys = append(keys, name)
				named++
			}
		}
		if what.Keys != nil {
			named++
		}
		require.Equal(t, 1, named, "none or several")
		for _, key := range keys {
			require.NotEmpty(t, key)
			require.NoError(t, cache.CheckIdentity(key))
		}
	})
}

func TestWhatCouldNotBePurgedIsPending(t *testing.T) {
	records, err := memory.New(memory.Options{})
	require.NoError(t, err)
	store := &lookuptest.Refusing{Store: records}
	app := newMemoryApp(t)
	app.Use(t, store)
	app.Put(t, "file:meta:1", "{}")
	app.Fill(t, "file:meta:2", "{}", "owner:1")
	c := startAdmin(t, app)
	purge := func(body string) adminAnswer { return c.do(t, http.MethodPost, "purge", body) }

	store.Refuse.Store(true)
	for i, a := range []adminAnswer{
		purge(`{"keys": ["file:meta:1", "file:meta:x"]}`), purge(`{"tag": "owner:1"}`), purge(`{"prefix": "file:"}`),
		c.do(t, http.MethodDelete, "keys/file:meta:1", ""),
	} {
		require.Equal(t, http.StatusServiceUnavailable, a.Status)
		var undone struct {
			Error           string
			Purged, Pending int
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &undone))
		require.Contains(t, undone.Error, "retries until they are dropped")
		require.NotContains(t, undone.Error, "file:meta")
		require.Zero(t, undone.Purged)
		require.Equal(t, []int{2, 1, 1, 1}[i], undone.Pending)
	}
	require.Equal(t, http.StatusServiceUnavailable, c.get(t, "keys/file:meta:1").Status)
	var health wire.Health
	require.NoError(t, json.Unmarshal([]byte(c.get(t, "health").Body), &health))
	require.Equal(t, wire.HealthWarn, health.Status)
	require.Contains(t, health.Output, "4 invalidations are pending since")

	store.Refuse.Store(false)
	require.Eventually(t, func() bool {
		var health wire.Health
		require.NoError(t, json.Unmarshal([]byte(c.get(t, "health").Body), &health))
		return health.Status == wire.HealthPass
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, http.StatusNotFound, c.get(t, "keys/file:meta:1").Status)
	require.Equal(t, http.StatusNotFound, c.get(t, "keys/file:meta:2").Status)
	app.Fill(t, "file:meta:2", "{}", "owner:1")
	require.JSONEq(t, `{"purged": 1}`, purge(`{"tag": "owner:1"}`).Body)
	require.Equal(t, http.StatusNotFound, c.get(t, "keys/file:meta:2").Status)
}
