package redis

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// refusalCase is a way in which a server refuses what it is asked.
type refusalCase struct {
	refuse func(t *testing.T, client *goredis.Client)
	heal   func(t *testing.T, client *goredis.Client)
	said   string
	reason string
	// what is refused
	reads, writes bool
}

// configured sets options of the server.
func configured(pairs ...string) func(t *testing.T, client *goredis.Client) {
	return func(t *testing.T, client *goredis.Client) {
		for i := 0; i < len(pairs); i += 2 {
			require.NoError(t, client.ConfigSet(t.Context(), pairs[i], pairs[i+1]).Err())
		}
	}
}

// commanded sends commands to the server.
func commanded(commands ...string) func(t *testing.T, client *goredis.Client) {
	return func(t *testing.T, client *goredis.Client) {
		for _, command := range commands {
			var args []any
			for _, arg := range strings.Fields(command) {
				args = append(args, arg)
			}
			require.NoError(t, client.Do(t.Context(), args...).Err())
		}
	}
}

var refusalCases = map[string]refusalCase{
	"full": {
		refuse: configured("maxmemory", "1"), heal: configured("maxmemory", "0"),
		said: "OOM command not allowed when used memory > 'maxmemory'", reason: "oom", writes: true,
	},
	"no right to read": {
		refuse: commanded("ACL SETUSER web -getrange"), heal: commanded("ACL SETUSER web +getrange"),
		said: "NOPERM ", reason: "noperm", reads: true,
	},
	"no right to write": {
		refuse: commanded("ACL SETUSER web -set -unlink"), heal: commanded("ACL SETUSER web +set +unlink"),
		said: "", reason: "noperm", writes: true,
	},
	"no right to the keys": {
		refuse: commanded("ACL SETUSER web resetkeys ~other:*"), heal: commanded("ACL SETUSER web ~*"),
		said: "NOPERM ", reason: "noperm", reads: true, writes: true,
	},
	"no rights": {
		refuse: commanded("ACL SETUSER web -@all +info +hello"), heal: commanded("ACL SETUSER web +@all"),
		said: "NOPERM ", reason: "noperm", reads: true, writes: true,
	},
	"another password": {
		refuse: commanded("ACL SETUSER web resetpass >other", "CLIENT KILL USER web"), heal: commanded("ACL SETUSER web >secret"),
		said: "WRONGPASS ", reason: "wrongpass", reads: true,
	},
	"a replica that may not be written to": {
		refuse: commanded("REPLICAOF 127.0.0.1 1"), heal: commanded("REPLICAOF NO ONE"),
		said: "READONLY ", reason: "readonly", writes: true,
	},
	"too few replicas": {
		refuse: configured("min-replicas-to-write", "1"), heal: configured("min-replicas-to-write", "0"),
		said: "NOREPLICAS ", reason: "noreplicas", writes: true,
	},
	"a replica without its master": {
		refuse: func(t *testing.T, client *goredis.Client) {
			configured("replica-serve-stale-data", "no")(t, client)
			commanded("REPLICAOF 127.0.0.1 1")(t, client)
		},
		heal: commanded("REPLICAOF NO ONE"),
		said: "MASTERDOWN ", reason: "masterdown", reads: true,
	},
	"snapshots that cannot be written": {
		refuse: func(t *testing.T, client *goredis.Client) {
			configured("save", "3600 1000000", "stop-writes-on-bgsave-error", "yes")(t, client)
			dir := client.ConfigGet(t.Context(), "dir").Val()["dir"]
			require.NoError(t, os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700)) // in the way of the snapshot
			require.NoError(t, client.Set(t.Context(), "changed", "{}", 0).Err())
			require.NoError(t, client.BgSave(t.Context()).Err())
			require.Eventually(t, func() bool {
				return strings.Contains(client.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
			}, patience, time.Millisecond)
		},
		heal: configured("stop-writes-on-bgsave-error", "no"),
		said: "MISCONF ", reason: "misconf", writes: true,
	},
}

