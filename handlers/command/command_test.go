// The command line as a user meets it: the real command against a real Caddy.

package command_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestCommandEndsWithAStatus(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	for status, args := range [][]string{{"set", "session:user:a", "{}"}, {"get", "session:user:b"}, {"purge", "--prefix", "session:"}} {
		r := run(t, s.commandProcess(t, args...))
		require.Equal(t, status, r.status, r.err)
		require.Equal(t, r, s.command(t, args...), "the same within this process")
	}
}

func TestCommandShowsStatsHealthAndInfo(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\nalert {\nclients_above 1\n}\n}",
		"session_lookup {header.X-Token} {\nname door\n}\nrespond hi")
	for range 3 {
		require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "X-Token", "abc").Status)
	}
	version := s.Stats(t).Redis.Version

	stats := lines(s.good(t, "stats"))
	require.Contains(t, stats[0], "store redis "+version+", standalone, ")
	require.Contains(t, stats, "lookups 3: 0 hits, 3 misses, hit rate 0.0%")
	require.Contains(t, stats, "ROUTE FAMILY LOOKUPS HITS MISSES HIT RATE ABSENT DENIED STALE ERRORS")
	require.Contains(t, stats, "door session 3 0 3 0.0% 3 0 0 0")
	var machine struct{ Misses int }
	require.NoError(t, json.Unmarshal([]byte(s.good(t, "stats", "--json")), &machine))
	require.Equal(t, 3, machine.Misses)

	info := lines(s.good(t, "info"))
	require.Contains(t, info, "version "+version)
	require.Contains(t, info, "mode standalone")
	require.Equal(t, `"`+version+`"`, string(field(t, s.good(t, "info", "--json"), "version")))

	require.NotContains(t, s.good(t, "stats")+s.good(t, "info"), "store errors")
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Equal(t, 1, s.command(t, "set", "session:user:abc", "{}").status)
	for _, name := range []string{"stats", "info"} {
		require.Regexp(t, `(?m)^store errors +0 reads, \d+ writes?; the last at 20[-0-9]+T[0-9:]+Z: write at `+server.Addr()+
			` \(oom\): OOM command not allowed when used memory > 'maxmemory'`, s.good(t, name))
	}
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "0").Err())

	health := s.command(t, "health")
	require.Zero(t, health.status, "a warning is no failure")
	require.Contains(t, lines(health.out), "pass lookups:hit_rate 0.0%")
	require.Contains(t, health.out, "clients are connected, above 1")
	require.Contains(t, lines(health.out), "warn all together")

	server.Kill()
	for _, args := range [][]string{{"health"}, {"health", "--json"}} {
		health = s.command(t, args...)
		require.Equal(t, 1, health.status)
		require.Contains(t, health.out, "fail")
		require.Regexp(t, "^Error: health is fail: the store does not answer( since 20[-0-9]+T[0-9:]+Z)?: .*connection refused\n$", health.err)
	}
	require.Equal(t, ran{1, "", "Error: the store is unavailable: the log says why\n"}, s.command(t, "get", "session:user:abc"))
	require.Contains(t, s.good(t, "stats"), "redis, unreachable")
}

// field is a field of a JSON object as it stands there.
func field(t *testing.T, object, name string) json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(object), &fields), object)
	require.Contains(t, fields, name)
	return fields[name]
}

