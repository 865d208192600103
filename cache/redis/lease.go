package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// The scripts take the keys of the record, of its lease, and of the note on how
// its last load ended. A request may be sent again because its answer was lost:
// a token that already holds the lease gets it again.
//
// The note is a separate key because trackers watch notes, which wakes waiting
// loads. Of a load they watch nothing else but the record.

// acquire: token, TTL of the lease, largest text, whether the caller has waited
// (1 or 0), TTL of the list of drops, old text if there is any. A fourth key is
// that list, for a lease whose record may bear tags. The answer is one of
// these:
//
//   - {1, TTL of the old record}: the lease is taken; with a fourth key, the mark
//     follows;
//   - 0: another load has the lease;
//   - the note of a load that ended without a record, if the caller has waited;
//   - text and TTL of a record that is not the old one.
var acquire = newLeaseScript(markLua+`
local ttl = redis.call('PTTL', KEYS[1])
if ttl ~= -2 then
	local text = redis.call('GETRANGE', KEYS[1], 0, ARGV[3])
	if text ~= ARGV[6] then return {text, ttl} end
end
local ended = redis.call('GET', KEYS[3])
if ended and ended ~= 'released' and ARGV[4] == '1' then return ended end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ended then redis.call('UNLINK', KEYS[3]) end
if not KEYS[4] then return {1, ttl} end
local id, nonce = mark(KEYS[4], ARGV[1], ARGV[5])
return {1, ttl, id, nonce}`, 3, 1, true, 6)

// fill: token, TTL of the record, largest text, text, old text if there is any.
// It answers whether it wrote.
var fill = newLeaseScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('GETRANGE', KEYS[1], 0, ARGV[3]) ~= ARGV[5] then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[2])
return 1`, 2, 1, true, 5)

// release: token, note, TTL of the note.
var release = newLeaseScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1`, 2, 0, false, 3)

// The notes on how a load ended. The error follows noteFailed.
const (
	noteReleased = "released"
	noteUnstored = "unstored"
	noteFailed   = "failed:"
	// releasedFor is the TTL of a note that only wakes waiting loads.
	releasedFor = 10 * time.Millisecond
)

// Acquire takes the key's lease if the store has nothing newer than old.
func (s *Store) Acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	token, now, _, err := s.acquire(ctx, key, old, ttl, tagged, 0)
	return token, now, err
}

// Reacquire is Acquire for a caller that has waited for the lease.
func (s *Store) Reacquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, *cache.Ended, error) {
	return s.acquire(ctx, key, old, ttl, tagged, 1)
}

func (s *Store) acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool, waited int) (token string, now cache.Entry, ended *cache.Ended, err error) {
	if err := checkTTL(ttl); err != nil {
		return "", cache.Entry{}, nil, err
	}
	token = rand.Text()
	keys := s.loadKeys(key)
	oneServer := s.options.ClientType != Cluster
	if tagged && oneServer {
		keys = append(keys, s.leases.drops())
	}
	args := []any{token, ttl.Milliseconds(), s.options.MaxValueSize, waited, dropsTTL.Milliseconds()}
	if old != nil {
		args = append(args, old.Text())
	}
	answer, err := s.runLease(ctx, acquire, keys, args...).Result()
	if err != nil {
		if !mayBeDone(err) {
			token = ""
		}
		return token, cache.Entry{}, nil, s.failed("taking a lease", err)
	}
	switch answer := answer.(type) {
	case string:
		return "", cache.Entry{}, endedOf(answer), nil
	case []any:
		left, _ := answer[1].(int64)
		if text, newer := answer[0].(string); newer {
			return s.acquireOver(ctx, key, s.got(text, left, time.Now()), ttl, tagged, waited)
		}
		if left != -2 {
			now.Expires = expires(left, time.Now())
		}
		since := markOf(answer[2:])
		if tagged && !oneServer {
			since = s.markNow(ctx, token)
		}
		return token + since.String(), now, nil, nil
	}
	return "", cache.Entry{}, nil, nil
}

