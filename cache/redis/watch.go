package redis

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

const (
	// the interval at which the nodes of the deployment are listed; a connection to
	// an unknown node causes it at once
	reconcileInterval = time.Second
	reconcileTimeout  = 2 * time.Second
)

// watcher keeps a tracker on every node, and sets the trust of the sink: near copies
// are trusted while all nodes that are read are known to report writes. A change of the
// nodes, a lost connection, or a data connection to a node that is not tracked ends the
// trust until that is so again.
type watcher struct {
	store  *Store
	sink   near.Sink
	logger *slog.Logger

	mu       sync.Mutex
	prefixes []string
	watched  map[string]*watchedNode // by address
	trust    near.Trust
	ended    bool

	wake     chan struct{} // reconcile now
	stopping sync.WaitGroup
	cancel   context.CancelFunc
	done     chan struct{}
}

// watchedNode is a node with its tracker.
type watchedNode struct {
	tracker *tracker
	state   trackerState
	until   time.Time // when the trust in it ends
	read    bool      // whether this store may read from it
	since   time.Time // when its state was no longer live
	err     error     // why it reports no writes, or may be another server
}

func newWatcher(store *Store, sink near.Sink, prefixes []string, logger *slog.Logger) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{
		store: store, sink: sink, logger: logger, prefixes: minimalPrefixes(prefixes),
		watched: make(map[string]*watchedNode), wake: make(chan struct{}, 1),
		cancel: cancel, done: make(chan struct{}),
	}
	go w.run(ctx)
	return w
}

// track adds prefixes. If they are not covered yet, all trackers start again.
func (w *watcher) track(prefixes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := minimalPrefixes(append(slices.Clone(w.prefixes), prefixes...))
	if slices.Equal(all, w.prefixes) {
		return
	}
	w.prefixes = all
	w.distrust()
	for addr, n := range w.watched {
		delete(w.watched, addr)
		w.stopping.Go(n.tracker.stop)
	}
	w.reconcileSoon()
}

// close ends all trackers and waits for them.
func (w *watcher) close() {
	w.cancel()
	<-w.done
	w.mu.Lock()
	w.ended = true
	watched := w.watched
	w.watched = nil
	w.distrust()
	w.mu.Unlock()
	for _, n := range watched {
		w.stopping.Go(n.tracker.stop)
	}
	w.stopping.Wait()
}

// connected is called for every connection before it is used. A connection to a
// node that is not tracked, or to another server than the tracker's, ends the
// trust before anything is read over it.
func (w *watcher) connected(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, ok := w.watched[addr]
	if ok && (n.state != trackerLost || n.read) {
		return // the node is trusted, or its loss has already ended the trust
	}
	w.distrust()
	w.reconcileSoon()
}

// admitted is called when a server accepts connections again.
func (w *watcher) admitted(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n, ok := w.watched[addr]; ok && n.state == trackerLost {
		n.tracker.restartNow()
	}
}

// promoted is called with the address of a new master. It discards the state of its
// tracker from before, when it was a replica or canaries went to the old master.
func (w *watcher) promoted(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n, ok := w.watched[addr]; ok && n.state != trackerLive {
		n.state = trackerLost
		n.tracker.restartNow()
		w.updateTrust()
	}
	w.reconcileSoon()
}

// moved is called when an address leads to another server.
func (w *watcher) moved(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.distrust()
	if n, ok := w.watched[addr]; ok {
		n.state = trackerLost
		n.tracker.restartNow()
	}
	w.reconcileSoon()
}

func (w *watcher) reconcileSoon() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.done)
	if !w.store.start.wait(ctx) {
		return
	}
	tick := time.NewTicker(reconcileInterval)
	defer tick.Stop()
	for {
		w.reconcile(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.wake:
		}
	}
}

// reconcile adds and removes trackers until they match the current nodes.
func (w *watcher) reconcile(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	nodes, err := w.store.nodes(ctx)
	if err != nil {
		return // the trackers go on; the nodes are listed again at the next tick
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := false
	present := make(map[string]bool, len(nodes))
	for _, node := range nodes {
		present[node.addr] = true
		n, ok := w.watched[node.addr]
		if !ok {
			n = w.add(node)
			changed = changed || node.read
		}
		changed = changed || n.read != node.read
		if node.read && !n.read && ok && n.state == trackerUnsupported {
			// it was a replica that is not read
			n.state = trackerLost
			n.tracker.restartNow()
		}
		n.read = node.read
		n.tracker.read.Store(node.read)
	}
	for addr, n := range w.watched {
		if !present[addr] {
			delete(w.watched, addr)
			w.stopping.Go(n.tracker.stop)
			changed = changed || n.read
		}
	}
	if changed {
		w.distrust()
	}
	w.updateTrust()
}

// add starts a tracker. The caller holds w.mu.
func (w *watcher) add(node node) *watchedNode {
	n := &watchedNode{tracker: newTracker(w.store.connector, node.addr, w.prefixes, node.canary), since: time.Now()}
	w.watched[node.addr] = n
	n.tracker.written = func(keys []string) {
		if keys == nil {
			w.sink.Flush()
		} else {
			w.sink.Invalidate(keys...)
		}
	}
	n.tracker.changed = func(state trackerState, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n.err = err
		if w.watched[node.addr] != n || n.state == state {
			return
		}
		if n.state == trackerLive {
			n.since = time.Now()
		}
		n.state = state
		w.updateTrust()
	}
	n.tracker.doubted = func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n.err = err
	}
	n.tracker.trusted = func(until time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		n.until = until
		if n.read && w.trust == near.Coherent {
			w.updateTrust()
		}
	}
	n.tracker.answered = func() { w.store.serverAnswered(node.addr) }
	n.tracker.start()
	return n
}

