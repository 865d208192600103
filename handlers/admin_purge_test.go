package handlers

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestAdminPurgesWhatIsNamed(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *testApp, c adminClient) {
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
				app.put(t, key, "{}")
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
	app.put(t, "a", "{}")
	for body, message := range map[string]string{
		``:                               "body is not a JSON object",
		`null`:                           "want either",
		`[]`:                             "body is not a JSON object",
		`"a"`:                            "body is not a JSON object",
		`{"keys": ["a"]} {}`:             "body is not a JSON object",
		"{\"prefix\": \"\xff\"}":         "body is not a JSON object",
		`{}`:                             `want either {"keys": ["…"]} or {"prefix": "…"}`,
		`{"keys": ["a"], "prefix": "a"}`: "want either",
		`{"prefix": ""}`:                 "which would drop everything",
		`{"prefix": null}`:               "which would drop everything",
		`{"prefix": 1}`:                  "prefix is not a string",
		`{"prefix": "\u0000"}`:           "key is malformed",
		`{"keys": null}`:                 "keys is not a list of strings",
		`{"keys": "a"}`:                  "keys is not a list of strings",
		`{"keys": [1]}`:                  "keys is not a list of strings",
		`{"keys": ["a", ""]}`:            "key is malformed",
		`{"keys": ["a", null]}`:          "key is malformed",
		`{"tag": "user:1"}`:              `unknown field "tag": want either`,
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
	_, _, err := whatToPurge([]byte(`{"s3cret": 1}`))
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
		keys, prefix, err := whatToPurge(body)
		if err != nil {
			return
		}
		require.True(t, json.Valid(body))
		require.NotEqual(t, keys != nil, prefix != "", "neither or both")
		if prefix != "" {
			keys = []string{prefix}
		}
		for _, key := range keys {
			require.NotEmpty(t, key)
			require.NoError(t, cache.CheckIdentity(key))
		}
	})
}
