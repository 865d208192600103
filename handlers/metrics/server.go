// Figures of the server behind the store, which is asked for them at each scrape.

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

// infoTimeout bounds a scrape while the server is out of reach.
const infoTimeout = 500 * time.Millisecond

// server asks a server that answered when it was last asked.
func (s sink) server(store cache.Store) {
	if up, ok := store.(interface{ Up() bool }); !ok || !up.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), infoTimeout)
	defer cancel()
	info, err := store.Info(ctx)
	if err != nil {
		return // redis_up and store_errors_total say so
	}
	s.gauge(serverMemory, info.MemoryUsedPercent)
	s.gauge(serverClients, float64(info.ConnectedClients))
}
