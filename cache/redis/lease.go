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

// Each script is one round trip, which concurrent loads share.
//
// The scripts take the keys of the record, of its lease, and of the note on how
// its last load ended. A request may be sent again because its answer was lost:
// a token that already holds the lease gets it again.
//
// The note is a separate key because trackers watch notes, which wakes waiting
// loads. They do not watch leases.

// acquire takes a lease. Arguments: token, TTL of the lease, largest text, whether the
// caller has waited (1 or 0), TTL of the list of drops, old text if there is any. A
// fourth key is that list, for a lease whose record may bear tags. The answer is one
// of these:
//
//   - {1, TTL of the old record}: the lease is taken; with a fourth key, the mark
//     follows;
//   - 0: another load has the lease;
//   - the note of a load that ended without a record, if the caller has waited;
//   - text and TTL of a record that is not the old one;
//   - the error of a value that is not a string.
var acquire = newLeaseScript(markLua+`
local ttl = redis.call('PTTL', KEYS[1])
if ttl ~= -2 then
	local text = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[3])
	if type(text) ~= 'string' then return text end
	if text ~= ARGV[6] then return {text, ttl} end
end
local ended = redis.call('GET', KEYS[3])
if ended and ended ~= 'released' and ARGV[4] == '1' then return ended end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ended then redis.call('UNLINK', KEYS[3]) end
if not KEYS[4] then return {1, ttl} end
local id, nonce = mark(KEYS[4], ARGV[1], ARGV[5])
return {1, ttl, id, nonce}`, 3, 1, true, 6)

