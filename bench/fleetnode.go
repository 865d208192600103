// A node of a fleet. It runs as a process of its own: this program, started with
// -node.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// openNode opens a cache with near copies and a lookup of sessions, as Caddy does.
func openNode(redisAddr string, options cache.LookupOptions) (*cache.Cache, *cache.Lookup, error) {
	c, err := (&redisServer{addr: redisAddr}).openCache()
	if err != nil {
		return nil, nil, err
	}
	c.EnableNear(near.Options{})
	options.Name, options.Family, options.KeyPrefix = "fleet", "session", sessionPrefix
	options.TTL, options.Strict, options.ExpiresAt = time.Hour, true, true
	lookup, err := c.NewLookup(options)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, lookup, nil
}

// serveNode runs until the process is ended. /near returns the figures of its near
// cache; /lookup?n=… looks up so many of its own sessions, at the same time.
func serveNode(addr, redisAddr string) error {
	c, lookup, err := openNode(redisAddr, cache.LookupOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/near", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(c.Near()) })
	mux.HandleFunc("/lookup", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		done := make(chan struct{})
		for i := range n {
			go func() {
				lookup.Find(context.Background(), cache.Request{Key: ownSession(i)})
				done <- struct{}{}
			}()
		}
		for range n {
			<-done
		}
	})
	if err := http.ListenAndServe(addr, mux); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving a node: %w", err)
	}
	return nil
}

// ownSession returns the key of a session that only the measured node uses, and that
// is not written during a measurement.
func ownSession(i int) string { return fmt.Sprintf("%sown-%08d", sessionPrefix, i) }

// node is a running node.
type node struct {
	process *process
	addr    string
}

// startNode starts a node and waits until its near copies are coherent.
func (b *bench) startNode(ctx context.Context, self string, r *redisServer) (*node, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := b.start(ctx, "a node", addr, self, "-node", addr, "-redis", r.addr)
	if err != nil {
		return nil, err
	}
	n := &node{p, addr}
	err = eventually(ctx, "the near copies of a node are coherent", func() (bool, error) {
		stats, err := n.near(ctx)
		return stats.Coherent, err
	})
	if err != nil {
		p.end()
		return nil, err
	}
	return n, nil
}

// near returns the figures of its near cache.
func (n *node) near(ctx context.Context) (stats near.Stats, err error) {
	response, err := n.get(ctx, "/near")
	if err != nil {
		return stats, err
	}
	defer response.Body.Close()
	return stats, json.NewDecoder(response.Body).Decode(&stats)
}

// lookUp lets the node look up so many of its sessions at the same time.
func (n *node) lookUp(ctx context.Context, count int) error {
	response, err := n.get(ctx, "/lookup?n="+strconv.Itoa(count))
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func (n *node) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("sending a request to a node: %w", err)
	}
	return response, nil
}

// eventually waits until a condition holds, up to a minute. what says the condition,
// for the error.
func eventually(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		holds, err := condition()
		if holds || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return violation{"waited a minute in vain until " + what}
		case <-time.After(10 * time.Millisecond):
		}
	}
}