func TestCommandWritesReadsAndDropsRecords(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	redis := server.Client()
	record := `{ "user_id":42,  "name": "<Ада>" }`

	require.Equal(t, "stored session:user:42\n", s.good(t, "set", "session:user:42", record))
	require.Equal(t, record, redis.Get(t.Context(), "session:user:42").Val())
	require.InDelta(t, 24*time.Hour, redis.TTL(t.Context(), "session:user:42").Val(), float64(2*time.Hour))
	for name, args := range map[string][]string{"from a pipe": {"set", "k", "-", "--ttl", "1h"}, "without argument": {"set", "k", "--ttl", "1h"}} {
		require.NoError(t, redis.Del(t.Context(), "k").Err())
		require.Zero(t, s.commandReading(t, record, args...).status, name)
		require.Equal(t, record, redis.Get(t.Context(), "k").Val(), name)
	}
	require.NoError(t, redis.Set(t.Context(), "forever", "null", 0).Err())

	r := s.command(t, "get", "k")
	require.Equal(t, record+"\n", r.out, "to the byte")
	require.Regexp(t, `^expires in (1h 0m|59m \d+s)\n$`, r.err)
	require.Equal(t, ran{0, "null\n", "never expires\n"}, s.command(t, "get", "forever"))
	require.Equal(t, record, string(field(t, s.good(t, "get", "k", "--json"), "value")))

	require.Equal(t, "dropped k\ndropped none\n", s.good(t, "delete", "k", "none"))
	r = s.command(t, "delete", "", "forever")
	require.Equal(t, 1, r.status)
	require.Equal(t, "dropped forever\n", r.out, "whatever becomes of the first")
	require.Regexp(t, "^: key is malformed: .+\nError: dropping records: 1 of 2 failed\n$", r.err)
	require.Equal(t, ran{1, "", "Error: k: there is no such key\n"}, s.command(t, "get", "k"))
	require.Equal(t, ran{1, "", "Error: key is of no family, so it needs --ttl, like --ttl 1h\n"}, s.command(t, "set", "k", "{}"))
	r = s.command(t, "set", "k", "[1]", "--ttl", "1h")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "JSON object")
}

func TestCommandTakesKeysWithAnyText(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\n}", "respond hi")
	for i, key := range []string{
		"file:meta:a//b", "..", ".", "../../stats", "a/../b", "/", "a b+c", "%2e%2e", "a?ttl=1s#x", "문서/😀", `a"b\c`, "--prefix=x",
	} {
		record := fmt.Sprintf(`{"n": %d}`, i)
		s.good(t, "set", "--ttl", "1h", "--", key, record)
		require.Equal(t, record, server.Client().Get(t.Context(), key).Val(), key)
		require.Equal(t, record+"\n", s.command(t, "get", "--", key).out)
		s.good(t, "delete", "--", key)
		require.Empty(t, server.Client().Get(t.Context(), key).Val(), key)
	}
}

// The admin API logs the path and the query of every request.
func TestCommandPutsNoKeyIntoAnAddress(t *testing.T) {
	var bodies []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.RequestURI+" "+string(body))
		fmt.Fprint(w, `{"ttl_seconds":1,"value":{}}`)
	}))
	t.Cleanup(api.Close)
	s := site{sitetest.Site{Admin: api.Listener.Addr().String()}}
	s.command(t, "get", "session:user:a")
	s.command(t, "set", "session:user:a", `{ "n":1}`, "--ttl", "1d")
	s.command(t, "delete", "session:user:a", "b")
	s.command(t, "purge", "session:user:a")
	require.Equal(t, []string{
		`POST /filewallball/get {"key":"session:user:a"}`,
		`POST /filewallball/set {"key":"session:user:a","ttl":"1d","value":{ "n":1}}`,
		`POST /filewallball/delete {"key":"session:user:a"}`,
		`POST /filewallball/delete {"key":"b"}`,
		`POST /filewallball/purge {"keys":["session:user:a"]}`,
	}, bodies)
	r := s.command(t, "set", "a", `{},"key":"b"`)
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "the record is not valid JSON: want a JSON object or null")
	require.Len(t, bodies, 5, "nothing is sent")
}

