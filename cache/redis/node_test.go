package redis

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// pausedNode makes the test binary a node that only looks a session up, so that
// the whole process can be paused: its value is the address of Redis.
const pausedNode = "FILEWALLBALL_TEST_PAUSED_NODE"

// runPausedNode prints of each lookup when it began, and what it came to.
func runPausedNode(addr string) {
	stats := cache.NewStats()
	store, err := New(Options{Addresses: []string{addr}}, stats, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	c := cache.New(store, stats)
	c.EnableNear(near.Options{})
	lookup, err := c.NewLookup(cache.LookupOptions{
		Name: "test", Family: cache.Session, KeyPrefix: "session:user:", Strict: true, TTL: time.Hour,
	})
	if err != nil {
		panic(err)
	}
	in := &instance{Cache: c, store: store, lookup: lookup}
	for {
		began := time.Now()
		r := in.look(user)
		if _, err := fmt.Println(began.UnixNano(), r.OK(), r.From); err != nil {
			return // the test is over
		}
		time.Sleep(time.Millisecond) // as requests come
	}
}
