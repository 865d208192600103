package redis

import (
	"encoding/json"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestForeignValuesAreReadByTheirType(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	client, ctx := server.Client(), t.Context()
	huge := `{"a":"` + strings.Repeat("x", 10<<20) + `"}`
	for key, value := range map[string]string{
		"empty": "", "number": "42", "text": "hello", "array": "[1]", "broken": `{"a":`, "huge": huge,
		"latin": "{\"a\":\"\xff\"}", "null": "null", "forever": `{"a": 1}`,
	} {
		require.NoError(t, client.Set(ctx, key, value, 0).Err())
	}
	require.NoError(t, client.RPush(ctx, "list", "{}").Err())
	require.NoError(t, client.Do(ctx, "SET", "ages", `{}`, "PX", int64(1)<<61).Err())

	for _, key := range []string{"empty", "number", "text", "array", "broken", "huge", "latin", "list"} {
		_, err := s.Get(ctx, key)
		require.ErrorIs(t, err, cache.ErrInvalidRecord, key)
		require.NotErrorIs(t, err, cache.ErrUnavailable, key)
		_, _, err = s.Acquire(ctx, key, nil, ttl, false)
		require.ErrorIs(t, err, cache.ErrInvalidRecord, key)
		token, _, err := s.GetOrAcquire(ctx, key, ttl, true)
		require.ErrorIs(t, err, cache.ErrInvalidRecord, key)
		require.NotErrorIs(t, err, cache.ErrUnavailable, key)
		require.Empty(t, token)
	}
	entry, err := s.Get(ctx, "forever")
	require.NoError(t, err)
	require.Equal(t, cache.NoExpiry, entry.TTL(time.Now()))
	_, entry, err = s.Acquire(ctx, "forever", nil, ttl, false)
	require.NoError(t, err)
	require.Equal(t, cache.NoExpiry, entry.TTL(time.Now()))
	_, entry, err = s.GetOrAcquire(ctx, "forever", ttl, false)
	require.NoError(t, err)
	require.Equal(t, cache.NoExpiry, entry.TTL(time.Now()))
	entry, err = s.Get(ctx, "ages")
	require.NoError(t, err)
	require.Greater(t, entry.TTL(time.Now()), 200*365*24*time.Hour)
	entry, err = s.Get(ctx, "null")
	require.NoError(t, err)
	require.Equal(t, cache.Absent, entry.Record.State())

	// more pipelines than run at a time, with other answers at the same places
	kinds := []string{"forever", "list", "nothing", "empty", "null", "number"}
	keys := append(slices.Repeat(kinds, 603), "huge")
	got, err := s.GetMany(ctx, keys)
	require.NoError(t, err)
	require.Len(t, got, len(keys))
	require.ErrorIs(t, got[len(got)-1].Err, cache.ErrInvalidRecord)
	for each := range slices.Chunk(got[:len(got)-1], len(kinds)) {
		require.Equal(t, `{"a": 1}`, each[0].Record.Text())
		require.ErrorIs(t, each[1].Err, cache.ErrInvalidRecord)
		require.Equal(t, cache.Got{}, each[2])
		require.ErrorIs(t, each[3].Err, cache.ErrInvalidRecord)
		require.Equal(t, cache.Absent, each[4].Record.State())
		require.ErrorIs(t, each[5].Err, cache.ErrInvalidRecord)
	}
}

func TestAHugeForeignValueIsNotReadWhole(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := at(server)
	o.MaxValueSize = 1000
	s := open(t, o)
	require.NoError(t, server.Client().Set(t.Context(), "huge", strings.Repeat("x", 20<<20), 0).Err())
	sent := func() int64 {
		text, err := server.Client().Info(t.Context(), "stats").Result()
		require.NoError(t, err)
		return parseInfo(text).number("total_net_output_bytes")
	}
	before := sent()
	_, err := s.Get(t.Context(), "huge")
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
	require.Less(t, sent()-before, int64(100_000))
}

func TestAForeignWriteIsNotOverwrittenByAFill(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	token, _, err := s.Acquire(t.Context(), "a", nil, ttl, false)
	require.NoError(t, err)
	require.NoError(t, server.Client().Set(t.Context(), "a", `{"n": 2}`, 0).Err())
	filled, err := s.Fill(t.Context(), "a", token, nil, record(t, `{"n": 1}`), nil, ttl)
	require.NoError(t, err)
	require.False(t, filled)
	entry, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, `{"n": 2}`, entry.Record.Text())
}