func TestCommandListsKeys(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, "filewallball {\nredis "+server.Addr()+"\nkey_prefix app:\n}", "respond hi")
	redis := server.Client()
	for i := range 2500 {
		require.NoError(t, redis.Set(t.Context(), fmt.Sprint("app:session:user:", i), "{}", time.Hour).Err())
	}
	for _, key := range []string{"app:file:meta: a b", "other:1", "app:fwb:tag:x"} {
		require.NoError(t, redis.Set(t.Context(), key, "{}", time.Hour).Err())
	}
	list := func(args ...string) []string {
		return strings.Split(strings.TrimSuffix(s.good(t, append([]string{"keys"}, args...)...), "\n"), "\n")
	}
	require.Len(t, list(), 100)
	require.Len(t, list("--limit", "1500"), 1500)
	all := list("--limit", "0")
	require.Len(t, all, 2501, "each once")
	require.NotContains(t, all, "other:1")
	require.NotContains(t, all, "app:fwb:tag:x")
	require.Equal(t, []string{"app:file:meta: a b"}, list("--prefix", "app:file:"))
	require.Equal(t, []string{`"app:file:meta: a b"`}, list("--prefix", "app:file:", "--json"))
	require.Empty(t, s.good(t, "keys", "--prefix", "app:none"))
	r := s.command(t, "keys", "--prefix", "other:")
	require.Equal(t, ran{1, "", "Error: prefix does not begin with key_prefix: want one that begins with \"app:\"\n"}, r)
}

func TestCommandPurges(t *testing.T) {
	app := sitetest.NewApplication(t)
	s := serve(t, "filewallball", "session_lookup {header.X-Token} {\nsource http "+app.URL+"\nhash_id off\ntag user:{http.session.user_id}\n}\nrespond hi")
	fill := func() {
		for _, token := range []string{"ada1", "ada2", "bob1"} {
			require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", token).Status)
		}
	}
	fill()
	require.Equal(t, "dropped 1 tag\n", s.good(t, "purge", "--tag", "user:ada"))
	require.Equal(t, "dropped 1 record\n", s.good(t, "purge", "session:user:bob1", "session:user:none"))
	fill()
	r := s.command(t, "purge", "--prefix", "session:")
	require.Equal(t, 2, r.status)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "pass --yes")
	require.JSONEq(t, `{"purged": 3}`, s.good(t, "purge", "--prefix", "session:", "--yes", "--json"))
	require.Equal(t, "dropped 0 records\n", s.good(t, "purge", "--prefix", "session:", "-y"))
}

