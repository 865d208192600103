package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestRestoreKeepsExistingRecordsUnlessOverwrite(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		app.Put(t, "file:meta:1", `{"new":1}`)
		token, _, err := app.Cache().Store().Acquire(t.Context(), "file:meta:2", nil, time.Hour, false)
		require.NoError(t, err)
		require.NotEmpty(t, token)
		body := `{"key": "file:meta:1", "ttl_ms": 60000, "value": {"old":1}}
{"key": "file:meta:2", "ttl_ms": 60000, "value": {"old":2}}
{"key": "file:meta:3", "ttl_ms": 60000, "value": {"old":3}}`
		require.Equal(t, wire.RestoreReport{Restored: 1, Kept: 2, Lines: 3, Errors: []wire.LineError{}}, c.restore(t, "", body))
		require.Contains(t, c.get(t, "keys/file:meta:1").Body, `{"new":1}`)
		require.Equal(t, http.StatusNotFound, c.get(t, "keys/file:meta:2").Status, "it is being loaded")
		require.Contains(t, c.get(t, "keys/file:meta:3").Body, `{"old":3}`)

		require.Equal(t, wire.RestoreReport{Restored: 3, Lines: 3, Errors: []wire.LineError{}}, c.restore(t, "?overwrite=true", body))
		require.Contains(t, c.get(t, "keys/file:meta:1").Body, `{"old":1}`)
		require.Contains(t, c.get(t, "keys/file:meta:2").Body, `{"old":2}`)
	})
}

func TestRestoreExtendsNoRecordAndSkipsExpiredOnes(t *testing.T) {
	app := newMemoryApp(t)
	c := startAdmin(t, app)
	now := time.Now()
	var body strings.Builder
	for i, left := range []time.Duration{-time.Hour, -time.Millisecond, 0, time.Hour, 200 * 365 * 24 * time.Hour} {
		fmt.Fprintf(&body, `{"key":"file:meta:%d","ttl_ms":7200000,"expires_at":%d,"value":{}}`+"\n", i, now.Add(left).UnixMilli())
	}
	require.Equal(t, wire.RestoreReport{Restored: 2, Expired: 3, Lines: 5, Errors: []wire.LineError{}}, c.restore(t, "", body.String()))
	for key, want := range map[string]time.Duration{"file:meta:3": time.Hour, "file:meta:4": 2 * time.Hour} {
		left, ok, err := app.Cache().TTL(t.Context(), key)
		require.NoError(t, err)
		require.True(t, ok)
		require.InDelta(t, want, left, float64(time.Minute), "a clock that is behind makes nothing live longer")
	}
}

func TestRestoreNamesBadLinesAndTakesTheOthers(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().KeyPrefix, app.Policy().MaxValueSize = "app:", 100
	c := startAdmin(t, app)
	good := `{"key":"app:%d","ttl_ms":60000,"value":{}}`
	bad := []struct{ line, message string }{
		{`hello`, "not a JSON object"},
		{`[1]`, "not a JSON object"},
		{`null`, "not a JSON object"},
		{`{"key":"app:1"`, "not a JSON object"},
		{`{"key":"app:1","ttl_ms":1000,"value":{}} {}`, "not a JSON object"},
		{"{\"key\":\"app:\xff\",\"ttl_ms\":1000,\"value\":{}}", "not a JSON object"},
		{`{"key":1,"ttl_ms":1000,"value":{}}`, "wrong type"},
		{`{"key":"app:1","ttl_ms":1.5,"value":{}}`, "wrong type"},
		{`{"key":"app:1","ttl_ms":"1h","value":{}}`, "wrong type"},
		{`{"key":"app:1","ttl_ms":99999999999999999999,"value":{}}`, "wrong type"},
		{`{"ttl_ms":1000,"value":{}}`, "key is malformed"},
		{`{"key":"app:\u0000","ttl_ms":1000,"value":{}}`, "key is malformed"},
		{`{"key":"other:1","ttl_ms":1000,"value":{}}`, "does not begin with key_prefix"},
		{`{"key":"app:fwb:lease:{a}","ttl_ms":1000,"value":{}}`, "reserved for the plugin"},
		{`{"key":"app:1","value":{}}`, "line has no ttl_ms"},
		{`{"key":"app:1","ttl_ms":0,"value":{}}`, "ttl_ms is not right"},
		{`{"key":"app:1","ttl_ms":-2,"value":{}}`, "ttl_ms is not right"},
		{`{"key":"app:1","ttl_ms":-1,"value":{}}`, "never expires and is of no family"},
		{`{"key":"app:1","ttl_ms":-1,"expires_at":9764000000000,"value":{}}`, "ttl_ms is not right"},
		{`{"key":"app:1","ttl_ms":1000}`, "no value"},
		{`{"key":"app:1","ttl_ms":1000,"value":{},"value_text":"{}"}`, "both value and value_text"},
		{`{"key":"app:1","ttl_ms":1000,"value":[1]}`, "invalid record: value is not a JSON object or null"},
		{`{"key":"app:1","ttl_ms":1000,"value_text":"s3cret"}`, "invalid record"},
		{`{"key":"app:1","ttl_ms":1000,"value":{"s3cret":"` + strings.Repeat("x", 100) + `"}}`, "larger than 100 bytes"},
		{`{"key":"app:1","ttl_ms":1000,"tag":""}`, "tag is malformed"},
		{strings.Repeat("x", 1<<20), "line is too long"},
	}
	var body strings.Builder
	for i, b := range bad {
		fmt.Fprintf(&body, good+"\n\n%s\r\n", i, b.line)
	}
	fmt.Fprintf(&body, good, len(bad)) // without a line break
	report := c.restore(t, "", body.String())
	require.Equal(t, len(bad)+1, report.Restored)
	require.Equal(t, len(bad), report.Failed)
	require.Equal(t, 3*len(bad)+1, report.Lines)
	require.Len(t, report.Errors, len(bad))
	for i, e := range report.Errors {
		require.Equal(t, 3*i+3, e.Line)
		require.Contains(t, e.Error, bad[i].message)
		require.NotContains(t, e.Error, "s3cret")
	}
	require.Len(t, listAll(t, c, "", "1000"), len(bad)+1)

	report = c.restore(t, "", strings.Repeat("bad\n", 1000))
	require.Equal(t, 1000, report.Failed)
	require.Len(t, report.Errors, maxLineErrors)
	require.Equal(t, wire.RestoreReport{Errors: []wire.LineError{}}, c.restore(t, "", ""))
}