// acquireOver handles a record that is not the old one: it is newer, or it is
// invalid because one of its tags was dropped.
func (s *Store) acquireOver(ctx context.Context, key string, found cache.Got, ttl time.Duration, tagged bool, waited int) (token string, now cache.Entry, ended *cache.Ended, err error) {
	got := []cache.Got{found}
	s.checkTags(ctx, got)
	dropped := got[0].Old
	if dropped == nil {
		return "", got[0].Entry, nil, got[0].Err
	}
	token, now, ended, err = s.acquire(ctx, key, dropped, ttl, tagged, waited)
	if token != "" && now.Old == nil {
		now.Old = dropped
	}
	return token, now, ended, err
}

// mayBeDone reports whether Redis may carry out a command that failed here: it
// was sent, and no answer came.
func mayBeDone(err error) bool {
	var answer goredis.Error
	var network *net.OpError
	switch {
	case isOwn(err), errors.Is(err, errBreakerOpen), errors.As(err, &answer):
		return false
	case errors.As(err, &network) && network.Op == "dial":
		return false
	}
	return true
}

// loadKeys are the keys that a load of a record uses.
func (s *Store) loadKeys(key string) []string {
	return []string{key, s.leases.of(key), s.leases.noteOf(key)}
}

// endedOf reads a note. It returns nil for a note that this version does not
// know.
func endedOf(note string) *cache.Ended {
	if failure, failed := strings.CutPrefix(note, noteFailed); failed {
		return &cache.Ended{Failure: failure[:min(len(failure), cache.MaxFailure)]}
	}
	if note == noteUnstored {
		return new(cache.Ended)
	}
	return nil
}

// Fill writes a record under a lease if the store has nothing newer than old.
func (s *Store) Fill(ctx context.Context, key, token string, old, record *cache.Record, tags []string, ttl time.Duration) (bool, error) {
	const doing = "filling a record"
	if err := s.check(record, ttl); err != nil {
		return false, err
	}
	lease, since := splitToken(token)
	if len(tags) > 0 {
		tagged, ok, err := s.bear(ctx, record, tags, since, ttl)
		if err != nil {
			return false, s.failed(doing, err)
		}
		if !ok || tagged.Size() > s.options.MaxValueSize {
			return false, s.Release(ctx, key, token)
		}
		record = tagged
	}
	args := []any{lease, ttl.Milliseconds(), s.options.MaxValueSize, record.Text()}
	if old != nil {
		args = append(args, old.Text())
	}
	filled, err := s.runLease(ctx, fill, []string{key, s.leases.of(key)}, args...).Bool()
	if err != nil {
		return false, s.failed(doing, err)
	}
	return filled, nil
}

// Release ends a lease that was not used.
func (s *Store) Release(ctx context.Context, key, token string) error {
	return s.release(ctx, key, token, noteReleased, releasedFor)
}

// Abandon ends a lease whose load filled nothing, and notes how it ended.
func (s *Store) Abandon(ctx context.Context, key, token string, ended cache.Ended) error {
	note := noteUnstored
	if ended.Failure != "" {
		note = noteFailed + ended.Failure[:min(len(ended.Failure), cache.MaxFailure)]
	}
	return s.release(ctx, key, token, note, cache.EndedFor)
}

// noteEnded wakes those who wait for loads whose leases an invalidation has
// ended. Without room for the notes they are not woken, and look again after a
// while.
func (s *Store) noteEnded(ctx context.Context, leases []string) {
	pipe := s.primary.Pipeline()
	for _, lease := range leases {
		_ = pipe.Process(ctx, goredis.NewStatusCmd(ctx, "set", s.leases.noteOn(lease), noteReleased, "px", releasedFor.Milliseconds()))
	}
	_, _ = pipe.Exec(context.WithValue(ctx, ownWork{}, true))
}

func (s *Store) release(ctx context.Context, key, token, note string, ttl time.Duration) error {
	lease, _ := splitToken(token)
	keys := s.loadKeys(key)[1:]
	if err := s.runLease(ctx, release, keys, lease, note, ttl.Milliseconds()).Err(); err != nil {
		return s.failed("releasing a lease", err)
	}
	return nil
}
