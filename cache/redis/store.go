package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Store is a [cache.Store] in Redis.
type Store struct {
	options      Options
	primary      goredis.UniversalClient
	reader       *reader // nil where reads go to the primary
	reads        *gatherers[*readCall]
	ends         *gatherers[*scriptCall] // scripts that end loads, and that wait for them
	bearings     *gatherers[*bearing]    // of tags, in a cluster
	nodeBreakers *breakers
	leases       *leaseKeys
	stats        *cache.Stats
	refusals     *refusals
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
}

// New returns a store, which must be closed. It measures its round trips into
// stats. It does not wait for Redis, which may be down: connections are made
// when they are needed.
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
	logger = logger.With(slog.String("client_type", options.ClientType))
	s := &Store{
		refusals: &refusals{errors: &stats.StoreErrors, log: logger, warned: make(map[cache.StoreFailure]time.Time)},
		poll:     make(chan struct{}, 1),
		options:  options, leases: newLeaseKeys(options.KeyPrefix), stats: stats, logger: logger, end: cancel,
		nodeBreakers: newBreakers(&options, logger),
	}
	s.connector = newConnector(ctx, &s.options, dial)
	s.connector.connected, s.connector.admitted = s.connected, s.admitted
	dialData := s.connector.dialer()
	if options.ClientType == Failover {
		s.sentinels = newSentinels(&s.options, dial)
		s.sentinels.found = s.switchMaster
		s.primary = newPrimary(&s.options, s.connector.masterDialer(s.sentinels))
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
	s.bearings = newGatherers(s, 1, s.sendBearings)
	s.running.Go(func() { s.pollHealth(ctx) })
	s.running.Go(func() { s.probe(ctx) })
	if s.sentinels != nil {
		s.running.Go(func() { s.sentinels.poll(ctx) })
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
	s.bearings.close()
	return nil
}

const (
	// a pipeline has at most this many keys, so that a batch of any size neither
	// blocks the server nor fills its buffers
	pipelineKeys = 500
	// and at most this many bytes of records, unless one record is larger
	pipelineBytes = 4 << 20
	// how many pipelines of one batch run at a time
	parallelPipelines = 3
)

// Get reads a record and when it expires.
func (s *Store) Get(ctx context.Context, key string) (cache.Entry, error) {
	c := &readCall{key: key}
	if err := s.reads.do(ctx, key, c); err != nil {
		return cache.Entry{}, err
	}
	return c.got.Entry, c.got.Err
}

// GetMany reads many keys, in the order of the keys.
func (s *Store) GetMany(ctx context.Context, keys []string) ([]cache.Got, error) {
	got := make([]cache.Got, len(keys))
	return got, s.read(ctx, keys, got)
}

// read fills got and checks the tags of the records.
func (s *Store) read(ctx context.Context, keys []string, got []cache.Got) error {
	if err := s.readRecords(ctx, keys, got); err != nil {
		return err
	}
	s.doubtAbsence(got)
	s.checkTags(ctx, got)
	return nil
}

// readCall is a read of one key. It may take the lease of the key if there is no
// record.
type readCall struct {
	key     string
	acquire *scriptCall // nil: it only reads
	got     cache.Got   // of what is read
}

func (*readCall) size() int { return 0 }

// sendReads carries out reads in one round trip, and in another one for versions of
// tags that are not known.
func (s *Store) sendReads(ctx context.Context, calls []*readCall) error {
	var keys []string
	var acquires []*scriptCall
	for _, c := range calls {
		if c.acquire == nil {
			keys = append(keys, c.key)
		} else {
			acquires = append(acquires, c.acquire)
		}
	}
	got := make([]cache.Got, len(keys), len(calls))
	if len(acquires) == 0 {
		if err := s.readRecords(ctx, keys, got); err != nil {
			return err
		}
	} else {
		if s.closed.Load() {
			return s.failed("reading records", goredis.ErrClosed)
		}
		if err := s.readPipeline(ctx, s.primary, keys, got, acquires...); err != nil {
			for i := range got { // the leases have answers of their own, and may be held
				got[i] = cache.Got{Err: err}
			}
		}
		for _, a := range acquires {
			got = append(got, s.newerOf(a))
		}
	}
	s.doubtAbsence(got[:len(keys)])
	s.checkTags(ctx, got)
	read, taken := 0, len(keys)
	for _, c := range calls {
		if c.acquire == nil {
			c.got = got[read]
			read++
		} else {
			c.got = got[taken]
			taken++
		}
	}
	return nil
}

// switchDoubt is how long after a failover the absence of a record is doubted.
const switchDoubt = time.Second

var errSwitched = errors.New("the master has just changed, so an absence may not be true")

func (s *Store) doubtsAbsence() bool {
	return s.sentinels != nil && time.Now().UnixNano()-s.sentinels.switched.Load() < int64(switchDoubt)
}

// doubtAbsence turns absences into errors shortly after a failover: the new
// master may not have all writes.
func (s *Store) doubtAbsence(got []cache.Got) {
	if !s.doubtsAbsence() {
		return
	}
	for i := range got {
		if got[i].Record == nil && got[i].Err == nil {
			got[i].Err = s.failed("reading a record", errSwitched)
		}
	}
}

// readRecords fills got from replicas, if they are to be read, and from the
// primary.
func (s *Store) readRecords(ctx context.Context, keys []string, got []cache.Got) error {
	if s.reader == nil || s.closed.Load() {
		return s.readFrom(ctx, s.primary, keys, got)
	}
	left := s.reader.read(ctx, s, keys, got)
	if len(left) == 0 {
		return nil
	}
	rest := make([]cache.Got, len(left))
	if err := s.readFrom(ctx, s.primary, pick(keys, left), rest); err != nil {
		return err
	}
	for i, index := range left {
		got[index] = rest[i]
	}
	return nil
}

type pipeliner interface{ Pipeline() goredis.Pipeliner }

// readFrom fills got from one server or cluster.
func (s *Store) readFrom(ctx context.Context, client pipeliner, keys []string, got []cache.Got) error {
	if s.closed.Load() {
		return s.failed("reading records", goredis.ErrClosed)
	}
	if len(keys) <= pipelineKeys {
		return s.readPipeline(ctx, client, keys, got)
	}
	var group errgroup.Group // so that this side works while the server does
	group.SetLimit(parallelPipelines)
	for len(keys) > 0 {
		n := min(len(keys), pipelineKeys)
		part, into := keys[:n], got[:n]
		group.Go(func() error { return s.readPipeline(ctx, client, part, into) })
		keys, got = keys[n:], got[n:]
	}
	return group.Wait()
}

// reading is a read of one key. It reads one byte more than the limit, which
// shows that a text is too long.
type reading struct {
	text goredis.StringCmd
	ttl  goredis.IntCmd // as PTTL answers
}

// readings adds the reads of keys to a pipeline. What they need is allocated for
// all of them together, because a batch may be large.
func (s *Store) readings(ctx context.Context, pipe goredis.Pipeliner, keys []string) []reading {
	const size = 6
	args := make([]any, 0, size*len(keys))
	readings := make([]reading, len(keys))
	cmds := make([]goredis.Cmder, 0, 2*len(keys))
	var last any = s.options.MaxValueSize
	for i := range keys {
		key := &keys[i] // which, unlike a text, is an interface as it is
		args = append(args, "getrange", key, 0, last, "pttl", key)
		at, r := args[size*i:], &readings[i]
		r.text = *goredis.NewStringCmd(ctx, at[:4:4]...)
		// go-redis' own PTTL overflows on a TTL that is meant as forever
		r.ttl = *goredis.NewIntCmd(ctx, at[4:size:size]...)
		cmds = append(cmds, &r.text, &r.ttl)
	}
	_ = pipe.BatchProcess(ctx, cmds...)
	return readings
}

// readPipeline fills got in one round trip, with scripts that take leases.
func (s *Store) readPipeline(ctx context.Context, client pipeliner, keys []string, got []cache.Got, acquires ...*scriptCall) error {
	pipe := client.Pipeline()
	readings := s.readings(ctx, pipe, keys)
	for _, c := range acquires {
		c.queue(ctx, pipe)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	now := time.Now()
	s.runAgain(ctx, acquires)
	for i := range readings {
		r := &readings[i]
		if r.text.Err() == nil && r.ttl.Err() == nil {
			got[i] = s.got(r.text.Val(), r.ttl.Val(), now)
			continue
		}
		switch err := joinOnce(r.text.Err(), r.ttl.Err()); {
		case isWrongType(err):
			got[i] = cache.Got{Err: errWrongType}
		case goredis.IsPermissionError(r.text.Err()), goredis.IsPermissionError(r.ttl.Err()):
			got[i] = cache.Got{Err: s.failed("reading a record", err)} // other records may be readable
		default:
			return s.failed("reading records", err)
		}
	}
	return s.readAgain(ctx, client, keys, got)
}

// errEmpty says that there was a TTL but no text: an empty value, or a key that
// was written between the two commands.
var errEmpty = fmt.Errorf("%w: value is empty, want a JSON object or null", cache.ErrInvalidRecord)

// got returns the entry of a text and a TTL in milliseconds, as Redis answers
// them.
func (s *Store) got(text string, ttl int64, now time.Time) cache.Got {
	switch {
	case ttl == -2: // no such key, or none any more
		return cache.Got{}
	case text == "":
		return cache.Got{Err: errEmpty}
	}
	record, err := cache.Decode(text, s.options.MaxValueSize)
	if err != nil {
		return cache.Got{Err: err}
	}
	return cache.Got{Entry: cache.Entry{Record: record, Expires: expires(ttl, now)}}
}

// expires returns when a TTL in milliseconds ends; -1 means never.
func expires(ttl int64, now time.Time) int64 {
	at := now.UnixNano()
	switch {
	case ttl < 0:
		return 0
	case ttl > (math.MaxInt64-at)/int64(time.Millisecond):
		return math.MaxInt64
	}
	return at + ttl*int64(time.Millisecond)
}

// readAgain reads the keys again whose values seemed to be empty.
func (s *Store) readAgain(ctx context.Context, client pipeliner, keys []string, got []cache.Got) error {
	for i, key := range keys {
		if !errors.Is(got[i].Err, errEmpty) {
			continue
		}
		pipe := client.Pipeline()
		again := &s.readings(ctx, pipe, []string{key})[0]
		if _, err := pipe.Exec(ctx); err != nil && !isWrongType(err) {
			return s.failed("reading records", err)
		}
		got[i] = s.got(again.text.Val(), again.ttl.Val(), time.Now())
	}
	return nil
}

// Set writes a record and ends the key's lease.
func (s *Store) Set(ctx context.Context, key string, record *cache.Record, ttl time.Duration) error {
	return s.SetMany(ctx, []cache.Item{{Key: key, Record: record, TTL: ttl}})
}

// SetMany writes many records and ends their keys' leases. After an error, some
// may have been written.
func (s *Store) SetMany(ctx context.Context, items []cache.Item) error {
	if s.closed.Load() {
		return s.failed("writing records", goredis.ErrClosed)
	}
	for _, item := range items {
		if err := s.check(item.Record, item.TTL); err != nil {
			return err
		}
	}
	if n := fitting(items); n == len(items) {
		return s.writePipeline(ctx, items)
	}
	var group errgroup.Group // so that this side works while the server does
	group.SetLimit(parallelPipelines)
	for items := lastOfEach(items); len(items) > 0; {
		n := fitting(items)
		part := items[:n]
		group.Go(func() error { return s.writePipeline(ctx, part) })
		items = items[n:]
	}
	return group.Wait()
}

// lastOfEach removes the items that a later item overwrites.
func lastOfEach(items []cache.Item) []cache.Item {
	last := make(map[string]int, len(items))
	for i, item := range items {
		last[item.Key] = i
	}
	if len(last) == len(items) {
		return items
	}
	var kept []cache.Item
	for i, item := range items {
		if last[item.Key] == i {
			kept = append(kept, item)
		}
	}
	return kept
}

// fitting returns how many of the items fit into one pipeline, at least one.
func fitting(items []cache.Item) (n int) {
	for size := 0; n < len(items) && n < pipelineKeys && (n == 0 || size+items[n].Record.Size() <= pipelineBytes); n++ {
		size += items[n].Record.Size()
	}
	return n
}

func (s *Store) writePipeline(ctx context.Context, items []cache.Item) error {
	pipe := s.primary.Pipeline()
	leases := make([]string, len(items))
	for i, item := range items {
		leases[i] = s.leases.of(item.Key)
	}
	s.unlink(ctx, pipe, leases)
	for _, item := range items {
		_ = pipe.Process(ctx, goredis.NewStatusCmd(ctx, "set", item.Key, item.Record.Text(), "px", item.TTL.Milliseconds()))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return s.failed("writing records", err)
	}
	return nil
}

// check returns an error if a record may not be written.
func (s *Store) check(record *cache.Record, ttl time.Duration) error {
	if record.Size() > s.options.MaxValueSize {
		return fmt.Errorf("%w: value is larger than %d bytes", cache.ErrInvalidRecord, s.options.MaxValueSize)
	}
	return checkTTL(ttl)
}

func checkTTL(ttl time.Duration) error {
	if ttl < cache.MinTTL {
		return fmt.Errorf("ttl is %s, want at least %s", ttl, cache.MinTTL)
	}
	return nil
}

// Touch gives an existing record a new TTL, and its tags one to match.
func (s *Store) Touch(ctx context.Context, key string, record *cache.Record, ttl time.Duration) (bool, error) {
	if err := checkTTL(ttl); err != nil {
		return false, err
	}
	pipe := s.primary.Pipeline()
	s.extendTags(ctx, pipe, record, ttl)
	cmd := goredis.NewBoolCmd(ctx, "pexpire", key, ttl.Milliseconds())
	_ = pipe.Process(ctx, cmd)
	if _, err := pipe.Exec(ctx); err != nil {
		return false, s.failed("extending a record", err)
	}
	return cmd.Val(), nil
}

// Delete drops records and ends the keys' leases. After an error, some may have
// been dropped.
func (s *Store) Delete(ctx context.Context, keys ...string) (int, error) {
	if s.closed.Load() {
		return 0, s.failed("deleting records", goredis.ErrClosed)
	}
	deleted := 0
	for len(keys) > 0 {
		n := min(len(keys), pipelineKeys)
		pipe := s.primary.Pipeline()
		leases := make([]string, n)
		for i, key := range keys[:n] {
			leases[i] = s.leases.of(key)
		}
		ended := s.unlink(ctx, pipe, leases)
		unlinked := s.unlink(ctx, pipe, keys[:n])
		_, err := pipe.Exec(ctx)
		deleted += int(sum(unlinked))
		if sum(ended) > 0 {
			s.noteEnded(ctx, leases)
		}
		if err != nil {
			return deleted, s.failed("deleting records", err)
		}
		keys = keys[n:]
	}
	return deleted, nil
}

func sum(cmds []*goredis.IntCmd) (n int64) {
	for _, cmd := range cmds {
		n += cmd.Val()
	}
	return n
}

// unlink adds to a pipeline what drops keys: one command, where they are all
// on one server.
func (s *Store) unlink(ctx context.Context, pipe goredis.Pipeliner, keys []string) (cmds []*goredis.IntCmd) {
	if s.options.ClientType != Cluster && len(keys) > 0 {
		return append(cmds, pipe.Unlink(ctx, keys...))
	}
	for _, key := range keys {
		cmds = append(cmds, pipe.Unlink(ctx, key))
	}
	return cmds
}

// Interface guards
var _ cache.Store = (*Store)(nil)