func TestRestoreStopsWithTheStoreAndReportsTheLine(t *testing.T) {
	app, store := newFlakyApp(t, 2)
	c := startAdmin(t, app)
	var body strings.Builder
	const count = 3 * restoreItems
	for i := range count {
		fmt.Fprintf(&body, `{"key":"file:meta:%d","ttl_ms":60000,"value":{}}`+"\n", i)
	}
	a := c.do(t, http.MethodPost, "restore", body.String())
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	var report wire.RestoreReport
	require.NoError(t, json.Unmarshal([]byte(a.Body), &report))
	require.Equal(t, 2*restoreItems, report.Restored)
	require.Equal(t, 2*restoreItems+1, report.Line)
	require.Contains(t, report.Error, "the store is unavailable: the log says why; stopped before line 1001")

	store.calls = count
	report = c.restore(t, "", body.String())
	require.Equal(t, restoreItems, report.Restored, "it can be run again")
	require.Equal(t, 2*restoreItems, report.Kept)
}

func TestRestoreRefusesWhatIsNotRight(t *testing.T) {
	c := startAdmin(t, newMemoryApp(t))
	for query, message := range map[string]string{
		"?overwrite=1": "overwrite is not right: want true or false",
		"?prefix=a":    "unknown parameter: want overwrite",
	} {
		a := c.do(t, http.MethodPost, "restore"+query, "")
		require.Equal(t, http.StatusBadRequest, a.Status, query)
		require.Contains(t, a.message(t), message, query)
	}
}

func FuzzBackupLine(f *testing.F) {
	for _, text := range texts {
		quoted, err := json.Marshal(text)
		require.NoError(f, err)
		f.Add([]byte(`{"key":"a","ttl_ms":1000,"expires_at":9764000000000,"value_text":` + string(quoted) + `}`))
		f.Add([]byte(`{"key":"a","ttl_ms":1000,"value":` + text + `}`))
	}
	f.Add([]byte(`{"key":"a","tag":"b","ttl_ms":9223372036854775807,"expires_at":-9223372036854775808}`))
	policy := &lookup.Policy{Families: cache.Families(), MaxValueSize: 1000}
	now := time.Now()
	f.Fuzz(func(t *testing.T, line []byte) {
		parsed, err := parseBackupLine(line, policy, now)
		if err != nil {
			return
		}
		require.NotEmpty(t, parsed.item.Key)
		require.NoError(t, cache.CheckIdentity(parsed.item.Key))
		require.GreaterOrEqual(t, parsed.item.TTL, cache.MinTTL)
		require.True(t, (parsed.item.Record != nil) != (parsed.tag != ""), "a record or a tag")
		if parsed.item.Record != nil {
			require.LessOrEqual(t, parsed.item.Record.Size(), policy.MaxValueSize)
		}
	})
}
