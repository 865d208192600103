package redis

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Store is a [cache.Store] in Redis.
type Store struct {
	options      Options
	primary      goredis.UniversalClient
	reader       *reader // nil where reads go to the primary
	reads        *gatherers[*readCall]
	ends         *gatherers[*scriptCall] // scripts that end loads, and that wait for them
	tagReads     *gatherers[*tagRead]    // of tags, in a cluster
	nodeBreakers *breakers
	leases       *leaseKeys
	stats        *cache.Stats
	refusals     *refusals
	start        *start
	logger       *slog.Logger
	poll         chan struct{} // a health check is wanted now
	connector    *connector
	waits        waits      // for connections
	sentinels    *sentinels // nil unless the client is for failover
	watchMu      sync.Mutex
	watcher      atomic.Pointer[watcher] // nil until Watch

	end      context.CancelFunc // of what runs in the background
	running  sync.WaitGroup
	closed   atomic.Bool
	answered atomic.Bool // once
	up       atomic.Bool
	turned   atomic.Int64 // when up has changed or was first known, in Unix nanoseconds
}

// New returns a store, which must be closed. It measures its round trips into
// stats. It does not wait for Redis, which may be down.
func New(options Options, stats *cache.Stats, logger *slog.Logger) (*Store, error) {
	// sets what is not set, if the options are not resolved yet
	options, err := options.Resolve(func(string) string { return "" })
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	dial, err := newDialer(ctx, &options)
	if err != nil {
		cancel()
		return nil, err
	}
	begin := newStart(ctx.Done())
	if !options.Deferred {
		begin.now()
	}
	dial = begin.dialer(dial)
	logger = logger.With(slog.String("client_type", options.ClientType))
	s := &Store{
		refusals: &refusals{errors: &stats.StoreErrors, log: logger, warned: make(map[cache.StoreFailure]time.Time)},
		poll:     make(chan struct{}, 1), start: begin,
		options: options, leases: newLeaseKeys(options.KeyPrefix), stats: stats, logger: logger, end: cancel,
		nodeBreakers: newBreakers(&options, logger),
	}
	s.connector = newConnector(ctx, &s.options, dial)
	s.connector.connected, s.connector.admitted = s.connected, s.admitted
	dialData := begin.patient(s.connector.dialer())
	if options.ClientType == Failover {
		s.sentinels = newSentinels(&s.options, dial)
		s.sentinels.found = s.switchMaster
		s.primary = newPrimary(&s.options, begin.patient(s.connector.masterDialer(s.sentinels)))
	} else {
		s.primary = newPrimary(&s.options, dialData)
	}
	s.reader = newReader(&s.options, dialData, s.sentinels)
	s.nodeBreakers.changed = s.pollSoon
	s.primary.AddHook(hook{s, &s.answered, s.serverAddress})
	if cluster, ok := s.primary.(*goredis.ClusterClient); ok {
		cluster.OnNewNode(func(node *goredis.Client) { s.guard(node, node.Options().Addr, writes) })
	} else {
		s.guard(s.primary, options.Addresses[0], writes)
	}
	if s.reader != nil {
		s.reader.cluster.OnNewNode(func(node *goredis.Client) {
			node.AddHook(hook{s, &s.reader.answered, func() string { return node.Options().Addr }})
			s.guard(node, node.Options().Addr, reads)
		})
	}
	s.reads = newGatherers(s, min(readTrips, s.options.PoolSize/2), s.sendReads)
	s.ends = newGatherers(s, min(leaseTrips, s.options.PoolSize/4), s.sendScripts)
	s.tagReads = newGatherers(s, 1, s.sendTagReads)
	s.background(ctx, s.pollHealth)
	s.background(ctx, s.probe)
	if s.sentinels != nil {
		s.background(ctx, s.sentinels.poll)
	}
	return s, nil
}

// Name is "redis".
func (s *Store) Name() string { return "redis" }

// serverAddress is that of the server that is written to, or those of a cluster.
func (s *Store) serverAddress() string {
	if s.sentinels != nil {
		if master := s.sentinels.current(); master != "" {
			return master
		}
	}
	return strings.Join(s.options.Addresses, ",")
}

// switchMaster follows a failover: no connection to the old master is used any
// more, and near copies are not trusted before the new one is tracked.
func (s *Store) switchMaster(addr string) {
	s.logger.Info("the sentinels name another master", slog.String("address", addr))
	w := s.watcher.Load()
	if w != nil {
		w.connected(addr)
	}
	s.connector.dropOthers(addr)
	if w != nil {
		w.promoted(addr) // later canaries go to the new master
	}
}

// Close closes all connections. Calls under way fail.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.end()
	s.watchMu.Lock()
	if w := s.watcher.Load(); w != nil {
		w.close()
	}
	s.watchMu.Unlock()
	closers := []interface{ Close() error }{s.primary}
	if s.sentinels != nil {
		closers = append(closers, s.sentinels)
	}
	if s.reader != nil {
		closers = append(closers, s.reader.cluster)
	}
	for _, c := range closers {
		// closing a connection that the server has closed returns an error
		_ = c.Close()
	}
	s.running.Wait()
	s.reads.close()
	s.ends.close()
	s.tagReads.close()
	return nil
}

// Interface guards
var _ cache.Store = (*Store)(nil)
