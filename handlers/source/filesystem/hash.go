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
	"time"

	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// maxQueued is the number of files that wait to be hashed.
	maxQueued = maxChecks
	// hashPiece is how much of a file, in bytes, is read at a time.
	hashPiece = 64 << 10
	// perFile is the work that a file takes beside its content: opening it, and
	// two round trips to the store.
	perFile = 200 * time.Microsecond
	// clockTick is longer than the granularity of file dates.
	clockTick = 20 * time.Millisecond
	// hashSpeed is the lowest expected speed of hashing, in bytes per second. A
	// file is hashed once it has been unchanged for as long as hashing it
	// takes, so that a growing file costs at most half a core.
	hashSpeed = 500 << 20
	// smallFile is the largest file, in bytes, that is hashed between the pieces
	// of larger ones.
	smallFile = 1 << 20
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

// hashes reports whether a file in this state is hashed.
func (s *Source) hashes(known *knownFile) bool {
	return s.hasher != nil && known.kind == regular && (s.MaxHashSize == 0 || known.size <= s.MaxHashSize)
}

// pending reports whether the hash of a file is still being made.
func (s *Source) pending(known *knownFile) bool {
	return !known.failed && s.hashes(known) && known.sum == "" && !known.unhashable
}

// hashLater queues a file for hashing if its hash is unknown.
func (s *Source) hashLater(req cache.Request, known *knownFile) {
	if s.pending(known) && (known.size <= smallFile || known.unchangedFor(time.Now()) >= hashTime(known.size)) {
		s.hasher.start(req, known.fileState)
	}
}

// hashTime is the expected duration of hashing.
func hashTime(size int64) time.Duration {
	return time.Duration(float64(size) / hashSpeed * float64(time.Second))
}

// hash gets the hash of a file from the shared cache or by reading the file, and stores
// it, or that the file cannot be read. It calls rest after each piece of work. If wait is
// not 0, it must be called again after that time: another node hashes the file, or the
// file has just been written to.
func (s *Source) hash(ctx context.Context, req cache.Request, state fileState, rest func(worked time.Duration) error) (wait time.Duration) {
	if age := state.unchangedFor(time.Now()); age < clockTick {
		return clockTick - age // another write might not change its date
	}
	sum, wait, err := s.sumOf(ctx, req, state, rest)
	if wait > 0 || errors.Is(err, errChanged) || ctx.Err() != nil {
		return wait // if the file has changed, its next check starts again
	}
	if err != nil {
		s.logger.Warn("hashing a file failed, it is served without a strong entity tag until it changes",
			zap.Int64("size", state.size), zap.Error(err))
	}
	s.learn(req, state, sum, err != nil)
	return 0
}

// learn stores the hash of a file in this state, or that it cannot be hashed.
func (s *Source) learn(req cache.Request, state fileState, sum string, unhashable bool) {
	last := s.lastCheck(req.Key)
	for {
		known := last.known.Load()
		if known == nil || known.fileState != state {
			return
		}
		learned := &knownFile{fileState: state, codings: known.codings, sum: sum, unhashable: unhashable}
		if last.known.CompareAndSwap(known, learned) {
			return
		}
	}
}

// errChanged means that a file changed while it was read.
var errChanged = errors.New("file changed while it was read")

func (s *Source) sumOf(ctx context.Context, req cache.Request, state fileState, rest func(time.Duration) error) (sum string, wait time.Duration, err error) {
	key, shared := s.sumKey(req, state)
	token := ""
	if shared {
		sum, token, wait = s.leaseSum(ctx, key, state)
		if sum != "" || wait > 0 {
			return sum, wait, nil
		}
	}
	sum, err = s.readSum(ctx, req, state, rest)
	switch {
	case token == "":
	case err != nil:
		s.releaseSum(ctx, key, token)
	default:
		s.shareSum(ctx, key, token, state, sum)
	}
	return sum, 0, err
}

// readSum hashes the content of a file, if it is in this state before and after.
func (s *Source) readSum(ctx context.Context, req cache.Request, state fileState, rest func(time.Duration) error) (string, error) {
	file, now, err := s.open(req.Scope, req.ID, forContent)
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
	sum, err := hashOf(file, state.size, rest)
	if err != nil {
		return "", fmt.Errorf("hashing file: %w", err)
	}
	after, err := file.Stat()
	if err != nil || stateOf(after) != state {
		return "", errChanged
	}
	return sum, ctx.Err()
}

// hashOf reads a file of a known size to its end, with a rest after each piece.
func hashOf(file fs.File, size int64, rest func(worked time.Duration) error) (string, error) {
	sum := sha256.New()
	buf := make([]byte, min(hashPiece, size+1))
	for {
		began := time.Now()
		n, err := file.Read(buf)
		reading := time.Since(began)
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
		// reading takes CPU time only if the file is in the system's memory
		hashing := time.Since(began) - reading
		if err := rest(hashing + min(reading, hashing)); err != nil {
			return "", err
		}
	}
}

// sumKey returns the key of the hash of a file in one state. ok is false if the hash must
// not be shared, because a change of the content would not be detected.
func (s *Source) sumKey(req cache.Request, state fileState) (key string, ok bool) {
	if !state.changeShows() {
		return "", false
	}
	return s.fleet.KeyPrefix() + "file:meta:sha256:" + strconv.FormatInt(state.size, 10) + "-" +
		strconv.FormatInt(state.modified, 10) + state.version.inKey() + ":" +
		cache.KeyIdentity(fullName(req.Scope, req.ID), false), true
}

// leaseSum takes the lease to hash a file. sum is the hash if the fleet has it, and wait
// is how long to wait if another node holds the lease. If the store does not answer, the
// file is hashed without a lease.
func (s *Source) leaseSum(ctx context.Context, key string, state fileState) (sum, token string, wait time.Duration) {
	// twice the time that it takes while requests come: a node that dies does
	// not delay the others for long
	ttl := 10*time.Second + time.Duration(2*float64(hashTime(state.size))/s.hasher.worker.pace.busyCore)
	call, cancel := context.WithTimeout(ctx, sumTimeout)
	defer cancel()
	token, now, err := s.fleet.Cache().Store().Acquire(call, key, nil, ttl, false)
	switch {
	case err != nil, token != "":
		return "", token, 0
	case now.Record == nil:
		return "", "", min(ttl/20, time.Second)
	}
	if sum = readFields(now.Record).sum; len(sum) != hex.EncodedLen(sha256.Size) {
		return "", "", 0
	}
	return sum, "", 0
}

// shareSum stores a hash for the fleet, which ends the lease. If it fails, other
// nodes read the file as well.
func (s *Source) shareSum(ctx context.Context, key, token string, state fileState, sum string) {
	record, err := cache.Encode(fileRecord{SHA256: sum}, maxRecord)
	if err != nil {
		return
	}
	ttl := maxSumTTL
	if age := state.unchangedFor(time.Now()); age < maxSumTTL/sumTTLPerAge {
		ttl = max(minSumTTL, sumTTLPerAge*age)
	}
	call, cancel := context.WithTimeout(ctx, sumTimeout)
	defer cancel()
	_, _ = s.fleet.Cache().Store().Fill(call, key, token, nil, record, nil, ttl)
}

// releaseSum ends a lease without a hash; if it fails, the lease expires.
func (s *Source) releaseSum(ctx context.Context, key, token string) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), sumTimeout)
	defer cancel()
	_ = s.fleet.Cache().Store().Release(call, key, token)
}
