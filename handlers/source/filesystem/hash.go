// Hashing files in the background: once per change for the whole fleet, and
// never while a request waits for it.

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
	// maxHashers is how many files are hashed at a time.
	maxHashers = 2
	// clockTick is longer than the steps in which kernels count file dates.
	clockTick = 20 * time.Millisecond
	// hashSpeed is how fast hashing is at least expected to be, in bytes per
	// second. A file is hashed once it has not changed for as long as its
	// hashing takes, so that a growing file costs no more than half a core.
	hashSpeed = 500 << 20
	// smallFile is up to which size the first load of a file waits for its
	// hash, and smallFileWait for how long.
	smallFile     = 1 << 20
	smallFileWait = 4 * clockTick
	// maxHashPause is how long after one hash of a file the next may begin at the
	// latest; see [hashPace].
	maxHashPause = time.Second
	// minSumTTL and maxSumTTL are how long a hash is kept for the fleet: longer
	// than records, which are cheap to make again once the hash is known. In
	// between, it is sumTTLPerAge times as long as the file has not changed, so
	// that a file which always changes leaves few hashes behind.
	minSumTTL    = 2 * time.Hour
	maxSumTTL    = 7 * 24 * time.Hour
	sumTTLPerAge = 10
	// sumTimeout bounds each call of the shared cache.
	sumTimeout = cache.DefaultLookupTimeout
)

// hasher hashes files one after the other.
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

// close ends all hashing and waits until it has ended.
func (h *hasher) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.done.Wait()
}

// hashPace is how often one file is hashed. Each hash that soon follows another
// doubles the pause until the next, so that a file may be replaced some times in
// a row, and one that grows is not read at each change.
type hashPace struct {
	began time.Time
	pause time.Duration
}

// next reports whether the file may be hashed now, and counts that.
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

// start has a file hashed, unless that is under way. ended is closed when it is
// not any more, and nil where the last hash of the file was too short ago.
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

// run works off the queue.
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

// hashes reports whether a file in this state gets a hash.
func (s *Source) hashes(known *knownFile) bool {
	return s.hasher != nil && known.kind == regular && (s.MaxHashSize == 0 || known.size <= s.MaxHashSize)
}

// pending reports whether the hash of a file is not known yet, but will be.
func (s *Source) pending(known *knownFile) bool {
	return !known.failed && s.hashes(known) && known.sum == "" && !known.unhashable
}

// hashLater has a file hashed in the background, if it has not been. It returns
// a channel that is closed when it is not being hashed any more.
func (s *Source) hashLater(req cache.Request, known *knownFile) (ended <-chan struct{}) {
	if !s.pending(known) || known.unchangedFor(time.Now()) < hashTime(known.size) && known.size > smallFile {
		return nil
	}
	return s.hasher.start(req, known.fileState)
}

// hashTime is how long hashing is expected to take.
func hashTime(size int64) time.Duration {
	return time.Duration(float64(size) / hashSpeed * float64(time.Second))
}

// hash finds the hash of a file, in the shared cache or by reading it, and
// remembers it, or that it cannot be read.
func (s *Source) hash(ctx context.Context, req cache.Request, state fileState) {
	sum, err := s.sumOf(ctx, req, state)
	if errors.Is(err, errChanged) || ctx.Err() != nil {
		return // the next check of the file starts anew
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

// errChanged says that a file was written to while it was read.
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

// waitForClockTick waits until the next write to a file will show in its date:
// two in one step of the clock do not.
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

// hashOf reads a file of a known size to its end, or until the context ends.
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

// sumKey is the key of the hash of a file in one state. Without a key, the hash
// is this process's: nothing would show that another content came since.
func (s *Source) sumKey(req cache.Request, state fileState) (key string, ok bool) {
	if !state.changeShows() {
		return "", false
	}
	return s.fleet.KeyPrefix() + "file:meta:sha256:" + strconv.FormatInt(state.size, 10) + "-" +
		strconv.FormatInt(state.modified, 10) + state.version.inKey() + ":" +
		cache.KeyIdentity(fullName(req.Scope, req.ID), false), true
}

// sharedSum asks the shared cache for a file's hash. Without an answer, the
// file has to be read.
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

// shareSum keeps a hash for the fleet. Where it fails, others read the file too.
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

// leaseSum takes the right to hash a file, or waits until the node that has it
// is done: mine is false then. A store that does not answer grants it.
func (s *Source) leaseSum(ctx context.Context, req cache.Request, state fileState) (release func(), mine bool, err error) {
	key, ok := s.sumKey(req, state)
	if !ok {
		return func() {}, true, nil
	}
	store := s.fleet.Cache().Store()
	// ten times as long as expected: a node that dies delays the others no more
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
				_ = store.Release(call, key, token) // it ends by itself otherwise
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
