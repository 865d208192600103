// One reader of the store for all listeners of an upload.

package upload

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// The most listeners at a time, of one upload and of all uploads of one report.
const (
	maxListenersPerUpload = 100
	maxListeners          = 10_000
)

var errTooManyListeners = errors.New("too many listeners")

// uploadHub reads each upload that has listeners once per interval, for all of them.
type uploadHub struct {
	read     func(ctx context.Context, key string) (*cache.Record, error)
	interval time.Duration

	mu        sync.Mutex
	watches   map[string]*uploadWatch
	listeners int
}

// uploadWatch is an upload with listeners.
type uploadWatch struct {
	hub       *uploadHub
	key       string
	listeners int                // guarded by the hub's mutex
	cancel    context.CancelFunc // of the goroutine that reads

	mu      sync.Mutex
	latest  uploadNews
	changed chan struct{} // closed and replaced with each change
}

// uploadNews is the latest state of an upload.
type uploadNews struct {
	record *cache.Record // nil: there is no record
	err    error         // no read has succeeded yet
	known  bool          // false until the first read
	last   bool          // no update will follow
}

// join adds a listener to the upload with that key, until leave.
func (h *uploadHub) join(key string) (*uploadWatch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.watches[key]
	if h.listeners >= maxListeners || w != nil && w.listeners >= maxListenersPerUpload {
		return nil, errTooManyListeners
	}
	if w == nil {
		ctx, cancel := context.WithCancel(context.Background())
		w = &uploadWatch{hub: h, key: key, cancel: cancel, changed: make(chan struct{})}
		if h.watches == nil {
			h.watches = make(map[string]*uploadWatch)
		}
		h.watches[key] = w
		go w.run(ctx)
	}
	h.listeners++
	w.listeners++
	return w, nil
}

// leave removes a listener. Reading ends with the last one.
func (w *uploadWatch) leave() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.listeners--
	if w.listeners--; w.listeners == 0 {
		w.cancel()
		w.retire()
	}
}

// retire makes later listeners begin a new watch.
func (w *uploadWatch) retire() {
	if w.hub.watches[w.key] == w {
		delete(w.hub.watches, w.key)
	}
}

// run reads until the upload has ended or has no listeners.
func (w *uploadWatch) run(ctx context.Context) {
	ticker := time.NewTicker(w.hub.interval)
	defer ticker.Stop()
	for {
		record, err := w.hub.read(ctx, w.key)
		if w.publish(record, err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// publish gives the result of a read to the listeners, and reports whether it is the
// last.
func (w *uploadWatch) publish(record *cache.Record, err error) (last bool) {
	w.mu.Lock()
	before := w.latest
	w.mu.Unlock()
	news := uploadNews{record: record, err: err, known: true}
	switch {
	case err != nil && before.known:
		news = before // the store recovers, or the listeners leave
	case err != nil, record == nil, !isRunning(record):
		news.last = true
	}
	// a server that shuts down waits for its requests to end
	news.last = news.last || caddy.Exiting()
	if news.last {
		w.hub.mu.Lock()
		w.retire()
		w.hub.mu.Unlock()
	}
	if news.last || !before.known || before.record.Text() != news.record.Text() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.latest = news
		close(w.changed)
		w.changed = make(chan struct{})
	}
	return news.last
}

// news returns the latest state, and a channel that is closed when there is a
// newer one.
func (w *uploadWatch) news() (uploadNews, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest, w.changed
}

// firstNews waits for the first read. ok is false if ctx ended before.
func (w *uploadWatch) firstNews(ctx context.Context) (news uploadNews, changed <-chan struct{}, ok bool) {
	for {
		if news, changed = w.news(); news.known {
			return news, changed, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return news, changed, false
		}
	}
}