// distrust ends the sink's trust. The caller holds w.mu.
func (w *watcher) distrust() { w.setTrust(near.None, time.Time{}) }

// updateTrust sets the sink's trust by the states of the trackers. The caller holds
// w.mu.
func (w *watcher) updateTrust() {
	trust, until := near.None, time.Time{}
	for _, n := range w.watched {
		switch {
		case !n.read:
			continue
		case n.state == trackerLost:
			w.setTrust(near.None, time.Time{})
			return
		case n.state == trackerUnsupported:
			trust = near.Brief
		case trust == near.None:
			trust = near.Coherent
		}
		if until.IsZero() || n.until.Before(until) {
			until = n.until
		}
	}
	w.setTrust(trust, until)
}

// setTrust sets the trust of the sink. until is the end of coherent trust. The
// caller holds w.mu.
func (w *watcher) setTrust(trust near.Trust, until time.Time) {
	if w.ended {
		trust = near.None
	}
	if trust == near.Coherent {
		w.sink.TrustUntil(until)
	}
	if w.trust == trust {
		return
	}
	w.trust = trust
	switch trust {
	case near.Coherent:
		w.logger.Info("near copies are coherent: every server reports writes", slog.Int("servers", len(w.watched)))
	case near.Brief:
		w.sink.SetTrust(trust)
		w.logger.Warn("near copies are not coherent: redis does not report writes; files are copied for 2s, sessions not at all", w.reasons()...)
	default:
		w.sink.SetTrust(trust)
		w.logger.Info("near copies are off until every server reports writes", w.reasons()...)
	}
}

// reasons are the fields of the log for the first server that reports no
// writes. The caller holds w.mu.
func (w *watcher) reasons() (fields []any) {
	if doubt, ok := w.doubt(); ok && doubt.Reason != "" {
		fields = append(fields, slog.String("address", doubt.Address), slog.String("error", doubt.Reason))
	}
	return fields
}

// doubt returns why near copies are not trusted: the server that has reported no
// writes for the longest time. The caller holds w.mu.
func (w *watcher) doubt() (doubt cache.NearDoubt, ok bool) {
	now := time.Now()
	for addr, n := range w.watched {
		since := n.since
		if n.state == trackerLive {
			since = n.until
		}
		if !n.read || now.Before(since) || ok && !since.Before(doubt.Since) {
			continue
		}
		ok = true
		doubt = cache.NearDoubt{Since: since, Address: addr}
		if n.err != nil {
			doubt.Reason = strings.TrimPrefix(serverText(plainly(n.err)), errUnsupported.Error()+": ")
		}
	}
	return doubt, ok
}

// NearDoubt returns why near copies are not trusted, if they are not.
func (s *Store) NearDoubt() (doubt cache.NearDoubt, ok bool) {
	w := s.watcher.Load()
	if w == nil {
		return cache.NearDoubt{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if doubt, ok = w.doubt(); ok {
		if up := time.Unix(0, s.turned.Load()); doubt.Since.Before(up) {
			doubt.Since = up
		}
	}
	return doubt, ok
}

// Watch reports every write to keys with the prefix to the sink, and how far
// these reports can be trusted. There is one sink; prefixes may be added at any
// time.
func (s *Store) Watch(prefix string, sink near.Sink) {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	switch {
	case s.closed.Load():
	case s.watcher.Load() == nil:
		s.watcher.Store(newWatcher(s, sink, []string{prefix, s.leases.canaryPrefix(), s.leases.tagPrefix(), s.leases.notePrefix()}, s.logger))
	default:
		s.watcher.Load().track([]string{prefix})
	}
}

// EndedKey returns the key of the note on how a load ended.
func (s *Store) EndedKey(key string) string { return s.leases.noteOf(key) }

// connected is called for every connection before it is used. moved reports
// whether the address led to another server before.
func (s *Store) connected(addr string, moved bool) {
	w := s.watcher.Load()
	switch {
	case w == nil:
	case moved:
		w.moved(addr)
	default:
		w.connected(addr)
	}
}

// admitted is called when a server that refused connections accepts one.
func (s *Store) admitted(addr string) {
	if w := s.watcher.Load(); w != nil {
		w.admitted(addr)
	}
}
