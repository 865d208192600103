package redis

import (
	"context"
	"crypto/rand"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// The scripts get the keys of the record and of its lease. A request that is
// sent again, because its answer got lost, does no harm: who has the lease
// already is given it once more.

// acquire: token, TTL of the lease, largest text, old text if there is any.
// It answers 1 where the lease is taken, 0 where another has it, or text and
// TTL of a record that is not the old one.
var acquire = goredis.NewScript(`
local ttl = redis.call('PTTL', KEYS[1])
if ttl ~= -2 then
	local text = redis.call('GETRANGE', KEYS[1], 0, ARGV[3])
	if text ~= ARGV[4] then return {text, ttl} end
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[2]) == ARGV[1] then return 1 end
return 0`)

// fill: token, TTL of the record, largest text, text, old text if there is any.
// It answers whether it wrote.
var fill = goredis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('GETRANGE', KEYS[1], 0, ARGV[3]) ~= ARGV[5] then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[2])
return 1`)

// release: token.
var release = goredis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0`)

// Acquire takes the key's lease where the store has nothing newer than old.
func (s *Store) Acquire(ctx context.Context, key string, old *cache.Record, ttl time.Duration) (string, cache.Entry, error) {
	const doing = "taking a lease"
	if err := checkTTL(ttl); err != nil {
		return "", cache.Entry{}, err
	}
	token := rand.Text()
	args := []any{token, ttl.Milliseconds(), s.options.MaxValueSize}
	if old != nil {
		args = append(args, old.Text())
	}
	answer, err := acquire.Run(ctx, s.primary, []string{key, s.leases.of(key)}, args...).Result()
	if err != nil {
		return "", cache.Entry{}, s.failed(doing, err)
	}
	switch answer := answer.(type) {
	case int64:
		if answer == 1 {
			return token, cache.Entry{}, nil
		}
	case []any:
		text, _ := answer[0].(string)
		ttl, _ := answer[1].(int64)
		got := s.got(text, ttl, time.Now())
		return "", got.Entry, got.Err
	}
	return "", cache.Entry{}, nil
}

// Fill writes a record under a lease where the store has nothing newer than old.
func (s *Store) Fill(ctx context.Context, key, token string, old, record *cache.Record, ttl time.Duration) (bool, error) {
	if err := s.check(record, ttl); err != nil {
		return false, err
	}
	args := []any{token, ttl.Milliseconds(), s.options.MaxValueSize, record.Text()}
	if old != nil {
		args = append(args, old.Text())
	}
	filled, err := fill.Run(ctx, s.primary, []string{key, s.leases.of(key)}, args...).Bool()
	if err != nil {
		return false, s.failed("filling a record", err)
	}
	return filled, nil
}

// Release ends a lease that was not used.
func (s *Store) Release(ctx context.Context, key, token string) error {
	if err := release.Run(ctx, s.primary, []string{s.leases.of(key)}, token).Err(); err != nil {
		return s.failed("releasing a lease", err)
	}
	return nil
}
