package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// backup reads a backup to its end, which the error is about.
func (c adminClient) backup(t *testing.T, query string) (body string, trailer http.Header, err error) {
	t.Helper()
	resp, err := c.http.Get("http://caddy/filewallball/backup" + query)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "application/x-ndjson", resp.Header.Get("Content-Type"))
	content, err := io.ReadAll(resp.Body)
	return string(content), resp.Trailer, err
}

// wholeBackup is backup of which nothing is missing.
func (c adminClient) wholeBackup(t *testing.T, query string, keys, tags, skipped int) string {
	t.Helper()
	body, trailer, err := c.backup(t, query)
	require.NoError(t, err)
	require.Equal(t, http.Header{
		"X-Keys": {fmt.Sprint(keys)}, "X-Tags": {fmt.Sprint(tags)}, "X-Skipped": {fmt.Sprint(skipped)},
	}, trailer)
	return body
}

// restore restores and wants it to work.
func (c adminClient) restore(t *testing.T, query, body string) (report wire.RestoreReport) {
	t.Helper()
	a := c.do(t, http.MethodPost, "restore"+query, body)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.NoError(t, json.Unmarshal([]byte(a.Body), &report))
	return report
}

// texts are records whose text is easily changed by who writes it again.
var texts = []string{
	`{}`, `null`, ` null`, `{"denied": 403}`, `{"a":1}`, `{ "a" : 1.50, "a": 1e2 }`, `{"html":"<a href='x'>&amp;</a>"}`,
	`{"u":"\u00fc ü \ud83d\ude00 😀` + "\u2028" + `"}`, "{\n\t\"lines\": 2\r\n}\n", ` {"space":"around"} `, "\t{}",
	`{"quote":"\"","back":"\\","n":"\n"}`, `{"long":"` + strings.Repeat("x", 5000) + `"}`,
}

func TestBackupAndRestoreOf100000RecordsByteForByte(t *testing.T) {
	for name, test := range map[string]struct {
		addrs func() []string
		count int
	}{
		"server":  {func() []string { return []string{redistest.Start(t).Addr()} }, 100_000},
		"cluster": {func() []string { return redistest.StartCluster(t, 3, 0).Addrs() }, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			app := newRedisAppAt(t, test.addrs()...)
			c := startAdmin(t, app)
			count := test.count
			var items []cache.Item
			for i := range count {
				text := texts[i%len(texts)]
				if len(text) > 1000 && i%100 != 0 {
					text = fmt.Sprintf(`{"n":%d}`, i)
				}
				record, err := cache.Decode(text, cache.DefaultMaxValueSize)
				require.NoError(t, err)
				items = append(items, cache.Item{
					Key: fmt.Sprintf(`file:meta:é "%d" <&>`, i), Record: record,
					TTL: time.Hour + time.Duration(i)*time.Second,
				})
			}
			require.NoError(t, app.Cache().SetMany(t.Context(), items))
			written := time.Now()
			backup := c.wholeBackup(t, "", count, 0, 0)
			require.Equal(t, count, strings.Count(backup, "\n"), "a line for each")

			n, err := app.Cache().DeletePrefix(t.Context(), "file:")
			require.NoError(t, err)
			require.Equal(t, count, n)

			// one that dies half-way
			body, sender := io.Pipe()
			go func() {
				_, _ = io.WriteString(sender, backup[:len(backup)/2])
				sender.CloseWithError(errors.New("the client died"))
			}()
			_, err = c.http.Post("http://caddy/filewallball/restore", "application/x-ndjson", body)
			require.Error(t, err)

			report := c.restore(t, "", backup)
			require.Equal(t, count, report.Restored+report.Kept)
			require.Positive(t, report.Kept, "half of it was there")
			require.Positive(t, report.Restored)
			require.Equal(t, count, report.Lines)
			require.Empty(t, report.Errors)
			for part := range slices.Chunk(items, 5000) {
				keys := make([]string, len(part))
				for i := range part {
					keys[i] = part[i].Key
				}
				got, err := app.Cache().GetMany(t.Context(), keys)
				require.NoError(t, err)
				for i, item := range part {
					off := time.Unix(0, got[i].Expires).Sub(written.Add(item.TTL)).Abs()
					if got[i].Record == nil || got[i].Record.Text() != item.Record.Text() || off > time.Minute {
						require.Fail(t, "not as it was", "%s: %+v, %s off", item.Key, got[i], off)
					}
				}
			}
		})
	}
}

