// Hashing files in the background, once per change for the whole fleet.

package filesource

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// maxHashers is the number of files that are hashed at a time.
	maxHashers = 2
	// clockTick is longer than the granularity of file dates.
	clockTick = 20 * time.Millisecond
	// hashSpeed is the lowest expected speed of hashing, in bytes per second. A
	// file is hashed once it has been unchanged for as long as hashing it
	// takes, so that a growing file costs at most half a core.
	hashSpeed = 500 << 20
	// smallFile is the largest file, in bytes, whose first load waits for its
	// hash, and smallFileWait is the longest wait.
	smallFile     = 1 << 20
	smallFileWait = 4 * clockTick
	// maxHashPause is the longest pause between two hashes of a file; see
	// [hashPace].
	maxHashPause = time.Second
	// minSumTTL and maxSumTTL bound how long the fleet keeps a hash: longer
	// than records, which are cheap to make once the hash is known. Between
	// them, the TTL is sumTTLPerAge times the age of the file's last change, so
	// that a file that changes often leaves few hashes behind.
	minSumTTL    = 2 * time.Hour
	maxSumTTL    = 7 * 24 * time.Hour
	sumTTLPerAge = 10
	// sumTimeout bounds each call to the shared cache.
	sumTimeout = cache.DefaultLookupTimeout
)

// hasher hashes files, one at a time per worker.
type hasher struct {
	source *Source
	ctx    context.Context // ends with the configuration
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	pending map[string]*hashJob // by the key of the file's record
	queue   []*hashJob
	running int
	closed  bool
}

// hashJob is a file to be hashed.
type hashJob struct {
	req   cache.Request
	state fileState
	ended chan struct{}
}

func newHasher(ctx context.Context, source *Source) *hasher {
	h := &hasher{source: source, pending: make(map[string]*hashJob)}
	h.ctx, h.cancel = context.WithCancel(ctx)
	return h
}

// close cancels all hashing and waits until it has ended.
func (h *hasher) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.done.Wait()
}

// hashPace limits how often one file is hashed. Each hash soon after another
// doubles the next pause. So a file may be replaced a few times in a row, and a
// growing file is not read at each change.
type hashPace struct {
	began time.Time
	pause time.Duration
}

// next reports whether the file may be hashed now, and counts the hash.
func (p *hashPace) next(now time.Time) bool {
	since := now.Sub(p.began)
	switch {
	case since < 0 || since > 10*max(p.pause, clockTick):
		p.pause = clockTick
	case since < p.pause:
		return false
	default:
		p.pause = min(2*p.pause, maxHashPause)
	}
	p.began = now
	return true
}

// start queues a file for hashing unless it is queued already. ended is closed
// when the hashing has ended; it is nil if the last hash of the file was too
// recent.
func (h *hasher) start(req cache.Request, state fileState) (ended <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if job, ok := h.pending[req.Key]; ok {
		return job.ended
	}
	if !h.source.lastCheck(req.Key).pace.next(time.Now()) {
		return nil
	}
	job := &hashJob{req, state, make(chan struct{})}
	if h.closed || len(h.queue) >= maxChecks {
		close(job.ended)
		return job.ended
	}
	h.pending[req.Key] = job
	h.queue = append(h.queue, job)
	if h.running < maxHashers {
		h.running++
		h.done.Add(1)
		go h.run()
	}
	return job.ended
}

// run hashes the queued files.
func (h *hasher) run() {
	defer h.done.Done()
	for {
		h.mu.Lock()
		if len(h.queue) == 0 || h.ctx.Err() != nil {
			h.running--
			h.mu.Unlock()
			return
		}
		job := h.queue[0]
		h.queue = h.queue[1:]
		h.mu.Unlock()
		h.source.hash(h.ctx, job.req, job.state)
		h.mu.Lock()
		delete(h.pending, job.req.Key)
		h.mu.Unlock()
		close(job.ended)
	}
}

// hashes reports whether a file in this state is hashed.
func (s *Source) hashes(known *knownFile) bool {
	return s.hasher != nil && known.kind == regular && (s.MaxHashSize == 0 || known.size <= s.MaxHashSize)
}

// pending reports whether the hash of a file is still being made.
func (s *Source) pending(known *knownFile) bool {
	return !known.failed && s.hashes(known) && known.sum == "" && !known.unhashable
}

// hashLater queues a file for hashing if its hash is unknown. The channel is
// closed when the hashing has ended.
func (s *Source) hashLater(req cache.Request, known *knownFile) (ended <-chan struct{}) {
	if !s.pending(known) || known.unchangedFor(time.Now()) < hashTime(known.size) && known.size > smallFile {
		return nil
	}
	return s.hasher.start(req, known.fileState)
}

// hashTime is the expected duration of hashing.
func hashTime(size int64) time.Duration {
	return time.Duration(float64(size) / hashSpeed * float64(time.Second))
}