func TestWhatTheServerRefusesIsCountedAndLogged(t *testing.T) {
	t.Parallel()
	for name, c := range refusalCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~* &* +@all"}})
			stats, logs := cache.NewStats(), new(logMemo)
			o := at(server)
			o.Username, o.Password = "web", "secret"
			s, err := New(o, stats, slog.New(logs))
			require.NoError(t, err)
			defer s.Close()
			const key = "session:user:o'neil"
			require.NoError(t, s.Set(t.Context(), key, record(t, "{}"), ttl))
			require.NoError(t, get(s, key))
			require.NoError(t, get(s, "missing"))
			require.Zero(t, stats.StoreErrors.Counts())

			c.refuse(t, server.Client())
			before := time.Now()
			for range 3 {
				_, _ = get(s, key), s.Set(t.Context(), key, record(t, "{}"), ttl)
				_, _, _ = s.Acquire(t.Context(), "loaded", nil, ttl, false)
			}
			counts := stats.StoreErrors.Counts()
			for op, refused := range map[cache.StoreOp]bool{cache.StoreRead: c.reads, cache.StoreWrite: c.writes} {
				kind := cache.StoreFailure{Op: op, Reason: c.reason}
				state := counts.States[op]
				if refused {
					require.NotZero(t, counts.ByReason[kind], "%v: %v", op, counts)
					require.True(t, state.Failing)
					require.Equal(t, c.reason, state.Reason)
					require.Contains(t, state.Text, c.said)
					require.Equal(t, server.Addr(), state.Address)
					require.False(t, state.At.Before(before))
					require.Equal(t, 1, logs.count("warn "+logRefused[op]), "%v", logs.all())
				} else if c.reason == "noperm" || c.reason == "oom" {
					require.Zero(t, counts.ByReason[kind])
					require.Zero(t, logs.count("warn "+logRefused[op]))
				}
			}
			require.NotEmpty(t, counts.Last)
			require.NotContains(t, counts.Last, "neil")
			require.False(t, counts.LastAt.Before(before))

			c.heal(t, server.Client())
			require.Eventually(t, func() bool {
				readErr, writeErr := get(s, key), s.Set(t.Context(), key, record(t, "{}"), ttl)
				counts := stats.StoreErrors.Counts()
				return readErr == nil && writeErr == nil && !counts.States[cache.StoreRead].Failing && !counts.States[cache.StoreWrite].Failing
			}, patience, 10*time.Millisecond)
			for op, refused := range map[cache.StoreOp]bool{cache.StoreRead: c.reads, cache.StoreWrite: c.writes} {
				if refused {
					require.Equal(t, 1, logs.count("info "+logAccepted[op]), "%v", logs.all())
				}
			}
		})
	}
}

// The way of a lookup with a source writes by scripts alone.
func TestScriptsThatTheServerRefusesAreCounted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stats := cache.NewStats()
	s, err := New(at(server), stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, _, err = s.Acquire(t.Context(), "k", nil, ttl, false)
	require.ErrorContains(t, err, "OOM")
	require.NotZero(t, stats.StoreErrors.Counts().ByReason[cache.StoreFailure{Op: cache.StoreWrite, Reason: "oom"}])
}

func TestWhatDoesNotAnswerIsCountedToo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stats := cache.NewStats()
	o := at(server)
	o.BreakerOff, o.MaxRetries = true, -1
	s, err := New(o, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, get(s, "k"))
	server.Kill()
	require.Error(t, get(s, "k"))
	require.NotZero(t, stats.StoreErrors.Counts().ByReason[cache.StoreFailure{Op: cache.StoreRead, Reason: connectionReason}])
	require.Contains(t, stats.StoreErrors.Counts().Last, "refused")
}

