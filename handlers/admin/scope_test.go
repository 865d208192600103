package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// outside has texts that no endpoint may take for a key or a prefix under the
// key_prefix "app:", with what is wrong with each.
var outside = map[string]string{
	"other:1":                  `does not begin with key_prefix: want one that begins with "app:"`,
	"app":                      "does not begin with key_prefix",
	"APP:session:user:1":       "does not begin with key_prefix",
	" app:1":                   "does not begin with key_prefix",
	"session:user:1":           "does not begin with key_prefix",
	"fwb:tag:user:1":           "does not begin with key_prefix",
	"x/../app:1":               "does not begin with key_prefix",
	"app%3A1":                  "does not begin with key_prefix",
	"app:fwb:":                 `is reserved for the plugin: want one that does not begin with "app:fwb:"`,
	"app:fwb:tag:user:1":       "reserved for the plugin",
	"app:fwb:lease:{app:1}":    "reserved for the plugin",
	"app:fwb:ended:{app:1}":    "reserved for the plugin",
	"app:fwb:bench:X:0":        "reserved for the plugin",
	"app:fwb:../session:user:": "reserved for the plugin",
	"app:\x00":                 "is malformed",
	"app:\xff":                 "is malformed",
}

// jsonText quotes a text as it is, invalid UTF-8 included.
func jsonText(text string) string {
	return `"` + strings.ReplaceAll(text, "\x00", `\u0000`) + `"`
}

func TestEndpointsTouchNothingButRecordsUnderKeyPrefix(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		app.Policy().KeyPrefix = "app:"
		app.Put(t, "other:1", "{}")
		app.Put(t, "app:session:user:1", "{}")
		for text, message := range outside {
			quoted := jsonText(text)
			if strings.Contains(text, "\xff") {
				message = "body is not a JSON object"
			}
			for _, request := range []struct{ method, path, body string }{
				{"POST", "get", `{"key":` + quoted + `}`},
				{"POST", "delete", `{"key":` + quoted + `}`},
				{"POST", "set", `{"key":` + quoted + `,"ttl":"1h","value":{}}`},
				{"POST", "purge", `{"keys":["app:x",` + quoted + `]}`},
				{"POST", "purge", `{"prefix":` + quoted + `}`},
			} {
				a := c.do(t, request.method, request.path, request.body)
				require.Equal(t, http.StatusBadRequest, a.Status, "%s %s", request.path, request.body)
				require.Contains(t, a.message(t), message, "%s %s", request.path, request.body)
			}
			for _, request := range []struct{ method, path string }{
				{"GET", keyPath(text)}, {"PUT", keyPath(text) + "?ttl=1h"}, {"DELETE", keyPath(text)},
				{"GET", "keys?prefix=" + url.QueryEscape(text)}, {"GET", "backup?prefix=" + url.QueryEscape(text)},
			} {
				a := c.do(t, request.method, request.path, "{}")
				require.Equal(t, http.StatusBadRequest, a.Status, "%s %s", request.method, request.path)
				require.Contains(t, a.message(t), outside[text], "%s %s", request.method, request.path)
			}
			require.Equal(t, http.StatusBadRequest, c.do(t, http.MethodHead, keyPath(text), "").Status)
			report := c.restore(t, "?overwrite=true", `{"key":`+quoted+`,"ttl_ms":60000,"value":{}}`)
			require.Zero(t, report.Restored, text)
			require.Equal(t, 1, report.Failed, text)
		}
		for _, key := range []string{"other:1", "app:session:user:1"} {
			entry, err := app.Cache().Get(t.Context(), key)
			require.NoError(t, err)
			require.NotNil(t, entry.Record, key)
		}
		require.Equal(t, []string{"app:session:user:1"}, listAll(t, c, "", "10"), "all under key_prefix and nothing else")
		require.JSONEq(t, `{"purged": 1}`, c.do(t, http.MethodPost, "purge", `{"prefix": "app:"}`).Body)
		require.Empty(t, listAll(t, c, "app:", "10"))
	})
}

// Whatever the administrator drops by prefix, the tags of other records stay.
func TestPurgingAPrefixLeavesTagsAlone(t *testing.T) {
	for _, keyPrefix := range []string{"", "app:"} {
		t.Run(keyPrefix, func(t *testing.T) {
			server := redistest.Start(t)
			app := newRedisApp(t, server)
			app.Policy().KeyPrefix = keyPrefix
			c := startAdmin(t, app)
			app.Fill(t, keyPrefix+"session:user:1", "{}", "user:1")
			app.Put(t, keyPrefix+"fwbx", "{}")
			a := c.do(t, http.MethodPost, "purge", fmt.Sprintf(`{"prefix": "%sfw"}`, keyPrefix))
			require.JSONEq(t, `{"purged": 1}`, a.Body, "a prefix that the plugin's own keys have, too")
			require.Equal(t, http.StatusOK, c.get(t, "keys/"+keyPrefix+"session:user:1").Status)

			for _, own := range server.Client().Keys(t.Context(), "*fwb:tag:*").Val() {
				put := c.do(t, http.MethodPut, keyPath(own)+"?ttl=1h", `{}`)
				require.Equal(t, http.StatusBadRequest, put.Status, own)
			}
			require.Equal(t, []string{keyPrefix + "session:user:1"}, listAll(t, c, "", "1000"), "a tag is no key")
			require.JSONEq(t, `{"purged": 1}`, c.do(t, http.MethodPost, "purge", `{"tag": "user:1"}`).Body)
			require.Equal(t, http.StatusNotFound, c.get(t, "keys/"+keyPrefix+"session:user:1").Status)
		})
	}
}