// hash takes the hash of a file from the shared cache or by reading the file,
// and stores it, or that the file cannot be read.
func (s *Source) hash(ctx context.Context, req cache.Request, state fileState) {
	sum, err := s.sumOf(ctx, req, state)
	if errors.Is(err, errChanged) || ctx.Err() != nil {
		return // the next check of the file starts again
	}
	if err != nil {
		s.logger.Warn("hashing a file failed, it is served without a strong entity tag until it changes",
			zap.Int64("size", state.size), zap.Error(err))
	}
	last := s.lastCheck(req.Key)
	for {
		known := last.known.Load()
		if known == nil || known.fileState != state {
			return
		}
		learned := &knownFile{fileState: state, codings: known.codings, sum: sum, unhashable: err != nil}
		if last.known.CompareAndSwap(known, learned) {
			return
		}
	}
}

// errChanged means that a file changed while it was read.
var errChanged = errors.New("file changed while it was read")

func (s *Source) sumOf(ctx context.Context, req cache.Request, state fileState) (string, error) {
	if err := waitForClockTick(ctx, state); err != nil {
		return "", err
	}
	file, now, err := s.open(req.Scope, req.ID)
	if err != nil {
		return "", err
	}
	if file == nil {
		return "", errChanged
	}
	defer file.Close()
	if now != state {
		return "", errChanged
	}
	if sum, ok := s.sharedSum(ctx, req, state); ok {
		return sum, nil
	}
	release, mine, err := s.leaseSum(ctx, req, state)
	if err != nil {
		return "", err
	}
	if !mine {
		if sum, ok := s.sharedSum(ctx, req, state); ok {
			return sum, nil
		}
	}
	defer release()
	sum, err := hashOf(ctx, file, state.size)
	if err != nil {
		return "", fmt.Errorf("hashing file: %w", err)
	}
	after, err := file.Stat()
	if err != nil || stateOf(after) != state {
		return "", errChanged
	}
	s.shareSum(ctx, req, state, sum)
	return sum, nil
}

// waitForClockTick waits until another write to the file would change its date.
// Two writes in one step of the clock do not.
func waitForClockTick(ctx context.Context, state fileState) error {
	age := state.unchangedFor(time.Now())
	if age >= clockTick {
		return nil
	}
	select {
	case <-time.After(clockTick - age):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hashOf reads a file of a known size to its end, unless the context ends
// first.
func hashOf(ctx context.Context, file fs.File, size int64) (string, error) {
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := file.Read(buf)
		sum.Write(buf[:n])
		if size -= int64(n); size < 0 {
			return "", errChanged
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", withoutName(err)
		}
	}
}

// sumKey is the key of the hash of a file in one state. ok is false if the hash
// must stay in this process, because nothing would show that the content has
// changed.
func (s *Source) sumKey(req cache.Request, state fileState) (key string, ok bool) {
	if !state.changeShows() {
		return "", false
	}
	return s.fleet.KeyPrefix() + "file:meta:sha256:" + strconv.FormatInt(state.size, 10) + "-" +
		strconv.FormatInt(state.modified, 10) + state.version.inKey() + ":" +
		cache.KeyIdentity(fullName(req.Scope, req.ID), false), true
}

// sharedSum reads a file's hash from the shared cache. If it fails, the file
// has to be read.
func (s *Source) sharedSum(ctx context.Context, req cache.Request, state fileState) (sum string, ok bool) {
	key, ok := s.sumKey(req, state)
	if !ok {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, sumTimeout)
	defer cancel()
	entry, err := s.fleet.Cache().Get(ctx, key)
	if err != nil || entry.Record == nil {
		return "", false
	}
	sum = readFields(entry.Record).sum
	return sum, len(sum) == hex.EncodedLen(sha256.Size)
}

// shareSum stores a hash for the fleet. If it fails, other nodes read the file
// as well.
func (s *Source) shareSum(ctx context.Context, req cache.Request, state fileState, sum string) {
	key, ok := s.sumKey(req, state)
	if !ok {
		return
	}
	record, err := cache.Encode(fileRecord{SHA256: sum}, maxRecord)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sumTimeout)
	defer cancel()
	ttl := maxSumTTL
	if age := state.unchangedFor(time.Now()); age < maxSumTTL/sumTTLPerAge {
		ttl = max(minSumTTL, sumTTLPerAge*age)
	}
	_ = s.fleet.Cache().Set(ctx, key, record, ttl)
}

// leaseSum takes the lease to hash a file, or waits until the node that holds
// it is done; mine is false then. If the store does not answer, it grants the
// lease.
func (s *Source) leaseSum(ctx context.Context, req cache.Request, state fileState) (release func(), mine bool, err error) {
	key, ok := s.sumKey(req, state)
	if !ok {
		return func() {}, true, nil
	}
	store := s.fleet.Cache().Store()
	// ten times the expected duration: a node that dies does not delay the
	// others for long
	ttl := 10*time.Second + 10*hashTime(state.size)
	for end := time.Now().Add(ttl); time.Now().Before(end); {
		call, cancel := context.WithTimeout(ctx, sumTimeout)
		token, now, err := store.Acquire(call, key, nil, ttl, false)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, false, ctx.Err()
		case err != nil, now.Record != nil && token == "":
			return func() {}, err != nil, nil
		case token != "":
			return func() {
				call, cancel := context.WithTimeout(context.WithoutCancel(ctx), sumTimeout)
				defer cancel()
				_ = store.Release(call, key, token) // otherwise it expires
			}, true, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-time.After(min(ttl/20, time.Second)):
		}
	}
	return func() {}, true, nil
}