func TestScriptsAreLoadedAgainWhenTheServerHasForgottenThem(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, at(server))
	for range 2 {
		token, _, err := s.Acquire(t.Context(), "a", nil, ttl, false)
		require.NoError(t, err)
		require.NoError(t, server.Client().ScriptFlush(t.Context()).Err())
		require.NoError(t, s.Release(t.Context(), "a", token))
		require.NoError(t, server.Client().ScriptFlush(t.Context()).Err())
	}
}

const foreignRecord = `{"name": "document.pdf", "size": 1024000, "tags": ["\u00fc", null, 1.50]}`

// testInterop writes with one client and reads with the other, both ways. run
// speaks to the server as another client does: op is get, ttl or set.
func testInterop(t *testing.T, run func(server *redistest.Server, op, key, value string) string) {
	server := redistest.Start(t)
	s := open(t, at(server))

	run(server, "set", "file:meta:theirs", foreignRecord)
	entry, err := s.Get(t.Context(), "file:meta:theirs")
	require.NoError(t, err)
	require.JSONEq(t, foreignRecord, entry.Record.Text())
	require.InDelta(t, 3600, entry.TTL(time.Now()).Seconds(), 60)

	ours := record(t, foreignRecord)
	require.NoError(t, s.Set(t.Context(), "file:meta:ours", ours, time.Hour))
	require.JSONEq(t, foreignRecord, run(server, "get", "file:meta:ours", ""))
	require.Regexp(t, `^3(5\d\d|600)$`, run(server, "ttl", "file:meta:ours", ""))

	token, _, err := s.Acquire(t.Context(), "file:meta:filled", nil, time.Minute, false)
	require.NoError(t, err)
	require.Empty(t, run(server, "get", "file:meta:filled", ""), "a lease is no record for others either")
	filled, err := s.Fill(t.Context(), "file:meta:filled", token, nil, ours, nil, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
	require.JSONEq(t, foreignRecord, run(server, "get", "file:meta:filled", ""))
}

func TestPythonSharesRecords(t *testing.T) {
	t.Parallel()
	python := pythonWithRedis()
	if python == "" {
		t.Log("python3 has no redis module, so this is tested with redis-cli alone: install it with `apt-get install python3-redis`")
		return
	}
	const script = `
import json, sys, redis
op, port, key, value = sys.argv[1:]
client = redis.Redis(port=int(port), decode_responses=True)
if op == "set":
    client.setex(key, 3600, json.dumps(json.loads(value)))
elif op == "ttl":
    print(client.ttl(key))
else:
    value = client.get(key)
    print("" if value is None else json.dumps(json.loads(value)))
`
	testInterop(t, func(server *redistest.Server, op, key, value string) string {
		return output(t, python, "-c", script, op, port(server), key, value)
	})
}

// pythonWithRedis is a Python that has the redis module, or "".
func pythonWithRedis() string {
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(python, "-c", "import redis").Run() == nil {
			return python
		}
	}
	return ""
}

func TestRedisCLISharesRecords(t *testing.T) {
	t.Parallel()
	testInterop(t, func(server *redistest.Server, op, key, value string) string {
		args := []string{"-p", port(server), op, key}
		if op == "set" {
			args = append(args, value, "EX", "3600")
		}
		return output(t, "redis-cli", args...)
	})
}

func port(server *redistest.Server) string {
	_, port, _ := net.SplitHostPort(server.Addr())
	return port
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

func TestASecondStoreSeesTheSame(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := open(t, at(server)), open(t, at(server))
	token, _, err := a.Acquire(t.Context(), "k", nil, ttl, false)
	require.NoError(t, err)
	other, now, err := b.Acquire(t.Context(), "k", nil, ttl, false)
	require.NoError(t, err)
	require.Empty(t, other)
	require.Nil(t, now.Record)
	_, err = b.Delete(t.Context(), "k")
	require.NoError(t, err)
	filled, err := a.Fill(t.Context(), "k", token, nil, record(t, "{}"), nil, ttl)
	require.NoError(t, err)
	require.False(t, filled, "the other node has invalidated it meanwhile")
	text, err := json.Marshal(a.Pool())
	require.NoError(t, err)
	require.Contains(t, string(text), `"breaker":"closed"`)
}
