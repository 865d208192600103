package redis

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// elsewhere writes the first canaries to another server than the one that is
// tracked, as during a failover.
type elsewhere struct {
	goredis.Cmdable
	other *goredis.Client
	left  atomic.Int32 // canaries that still go to the other one
	wrote func()       // called after each of them
}

func (e *elsewhere) Set(ctx context.Context, key string, value any, ttl time.Duration) *goredis.StatusCmd {
	if e.left.Add(-1) < 0 {
		return e.Cmdable.Set(ctx, key, value, ttl)
	}
	defer e.wrote()
	return e.other.Set(ctx, key, value, ttl)
}

func TestCanariesThatWentElsewhereAreWrittenAgainSoon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		astray      int32
		promoted    bool // from the beginning; else once a canary has gone astray
		unsupported bool
	}{
		"to the old master of a failover": {astray: 1},
		"for a moment":                    {astray: 2, promoted: true},
		"for a while":                     {astray: 4, promoted: true, unsupported: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracked, other := redistest.Start(t), redistest.Start(t)
			store := open(t, at(tracked))
			var master atomic.Bool
			master.Store(c.promoted)
			client := &elsewhere{Cmdable: store.primary, other: other.Client(), wrote: func() { master.Store(true) }}
			client.left.Store(c.astray)
			tr := newTracker(store.connector, tracked.Addr(), []string{""}, newCanary(client, store.leases.canary(0), master.Load))
			states := make(chan trackerState, 100)
			tr.changed = func(state trackerState, _ error) { states <- state }
			tr.doubted = func(error) {}
			tr.written, tr.trusted, tr.answered = func([]string) {}, func(time.Time) {}, func() {}
			tr.start()
			defer tr.stop()
			unsupported, late := false, time.After(14*time.Second)
			for live := false; !live; {
				select {
				case state := <-states:
					live = state == trackerLive
					unsupported = unsupported || state == trackerUnsupported
				case <-late:
					require.FailNow(t, "it is left alone for long")
				}
			}
			require.Equal(t, c.unsupported, unsupported, "it is taken for a server that reports no writes")
		})
	}
}

func TestOnlyWhatIsRefusedForGoodIsUnsupported(t *testing.T) {
	t.Parallel()
	for text, never := range map[string]bool{
		"NOPERM this user has no permissions to run the 'client|tracking' command": true,
		"NOPROTO unsupported protocol version":                                     true,
		"ERR unknown command 'HELLO', with args beginning with: '3'":               true,
		"ERR Unknown subcommand or wrong number of arguments for 'TRACKING'":       true,
		"ERR Syntax error, try CLIENT (LIST | KILL | GETNAME | SETNAME | PAUSE)":   true,
		"READONLY You can't write against a read only replica.":                    false,
		"LOADING Redis is loading the dataset in memory":                           false,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set":  false,
		"NOREPLICAS Not enough good replicas to write.":                            false,
		"UNBLOCKED force unblock from blocking operation, instance state changed":  false,
		"ERR upstream failure":                                                        false,
		"ERR max number of clients reached":                                           false,
		"OOM command not allowed when used memory > 'maxmemory'.":                     false,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or so on": false,
	} {
		require.Equal(t, never, saysNever(replyError(text)), text)
	}
}
