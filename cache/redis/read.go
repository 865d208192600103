package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/clock"
)

const (
	// pipelineKeys is the most keys of one pipeline. A batch of any size then
	// neither blocks the server nor fills its buffers.
	pipelineKeys = 500
	// pipelineBytes is the most bytes of records in one pipeline, unless one record
	// is larger.
	pipelineBytes = 4 << 20
	// parallelPipelines is how many pipelines of one batch run at a time.
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

// readCall is a read of one key. With acquire, it takes the lease of the key if there
// is no record.
type readCall struct {
	key     string
	acquire *scriptCall // nil: it only reads
	got     cache.Got   // the result
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
		if err := s.readPipeline(ctx, s.primary, new(readings), keys, got, acquires...); err != nil {
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
	return s.sentinels != nil && clock.Now()-time.Duration(s.sentinels.switched.Load()) < switchDoubt
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
		return s.readPipeline(ctx, client, new(readings), keys, got)
	}
	var next atomic.Int64    // the first key of the next pipeline
	var group errgroup.Group // so that this side works while the server does
	for range parallelPipelines {
		group.Go(func() error {
			var memory readings
			for {
				end := int(next.Add(pipelineKeys))
				from, end := end-pipelineKeys, min(end, len(keys))
				if from >= end {
					return nil
				}
				if err := s.readPipeline(ctx, client, &memory, keys[from:end], got[from:end]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// reading is a read of one key. It reads one byte more than the limit, which
// shows that a text is too long.
type reading struct {
	text goredis.StringCmd
	ttl  goredis.IntCmd // as PTTL answers
}

// readings are the memory for the reads of one pipeline. Many pipelines one after the
// other may use the same memory.
type readings struct {
	reads []reading
	args  []any
	cmds  []goredis.Cmder
}

// add adds the reads of keys to a pipeline.
func (r *readings) add(ctx context.Context, pipe goredis.Pipeliner, keys []string, maxSize int) []reading {
	const size = 6
	r.reads = slices.Grow(r.reads[:0], len(keys))[:len(keys)]
	r.args, r.cmds = slices.Grow(r.args[:0], size*len(keys)), slices.Grow(r.cmds[:0], 2*len(keys))
	var last any = maxSize
	for i := range keys {
		key := &keys[i] // a pointer becomes an interface value without an allocation
		r.args = append(r.args, "getrange", key, 0, last, "pttl", key)
		at, read := r.args[size*i:], &r.reads[i]
		read.text = *goredis.NewStringCmd(ctx, at[:4:4]...)
		// go-redis' own PTTL overflows on a very long TTL
		read.ttl = *goredis.NewIntCmd(ctx, at[4:size:size]...)
		r.cmds = append(r.cmds, &read.text, &read.ttl)
	}
	_ = pipe.BatchProcess(ctx, r.cmds...)
	return r.reads
}

// readPipeline fills got in one round trip, with scripts that take leases.
func (s *Store) readPipeline(ctx context.Context, client pipeliner, memory *readings, keys []string, got []cache.Got, acquires ...*scriptCall) error {
	pipe := client.Pipeline()
	reads := memory.add(ctx, pipe, keys, s.options.MaxValueSize)
	for _, c := range acquires {
		c.queue(ctx, pipe)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	now := time.Now()
	s.runAgain(ctx, acquires)
	for i := range reads {
		r := &reads[i]
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

// errEmpty is the error of a key that has a TTL but no text: its value is empty, or it
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
		again := &new(readings).add(ctx, pipe, []string{key}, s.options.MaxValueSize)[0]
		if _, err := pipe.Exec(ctx); err != nil && !isWrongType(err) {
			return s.failed("reading records", err)
		}
		got[i] = s.got(again.text.Val(), again.ttl.Val(), time.Now())
	}
	return nil
}