func TestBackupLeavesOutKeysThatJSONCannotTell(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		app.Put(t, "session:user:\xff", `{}`)
		app.Put(t, "session:user:a", `{}`)
		require.Contains(t, c.wholeBackup(t, "", 1, 0, 1), `"session:user:a"`)
	})
}

func TestBackupHasTheRequestedRecords(t *testing.T) {
	overBothStores(t, func(t *testing.T, app *lookuptest.App, c adminClient) {
		app.Policy().KeyPrefix = "app:"
		for _, key := range []string{"app:file:meta:2", "app:session:user:1", "other:1", "app"} {
			app.Put(t, key, `{"of": "`+key+`"}`)
		}
		app.Put(t, "app:fwb:bench:1", "{}")
		app.Fill(t, "app:file:meta:1", `{"of": "app:file:meta:1"}`, "user:1", "a}b")
		_, _, err := app.Cache().Store().Acquire(t.Context(), "app:file:meta:3", nil, time.Hour, false)
		require.NoError(t, err)

		for query, keys := range map[string][]string{
			"":                               {"app:file:meta:1", "app:file:meta:2", "app:session:user:1"},
			"?prefix=":                       {"app:file:meta:1", "app:file:meta:2", "app:session:user:1"},
			"?prefix=app:&tags=false":        {"app:file:meta:1", "app:file:meta:2", "app:session:user:1"},
			"?prefix=app:f":                  {"app:file:meta:1", "app:file:meta:2"},
			"?prefix=app:file:":              {"app:file:meta:1", "app:file:meta:2"},
			"?prefix=app:file:meta:2":        {"app:file:meta:2"},
			"?prefix=app:file:meta:%2A":      nil,
			"?prefix=app:nothing&tags=false": nil,
		} {
			var got []string
			for line := range strings.Lines(c.wholeBackup(t, query, len(keys), 0, 0)) {
				var fields struct {
					Key       string
					TTL       int64 `json:"ttl_ms"`
					ExpiresAt int64 `json:"expires_at"`
					Value     map[string]any
				}
				require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
				require.Equal(t, fields.Key, fields.Value["of"])
				require.InDelta(t, time.Hour.Milliseconds(), fields.TTL, 60_000)
				require.WithinDuration(t, time.Now().Add(time.Hour), time.UnixMilli(fields.ExpiresAt), time.Minute)
				got = append(got, fields.Key)
			}
			require.ElementsMatch(t, keys, got, query)
		}

		tagged := c.wholeBackup(t, "?tags=true&prefix=app:file:", 2, 2, 0)
		_, err = app.Cache().DeletePrefix(t.Context(), "app:file:")
		require.NoError(t, err)
		report := c.restore(t, "", tagged)
		require.Equal(t, 2, report.Restored)
		require.Equal(t, 2, report.Tags)
		require.Equal(t, 200, c.get(t, "keys/app:file:meta:1").Status)
		require.NoError(t, app.Cache().DropTag(t.Context(), "a}b"))
		require.Equal(t, 404, c.get(t, "keys/app:file:meta:1").Status, "what is restored bears its tags")
		report = c.restore(t, "", tagged)
		require.Equal(t, 1, report.Expired, "what was dropped since the backup does not come back")
		require.Equal(t, 404, c.get(t, "keys/app:file:meta:1").Status)
	})
}