func TestConnectionsHaveAName(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~* &* +@all", "nameless on >secret ~* &* +@all -client"}})
	for user, want := range map[string]bool{"web": true, "nameless": false} {
		o := at(server)
		o.Username, o.Password = user, "secret"
		s := open(t, o)
		require.NoError(t, get(s, "k"))
		require.NoError(t, s.Set(t.Context(), "k", record(t, "{}"), ttl))
		list := ""
		for line := range strings.Lines(server.Client().ClientList(t.Context()).Val()) {
			if strings.Contains(line, " user="+user+" ") {
				list += line
			}
		}
		require.NotEmpty(t, list)
		require.Equal(t, want, strings.Contains(list, " name="+clientName+" "), list)
	}
}

func TestScriptsFailForTheReasonOfTheirCommands(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"ERR ACL failure in script: The user executing the script can't run this command or subcommand script: 07, on @user_script:19.":      "noperm",
		"ERR Error running script (call to f_07): @user_script:5: @user_script: 5: -OOM command not allowed when used memory > 'maxmemory'.": "oom",
		"OOM command not allowed when used memory > 'maxmemory'. script: 07, on @user_script:19.":                                            "oom",
		"ERR unknown command 'PTTL'":        "unknown_command",
		"ERR max number of clients reached": "maxclients",
		"ERR something":                     "err",
		"ERR The user executing the script can't run this command or subcommand script: 07, on @user_script:1.": "noperm",
		"SOMETHING else":                   "other",
		"CLUSTERDOWN Hash slot not served": "clusterdown",
	} {
		require.Equal(t, want, reasonOf(replyError(said)), said)
	}
}

func TestWhatAServerQuotesIsNotKept(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"OOM command not allowed when used memory > 'maxmemory'. script: c317f0f91679263ba5853ae535d3ffce50e37889, on @user_script:20.": "OOM command not allowed when used memory > 'maxmemory'.",
		"OOM command not allowed when used memory > 'maxmemory'.":                                                                       "OOM command not allowed when used memory > 'maxmemory'.",
		"NOPERM User web has no permissions to run the 'client|list' command":                                                           "NOPERM User web has no permissions to run the 'client|list' command",
		"NOPERM User web has no permissions to access the 'session:o'neil' key":                                                         "NOPERM User web has no permissions to access the '…' key",
		"NOPERM no permissions to access the 'a' key, or the 'b' command":                                                               "NOPERM no permissions to access the '…' command",
		"ERR unknown command 'GETRANGE', with args beginning with: 'session:1' '0'":                                                     "ERR unknown command 'GETRANGE'",
		"ERR no such key \"session:1\"":                                                                                                 "ERR no such key \"…\"",
		"CROSSSLOT Keys in request don't hash to the same slot":                                                                         "CROSSSLOT Keys in request don't hash to the same slot",
	} {
		require.Equal(t, want, serverText(replyError(said)))
	}
}

func TestErrorsOfTheServerNameNoKeys(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--rename-command", "GETRANGE", "")
	s := open(t, at(server))
	err := get(s, "session:user:secret")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.ErrorContains(t, err, "unknown command")
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, s.stats.StoreErrors.Counts().Last, "secret")
	long := serverText(replyError("ERR " + string(make([]byte, 1000))))
	require.LessOrEqual(t, len(long), maxServerText)
	require.Equal(t, cache.RefusedNothing, refusedBy(errors.New("no answer")))
}

func TestAConnectionThatIsRefusedIsNoLostConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1)) // as Redis, which answers before it reads
			_, _ = c.Write([]byte("-ERR max number of clients reached\r\n"))
			_ = c.Close()
		}
	})
	defer open.Wait()
	defer l.Close()
	stats := cache.NewStats()
	s, err := New(Options{Addresses: []string{l.Addr().String()}, MaxRetries: -1}, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	require.ErrorContains(t, get(s, "k"), "max number of clients")
	server := s.connector.server(l.Addr().String())
	s.connector.mu.Lock()
	defer s.connector.mu.Unlock()
	require.False(t, server.nameless, "it has said nothing of names")
}