func TestCommandUsedWronglyExitsWith2AndSaysWhatWouldBeRight(t *testing.T) {
	s := site{sitetest.Site{Admin: ports.Addr(t)}} // no request is sent
	for line, want := range map[string]string{
		"stat":                               `there is no command "stat": did you mean stats or set?`,
		"stats now":                          "want no arguments",
		"stats --watch soon":                 `invalid argument "soon"`,
		"stats --watch -1s":                  "want a duration of at least 100ms, like 1s",
		"stats --watch 1ns":                  "want a duration of at least 100ms, like 1s",
		"stats --watch 0s --json":            "want a duration of at least 100ms, like 1s",
		"stats --colour":                     "unknown flag: --colour",
		"get":                                "want one key, like session:user:42",
		"get a b":                            "want one key, like session:user:42",
		"set":                                "want a key and its record",
		"set a {} --ttl soon":                `--ttl "soon" is not right: want a duration of at least 1ms, like 90s, 1h or 7d`,
		"set a {} --ttl 0s":                  `--ttl "0s" is not right`,
		"get a --hash b --route c":           "want one key, like session:user:42, or --hash <identity> --route <route>",
		"get --hash b":                       "want --hash <identity> and --route <route> together",
		"get --route c":                      "want --hash <identity> and --route <route> together",
		"get --root c":                       "want --hash <identity> and --route <route> together",
		"get --hash \xff --route c":          "the identity is not UTF-8 text",
		"delete a --hash b --route c":        "want one key or more, or --hash <identity> --route <route>",
		"keys a":                             "the prefix is --prefix <prefix>",
		"keys --limit -1":                    "--limit is negative",
		"delete":                             "want one key or more",
		"purge":                              "want keys, --prefix or --tag",
		"purge a --tag b":                    "want keys, --prefix or --tag",
		"purge --prefix=":                    "want keys, --prefix or --tag",
		"purge --tag \xff":                   "is not UTF-8 text",
		"get \xff":                           "is not UTF-8 text",
		"set \xff {}":                        "is not UTF-8 text",
		"delete a \xff":                      "is not UTF-8 text",
		"warm":                               "want a route's name, as stats shows it",
		"warm a b --ids-file c":              "identities are given twice",
		"warm a \xff":                        "identity 1 is not UTF-8 text",
		"backup cache.ndjson":                "want no arguments: the file is -o <file>",
		"backup -o " + os.TempDir():          "is no regular file",
		"restore":                            "want one file, or - for standard input",
		"restore -":                          "pass --yes",
		"restore " + os.TempDir() + " --yes": "is a directory: want the file of a backup",
		"restore command_test.go":            "so the question cannot be asked: pass --yes",
		"bench --count many":                 `invalid argument "many" for "--count" flag: want a whole number`,
		"warm a --rate fast":                 `invalid argument "fast" for "--rate" flag: want a number`,
		"purge a --yes=perhaps":              `want true or false`,
		"bench --count 0":                    "--count is not right: want 1 to 100000",
		"bench --size 7":                     "--size is not right: want 8 to",
		"bench --batch 0":                    "--batch is not right: want 1 to 1000",
		"bench --concurrency 65":             "--concurrency is not right: want 1 to 64",
		"bench --count 100000 --size 9999":   "--count times size is too much",
		"warm a --concurrency 100":           "--concurrency is not right: want 1 to 64",
		"warm a --concurrency 0":             "--concurrency is not right: want 1 to 64",
		"warm a --rate 0":                    "--rate is not right: want a number of identities per second above 0",
		"warm a --rate NaN":                  "--rate is not right",
		"info --address http://a:1":          `address "http://a:1" is not right: want host:port or unix//path`,
		"stats --address localhost":          `address "localhost" is not right: want host:port or unix//path`,
		"stats --address localhost:1-9":      "want host:port or unix//path",
		"stats --address= --config nothing":  "finding the address of the admin API",
	} {
		r := s.command(t, strings.Fields(line)...)
		require.Equal(t, 2, r.status, line)
		require.Empty(t, r.out, line)
		require.Contains(t, r.err, "Error: ", line)
		require.Contains(t, r.err, want, line)
		require.Contains(t, r.err, "--help'", line)
	}
}

func TestCommandHelps(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}} {
		r := execute(t, "", append([]string{"filewallball"}, args...)...)
		require.Zero(t, r.status)
		for _, name := range []string{"stats", "health", "info", "get", "set", "delete", "purge", "warm", "backup", "restore", "bench"} {
			require.Regexp(t, `(?m)^  `+name+` +[A-Z]`, r.out)
			require.Contains(t, execute(t, "", "filewallball", name, "--help").out, "caddy filewallball "+name)
		}
	}
}

func TestCommandNamesTheAddressWithoutACaddy(t *testing.T) {
	s := site{sitetest.Site{Admin: ports.Addr(t)}}
	r := s.command(t, "stats")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "no Caddy can be reached at "+s.Admin+": connect: connection refused")
	require.Contains(t, r.err, "--address takes the host:port of its admin API, or unix//path")
	r = site{sitetest.Site{Admin: "unix//nowhere/admin.sock"}}.command(t, "stats")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.err, "no Caddy can be reached at unix//nowhere/admin.sock: connect: no such file")
}

func TestCommandReportsThatNoConfigurationUsesThePlugin(t *testing.T) {
	s := serve(t, "", "respond hi")
	for _, args := range [][]string{{"stats"}, {"get", "a"}, {"backup", "-o", "-"}, {"health"}} {
		r := s.command(t, args...)
		require.Equal(t, 1, r.status)
		require.Contains(t, r.err, "no configuration uses filewallball")
	}
}

