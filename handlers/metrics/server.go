// Figures of the server of the store, which are read at each scrape.

package metrics

import (
	"context"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

var (
	serverMemory  = desc("redis_memory_used_percent", "How much of maxmemory Redis uses or, without one, of the machine's memory.")
	serverClients = desc("redis_connected_clients", "Clients that are connected to Redis.")
)

// infoTimeout bounds a scrape while the server is unreachable.
const infoTimeout = 500 * time.Millisecond

// server reads the figures, if the server answered the last check.
func (s sink) server(store cache.Store) {
	if up, ok := store.(interface{ Up() bool }); !ok || !up.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), infoTimeout)
	defer cancel()
	info, err := store.Info(ctx)
	if err != nil {
		return // redis_up and store_errors_total report it
	}
	s.gauge(serverMemory, info.MemoryUsedPercent)
	s.gauge(serverClients, float64(info.ConnectedClients))
}
