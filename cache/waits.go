package cache

import (
	"sync"
	"sync/atomic"

	"github.com/filewallball/caddy-filewallball/cache/near"
)

// waits wakes the loads of this process that wait until a key is filled or its
// lease ends.
type waits struct {
	count atomic.Int64 // of listeners; most writes have none
	mu    sync.Mutex
	byKey map[string]map[chan struct{}]struct{}
}

// listen returns a channel that gets a value soon after any of the keys is
// written, until stop is called. Several writes may be one value.
func (w *waits) listen(keys ...string) (woken <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	w.count.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = make(map[string]map[chan struct{}]struct{})
	}
	for _, key := range keys {
		if w.byKey[key] == nil {
			w.byKey[key] = make(map[chan struct{}]struct{})
		}
		w.byKey[key][c] = struct{}{}
	}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.count.Add(-1)
		for _, key := range keys {
			if delete(w.byKey[key], c); len(w.byKey[key]) == 0 {
				delete(w.byKey, key)
			}
		}
	}
}

// wake wakes the loads that wait for any of the keys.
func (w *waits) wake(keys ...string) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		wakeAll(w.byKey[key])
	}
}

// wakeEveryKey is wake for every key.
func (w *waits) wakeEveryKey() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, listeners := range w.byKey {
		wakeAll(listeners)
	}
}

func wakeAll(listeners map[chan struct{}]struct{}) {
	for c := range listeners {
		select {
		case c <- struct{}{}:
		default: // it has one to come
		}
	}
}

// wakingSink reports writes to the near cache and wakes the loads that wait for
// them.
type wakingSink struct {
	near.Sink
	waits *waits
}

// Invalidate drops the copies of keys that were written.
func (s wakingSink) Invalidate(keys ...string) {
	s.Sink.Invalidate(keys...)
	s.waits.wake(keys...)
}

// Flush drops all copies.
func (s wakingSink) Flush() {
	s.Sink.Flush()
	s.waits.wakeEveryKey()
}