// fill writes a record under a lease. Arguments: token, TTL of the record, largest
// text, text, old text if there is any. It answers 1 if it wrote, else 0.
var fill = newLeaseScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('GETRANGE', KEYS[1], 0, ARGV[3]) ~= ARGV[5] then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[2])
return 1`, 2, 1, true, 5)

// release ends a lease and writes the note. Arguments: token, note, TTL of the note.
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

// GetOrAcquire reads a record, or takes the lease of a key that has none, in one
// round trip to the primary. With replicas, the read is a round trip of its own.
func (s *Store) GetOrAcquire(ctx context.Context, key string, ttl time.Duration, tagged bool) (token string, now cache.Entry, err error) {
	if s.reader != nil || s.doubtsAbsence() {
		if now, err = s.Get(ctx, key); err != nil || now.Record != nil {
			return "", now, err
		}
		return s.acquireDropped(ctx, key, now.Old, ttl, tagged)
	}
	a, err := s.newAcquiring(key, nil, ttl, tagged, false)
	if err != nil {
		return "", cache.Entry{}, err
	}
	read := &readCall{key: key, acquire: a.call}
	if err := s.reads.do(ctx, key, read); err != nil {
		return a.lost(err), cache.Entry{}, err
	}
	switch got := read.got; {
	case isReply(a.call.err) && !isWrongType(a.call.err):
		// the server may still answer reads: it refuses scripts, or writes
		if now, err := s.Get(ctx, key); errors.Is(err, cache.ErrInvalidRecord) || err == nil && now.Record != nil {
			return "", now, err
		}
	case got.Old != nil:
		return s.acquireDropped(ctx, key, got.Old, ttl, tagged)
	case got.Record != nil, got.Err != nil:
		return "", got.Entry, got.Err
	}
	token, now, _, err = a.result(ctx)
	if err == nil && s.doubtsAbsence() {
		err = s.failed("taking a lease", errSwitched)
	}
	return token, now, err
}

// acquireDropped is Acquire where the stored record, if any, is invalid because one
// of its tags was dropped.
func (s *Store) acquireDropped(ctx context.Context, key string, dropped *cache.Record, ttl time.Duration, tagged bool) (token string, now cache.Entry, err error) {
	token, now, err = s.Acquire(ctx, key, dropped, ttl, tagged)
	if token != "" && now.Old == nil {
		now.Old = dropped
	}
	return token, now, err
}

// Acquire takes the key's lease if the store has nothing newer than old.
func (s *Store) Acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, error) {
	token, now, _, err := s.acquire(ctx, key, old, ttl, tagged, false)
	return token, now, err
}

// Reacquire is Acquire for a caller that has waited for the lease.
func (s *Store) Reacquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged bool) (string, cache.Entry, *cache.Ended, error) {
	return s.acquire(ctx, key, old, ttl, tagged, true)
}

func (s *Store) acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration, tagged, waited bool) (token string, now cache.Entry, ended *cache.Ended, err error) {
	a, err := s.newAcquiring(key, old, ttl, tagged, waited)
	if err != nil {
		return "", cache.Entry{}, nil, err
	}
	if err := s.ends.do(ctx, key, a.call); err != nil {
		return a.lost(err), cache.Entry{}, nil, err
	}
	found := []cache.Got{s.newerOf(a.call)}
	if found[0].Record == nil && found[0].Err == nil {
		return a.result(ctx)
	}
	// a record that is not the old one: it is newer, or one of its tags was dropped
	s.checkTags(ctx, found)
	dropped := found[0].Old
	if dropped == nil {
		return "", found[0].Entry, nil, found[0].Err
	}
	token, now, ended, err = s.acquire(ctx, key, dropped, ttl, tagged, waited)
	if token != "" && now.Old == nil {
		now.Old = dropped
	}
	return token, now, ended, err
}

// acquiring is one attempt to take a lease.
type acquiring struct {
	store  *Store
	token  string
	tagged bool
	call   *scriptCall
}

func (s *Store) newAcquiring(key string, old *cache.Record, ttl time.Duration, tagged, waited bool) (*acquiring, error) {
	if err := checkTTL(ttl); err != nil {
		return nil, err
	}
	a := &acquiring{store: s, token: rand.Text(), tagged: tagged}
	keys := s.loadKeys(key)
	if tagged && s.oneServer() {
		keys = append(keys, s.leases.drops())
	}
	flag := 0
	if waited {
		flag = 1
	}
	args := []any{a.token, ttl.Milliseconds(), s.options.MaxValueSize, flag, dropsTTL.Milliseconds()}
	if old != nil {
		args = append(args, old.Text())
	}
	a.call = &scriptCall{script: &acquire, keys: keys, args: args}
	return a, nil
}

// oneServer reports whether all keys are on one server.
func (s *Store) oneServer() bool { return s.options.ClientType != Cluster }

// newerOf returns the record that an acquire found instead of the old one, or its
// error.
func (s *Store) newerOf(c *scriptCall) cache.Got {
	if isWrongType(c.err) {
		return cache.Got{Err: errWrongType}
	}
	if answer, ok := c.answer.([]any); ok && len(answer) == 2 {
		if text, newer := answer[0].(string); newer {
			left, _ := answer[1].(int64)
			return s.got(text, left, time.Now())
		}
	}
	return cache.Got{}
}

// lost returns the token after an error if the lease may be held nevertheless, else "".
func (a *acquiring) lost(err error) string {
	if !mayBeDone(err) {
		return ""
	}
	return a.token
}

// result returns the result of an attempt that found no other record.
func (a *acquiring) result(ctx context.Context) (token string, now cache.Entry, ended *cache.Ended, err error) {
	if err := a.call.err; err != nil {
		return a.lost(err), cache.Entry{}, nil, a.store.failed("taking a lease", err)
	}
	switch answer := a.call.answer.(type) {
	case string:
		return "", cache.Entry{}, endedOf(answer), nil
	case []any:
		if left, _ := answer[1].(int64); left != -2 {
			now.Expires = expires(left, time.Now())
		}
		since := markOf(answer[2:])
		if a.tagged && !a.store.oneServer() {
			since = a.store.markNow(ctx, a.token)
		}
		return a.token + since.String(), now, nil, nil
	}
	return "", cache.Entry{}, nil, nil
}

// mayBeDone reports whether Redis may carry out a command that failed here: it
// was sent, and no answer came.
func mayBeDone(err error) bool {
	var answer goredis.Error
	var network *net.OpError
	var late *lateError
	switch {
	case errors.As(err, &late):
		return true
	case isInconclusive(err), errors.Is(err, errBreakerOpen), errors.As(err, &answer):
		return false
	case errors.As(err, &network) && network.Op == "dial":
		return false
	}
	return true
}

// loadKeys are the keys that a load of a record uses.
func (s *Store) loadKeys(key string) []string {
	lease := s.leases.of(key)
	return []string{key, lease, s.leases.noteOn(lease)}
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
	if len(tags) > 0 && since == (mark{}) {
		return false, s.Release(ctx, key, token)
	}
	if len(tags) > 0 && s.oneServer() {
		return s.runFill(ctx, key, s.fillWithTags(key, lease, old, record, tags, since, ttl))
	}
	if len(tags) > 0 {
		tagged, ok, err := s.withVersions(ctx, record, tags, since, ttl)
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
	return s.runFill(ctx, key, &scriptCall{script: &fill, keys: []string{key, s.leases.of(key)}, args: args, bytes: record.Size()})
}

func (s *Store) runFill(ctx context.Context, key string, c *scriptCall) (filled bool, err error) {
	if err := s.ends.do(ctx, key, c); err != nil {
		return false, err
	}
	if c.err != nil {
		return false, s.failed("filling a record", c.err)
	}
	return c.answer == int64(1), nil
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

// noteEnded wakes the loads that wait for leases which an invalidation has ended. If
// the server has no room for the notes, these loads poll instead.
func (s *Store) noteEnded(ctx context.Context, leases []string) {
	pipe := s.primary.Pipeline()
	for _, lease := range leases {
		_ = pipe.Process(ctx, goredis.NewStatusCmd(ctx, "set", s.leases.noteOn(lease), noteReleased, "px", releasedFor.Milliseconds()))
	}
	_, _ = pipe.Exec(context.WithValue(ctx, ownWork{}, true))
}

func (s *Store) release(ctx context.Context, key, token, note string, ttl time.Duration) error {
	lease, _ := splitToken(token)
	c := &scriptCall{script: &release, keys: s.loadKeys(key)[1:], args: []any{lease, note, ttl.Milliseconds()}}
	if err := s.ends.do(ctx, key, c); err != nil {
		return err
	}
	if c.err != nil {
		return s.failed("releasing a lease", c.err)
	}
	return nil
}