func TestRecordsAreReadWrittenAndDroppedWithTheKeyInTheBody(t *testing.T) {
	overBothStores(t, func(t *testing.T, _ *lookuptest.App, c adminClient) {
		post := func(endpoint, body string) adminAnswer { return c.do(t, http.MethodPost, endpoint, body) }
		for _, key := range awkwardKeys {
			quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
			value := `{ "html":"<b>&amp;</b>", "n":1.10, "n": "\u00e9"}`
			set := post("set", `{"key":`+quoted+`,"ttl":"1h","value":`+value+`}`)
			require.Equal(t, http.StatusNoContent, set.Status, "%q: %s", key, set.Body)
			got := post("get", `{"key":`+quoted+`}`)
			require.Equal(t, key, got.record(t).Key)
			require.Equal(t, c.get(t, keyPath(key)).Body, got.Body, "as GET keys/{key}")
			require.Contains(t, got.Body, `"value":`+value+"}\n", "byte for byte")
			require.Equal(t, http.StatusNoContent, post("delete", `{"key":`+quoted+`}`).Status)
			gone := post("get", `{"key":`+quoted+`}`)
			require.Equal(t, http.StatusNotFound, gone.Status)
			require.Equal(t, "there is no such key", gone.message(t))
			require.Equal(t, http.StatusNoContent, post("delete", `{"key":`+quoted+`}`).Status, "also where it was absent")
		}
		require.Equal(t, http.StatusNoContent, post("set", `{"key":"session:user:1","value":null}`).Status)
		require.InDelta(t, 86400, *post("get", `{"key":"session:user:1"}`).record(t).TTL, 10, "that of the family")
		require.Equal(t, []string{"session:user:1"}, listAll(t, c, "", "10"))
	})
}

func TestRecordsInBodiesAreRefusedWithWhatWouldBeRight(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().MaxValueSize = 100
	c := startAdmin(t, app)
	bodies := map[string]string{
		``: "body is not a JSON object", `null`: "key is malformed", `[]`: "body is not a JSON object", `"a"`: "body is not a JSON object",
		`{}`: "key is malformed", `{"key":""}`: "key is malformed", `{"key":null}`: "key is malformed", `{"key":1}`: "right fields: want",
		`{"key":"a"} {}`: "body is not a JSON object", `{"keys":["a"]}`: "right fields: want", `{"key":"a`: "body is not a JSON object",
		"{\"key\":\"\xff\"}": "body is not a JSON object", `{"key":"a\u0000"}`: "key is malformed",
	}
	for _, endpoint := range []string{"get", "delete", "set"} {
		for body, message := range bodies {
			a := c.do(t, http.MethodPost, endpoint, body)
			require.Equal(t, http.StatusBadRequest, a.Status, "%s %s", endpoint, body)
			require.Contains(t, a.message(t), message, "%s %s", endpoint, body)
		}
	}
	for body, message := range map[string]string{
		`{"key":"a","ttl":"1h"}`:                                                       "value is missing: want",
		`{"key":"a","value":{}}`:                                                       "key is of no family",
		`{"key":"a","ttl":"soon","value":{}}`:                                          "ttl is not right",
		`{"key":"a","ttl":"","value":{}}`:                                              "ttl is not right",
		`{"key":"a","ttl":"-1h","value":{}}`:                                           "ttl is not right",
		`{"key":"a","ttl":60,"value":{}}`:                                              "right fields: want",
		`{"key":"a","ttl":"1h","value":[1]}`:                                           "not a JSON object or null",
		`{"key":"a","ttl":"1h","value":{}} {}`:                                         "body is not a JSON object",
		`{"key":"a","ttl":"1h","value":{"s3cret":"` + strings.Repeat("x", 100) + `"}}`: "larger than 100 bytes",
		`{"key":"a","ttl":"1h","value":{},"tags":["b"]}`:                               "right fields: want",
	} {
		a := c.do(t, http.MethodPost, "set", body)
		require.Equal(t, http.StatusBadRequest, a.Status, body)
		require.Contains(t, a.message(t), message, body)
		require.NotContains(t, a.Body, "s3cret")
	}
	for _, body := range []string{
		`{"key":"a","key":"b"}`, `{"key":"a","KEY":"b"}`, `{"key":"\ud800"}`, `{"key":"a\udc00b"}`,
		`{"key":"\ud800","value":{"a":"\ufffd"}}`, `{"key":"\\ufffd\ud800"}`, `{"key":"\ud83d\\ude00"}`, `{"route":"\udbff\ud800","id":"a"}`,
	} {
		for _, endpoint := range []string{"get", "delete", "set"} {
			a := c.do(t, http.MethodPost, endpoint, body)
			require.Equal(t, http.StatusBadRequest, a.Status, body)
			require.Contains(t, a.message(t), "right fields: want", body)
		}
	}
	a := c.do(t, http.MethodPost, "get", `{"key":"\ufffd\ud83d\ude00\\ud800"}`)
	require.Equal(t, http.StatusNotFound, a.Status, "it is written so")
	a = c.do(t, http.MethodPost, "get", `{"key":"a","ttl":"1h"}`)
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Contains(t, a.message(t), "only set takes")
	for endpoint, body := range map[string]string{
		"get":    `{"key":"a","route":"b","id":"c"}`,
		"delete": `{"route":"b"}`,
		"set":    `{"route":"b","id":"c","value":{}}`,
	} {
		a := c.do(t, http.MethodPost, endpoint, body)
		require.Equal(t, http.StatusBadRequest, a.Status, body)
		require.Contains(t, a.message(t), `want {"key": "…"`, body)
	}
	require.Empty(t, listAll(t, c, "", "10"))

	long := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"key":"`+strings.Repeat("k", 1<<20)+`"}`))
	_, err := keysInBody(long, app)
	require.ErrorContains(t, err, "body is too large")
}