func TestCommandFindsCaddyLikeCaddysOwnCommands(t *testing.T) {
	dir, err := os.MkdirTemp("", "fwb") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := site{sitetest.Site{Page: ports.Addr(t), Admin: "unix/" + dir + "/admin.sock"}}
	s.Load(t, "filewallball", "respond hi")
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	require.Contains(t, s.good(t, "stats"), "memory")
	s.good(t, "set", "session:user:a", "{}")
	require.Equal(t, "{}\n", s.command(t, "get", "session:user:a").out)

	withPermissions := site{sitetest.Site{Admin: s.Admin + "|0200"}}
	require.Contains(t, withPermissions.good(t, "stats"), "memory")

	config := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(config, []byte(s.Config("filewallball", "respond hi")), 0o600))
	r := execute(t, "", "filewallball", "stats", "--config", config)
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "memory")

	cmd := sitetest.Caddy(t, "filewallball", "stats")
	cmd.Env = append(cmd.Env, "CADDY_ADMIN="+s.Admin)
	r = run(t, cmd)
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "memory")
}

func TestCommandCompletesCommandsKeysAndPrefixes(t *testing.T) {
	s := serve(t, "filewallball", "session_lookup {header.X-Token} {\nname door\n}\nrespond hi")
	s.good(t, "set", "session:user:ada", "{}")
	s.good(t, "set", "session:user:bob", "{}")
	complete := func(args ...string) []string {
		r := execute(t, "", append([]string{"__complete", "filewallball", "--address", s.Admin}, args...)...)
		require.Zero(t, r.status, r.err)
		return lines(r.out)
	}
	require.Contains(t, complete("ba"), "backup Saves all records with the time each has left")
	require.Equal(t, []string{"session:user:ada", "session:user:bob", ":4"}, complete("get", "session:u"))
	require.Equal(t, []string{"session:user:bob", ":4"}, complete("delete", "session:user:ada", "session:u"))
	require.Equal(t, []string{":4"}, complete("get", "session:user:ada", ""))
	require.Contains(t, complete("get", ""), "session:user: session")
	require.Equal(t, []string{"file:meta: file_meta", ":6"}, complete("purge", "--prefix", "f"))
	require.Equal(t, []string{"door session", ":36"}, complete("warm", ""))
	require.Equal(t, []string{":0"}, complete("restore", ""), "files")
}

// Bash expands the words that it is offered as if they had been typed.
func TestCommandOffersNoKeyThatAShellWouldRun(t *testing.T) {
	s := serve(t, "filewallball", "session_lookup {header.X-Token}\nrespond hi")
	pwned := filepath.Join(t.TempDir(), "pwned")
	for _, id := range []string{
		"ada", "$(touch " + pwned + ")", "`touch " + pwned + "`", "${x[$(touch " + pwned + ")]}", "a;touch " + pwned, "a b", "{a,b}",
		"'", `"`, `\`, "~", "*", "?", "!!", "<", ">", "|", "&", "#", "^", "[a]", "é",
	} {
		s.good(t, "set", "session:user:"+id, "{}")
	}
	r := execute(t, "", "__complete", "filewallball", "--address", s.Admin, "get", "session:user:")
	require.Zero(t, r.status)
	offered := strings.Fields(r.out)
	require.Equal(t, []string{"session:user:ada", ":4"}, offered)
	compgen := exec.CommandContext(t.Context(), "bash", "-c", `compgen -W "$1"`, "bash", r.out)
	require.NoError(t, compgen.Run())
	require.NoFileExists(t, pwned)
}

func TestCommandStopsWhenInterrupted(t *testing.T) {
	s := serve(t, "filewallball", "respond hi")
	out := new(sitetest.Output)
	watch := s.commandProcess(t, "stats", "--watch", "100ms", "--json")
	watch.Stdout = out
	require.NoError(t, watch.Start())
	require.Eventually(t, func() bool { return strings.Count(out.String(), "\n") > 3 }, 10*time.Second, time.Millisecond)
	require.NoError(t, watch.Process.Signal(os.Interrupt))
	require.NoError(t, watch.Wait(), "that is how watching ends well")
}