func TestReadsOfValuesOfApplicationsAreReads(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~mine:* &* +@all"}})
	o := at(server)
	o.Username, o.Password = "web", "secret"
	stats := cache.NewStats()
	s, err := New(o, stats, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	_, err = s.GetRaw(t.Context(), "theirs:1")
	require.Error(t, err)
	counts := stats.StoreErrors.Counts().ByReason
	require.NotZero(t, counts[cache.StoreFailure{Op: cache.StoreRead, Reason: "noperm"}])
	require.Zero(t, counts[cache.StoreFailure{Op: cache.StoreWrite, Reason: "noperm"}])
}

func TestTagsThatCannotBeReadConcernTheirRecordsAlone(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{Users: []string{"web on >secret ~s:* &* +@all"}})
	client := server.Client()
	require.NoError(t, client.Set(t.Context(), "s:tagged", `{"_tags": {"a": "1"}}`, time.Hour).Err())
	require.NoError(t, client.Set(t.Context(), "s:plain", `{"x": 1}`, time.Hour).Err())
	o := at(server)
	o.Username, o.Password = "web", "secret"
	s, err := New(o, cache.NewStats(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer s.Close()
	got, err := s.GetMany(t.Context(), []string{"s:tagged", "s:plain"})
	require.NoError(t, err)
	require.ErrorContains(t, got[0].Err, "reading the versions of tags")
	require.Nil(t, got[0].Record)
	require.NoError(t, got[1].Err)
	require.NotNil(t, got[1].Record)
	_, err = s.Get(t.Context(), "s:tagged")
	require.ErrorContains(t, err, "reading the versions of tags")
}

func TestAServerThatRefusesPingAloneIsUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	require.NoError(t, server.Client().Do(t.Context(), "ACL", "SETUSER", "web", "on", ">secret", "~*", "+@all", "-ping").Err())
	o := at(server)
	o.Username, o.Password = "web", "secret"
	s := open(t, o)
	require.NoError(t, s.Ping(t.Context()))
	require.Eventually(t, s.Up, 10*time.Second, time.Millisecond)
	_, down := s.DownSince()
	require.False(t, down)
}

func TestALateCommandReportsWhyThereIsNoConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := at(server)
	o.MaxRetries, o.RetryBackoffMin, o.RetryBackoffMax, o.BreakerOff = 3, time.Minute, time.Minute, true
	server.Kill()
	s := open(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := s.Set(ctx, "k", record(t, "{}"), ttl)
	require.ErrorContains(t, err, "connection refused", "go-redis was still pausing before another attempt")
	require.NotContains(t, err.Error(), "deadline")
	counts := s.stats.StoreErrors.Counts()
	require.Equal(t, map[cache.StoreFailure]uint64{{Op: cache.StoreWrite, Reason: "connection"}: 1}, counts.ByReason)

	server.Restart()
	server.Pause()
	defer server.Continue()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, open(t, at(server)).Set(ctx, "k", record(t, "{}"), ttl), "no answer in time")
}

func TestARefusalThatIsRepeatedIsNoSlowRoundTrip(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := at(server)
	o.MaxRetries, o.RetryBackoffMin, o.RetryBackoffMax = 1, 5*time.Second, 5*time.Second
	s := open(t, o)
	require.NoError(t, server.Client().ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
	began := time.Now()
	require.ErrorContains(t, s.Set(t.Context(), "k", record(t, "{}"), ttl), "READONLY")
	require.Greater(t, time.Since(began), 4*time.Second, "go-redis has paused")
	require.Less(t, s.stats.StoreLatency.Quantiles(1)[0], 4*time.Second)
}

func TestACertificateThatIsNotTrustedIsAReason(t *testing.T) {
	t.Parallel()
	server := redistest.StartWith(t, redistest.Options{TLS: true})
	o := tlsOptions(server)
	o.TLS.ServerName = "other.test"
	s := open(t, o)
	require.ErrorContains(t, get(s, "k"), "x509")
	require.Contains(t, s.stats.StoreErrors.Counts().ByReason, cache.StoreFailure{Op: cache.StoreRead, Reason: "certificate"})
}