func TestBackupRefusesWhatIsNotRight(t *testing.T) {
	app := newMemoryApp(t)
	app.Policy().KeyPrefix = "app:"
	c := startAdmin(t, app)
	for query, message := range map[string]string{
		"?prefix=other:":     `prefix does not begin with key_prefix: want one that begins with "app:"`,
		"?prefix=a":          "prefix does not begin with key_prefix",
		"?prefix=app:fwb:":   `prefix is reserved for the plugin: want one that does not begin with "app:fwb:"`,
		"?prefix=app:%00":    "prefix is malformed",
		"?tags=yes":          "tags is not right: want true or false",
		"?tags=":             "tags is not right: want true or false",
		"?prefix=a&prefix=b": "prefix is given twice",
		"?limit=1":           "unknown parameter: want prefix, tags",
	} {
		a := c.get(t, "backup"+query)
		require.Equal(t, http.StatusBadRequest, a.Status, query)
		require.Contains(t, a.message(t), message, query)
	}
}

func TestBackupLeavesOutWhatIsNoRecordAndKeepsWhatNeverExpires(t *testing.T) {
	server := redistest.Start(t)
	app := newRedisApp(t, server)
	c := startAdmin(t, app)
	for key, value := range map[string]string{"file:meta:1": "{}", "text": "hello", "array": "[1]", "other:1": "{}"} {
		require.NoError(t, server.Client().Set(t.Context(), key, value, 0).Err())
	}
	require.NoError(t, server.Client().SAdd(t.Context(), "set", "a").Err())
	body := c.wholeBackup(t, "", 2, 0, 3)
	require.Contains(t, body, `{"key":"file:meta:1","ttl_ms":-1,"value":{}}`+"\n")
	require.Contains(t, body, `{"key":"other:1","ttl_ms":-1,"value":{}}`+"\n")

	require.NoError(t, server.Client().FlushDB(t.Context()).Err())
	report := c.restore(t, "", body)
	require.Equal(t, 1, report.Restored, "it gets the TTL of its family")
	require.Equal(t, 1, report.Failed)
	require.Contains(t, report.Errors[0].Error, "record never expires and is of no family")
	require.InDelta(t, time.Hour, server.Client().PTTL(t.Context(), "file:meta:1").Val(), float64(time.Minute))
}

// flakyStore fails once it is told to.
type flakyStore struct {
	*memory.Store
	calls int // that go well
}

func (s *flakyStore) fails() error {
	if s.calls--; s.calls < 0 {
		return fmt.Errorf("%w: it was told to be", cache.ErrUnavailable)
	}
	return nil
}

func (s *flakyStore) Records(ctx context.Context, prefix string) iter.Seq2[cache.Listed, error] {
	return func(yield func(cache.Listed, error) bool) {
		for listed, err := range s.Store.Records(ctx, prefix) {
			if err == nil {
				err = s.fails()
			}
			if !yield(listed, err) || err != nil {
				return
			}
		}
	}
}

func (s *flakyStore) AddMany(ctx context.Context, items []cache.Item) (int, error) {
	if err := s.fails(); err != nil {
		return 0, err
	}
	return s.Store.AddMany(ctx, items)
}

func newFlakyApp(t *testing.T, calls int) (*lookuptest.App, *flakyStore) {
	t.Helper()
	store, err := memory.New(memory.Options{})
	require.NoError(t, err)
	flaky := &flakyStore{store, calls}
	return newAdminApp(t, flaky, cache.NewStats()), flaky
}

func TestBackupThatFailsIsNotTakenForAWholeOne(t *testing.T) {
	app, _ := newFlakyApp(t, 100)
	for i := range 200 {
		app.Put(t, fmt.Sprint("file:meta:", i), `{"long":"`+strings.Repeat("x", 5000)+`"}`)
	}
	c := startAdmin(t, app)
	body, trailer, err := c.backup(t, "")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotEmpty(t, body, "what came before is sent")
	require.Empty(t, trailer.Get("X-Keys"))
}

func TestStreamsWithoutTheStoreAreAnsweredWith503(t *testing.T) {
	server := redistest.Start(t)
	app := newRedisApp(t, server)
	c := startAdmin(t, app)
	server.Stop()
	for _, request := range [][2]string{{"GET", "backup"}, {"POST", "restore"}, {"POST", "bench"}} {
		a := c.do(t, request[0], request[1], "")
		require.Equal(t, http.StatusServiceUnavailable, a.Status, request)
		require.Equal(t, "the store is unavailable: the log says why", a.message(t))
	}
}
