package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// A tag is a sorted set of the keys that bear it, scored by when they expire.
// It never outgrows its records by much: each key that is added prunes those
// that have expired, and the set expires with its last key.

// tagKey: key, its TTL, how long a drop is remembered; it answers how long ago
// the tag was dropped, or -1. Times are in milliseconds, by the server's clock.
var tagKey = goredis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local left = redis.call('PTTL', KEYS[2])
if left < 0 then return -1 end
return ARGV[3] - left`)

// Tag notes that a key bears tags.
func (s *Store) Tag(ctx context.Context, key string, tags []string, ttl time.Duration, began time.Time) (bool, error) {
	if err := checkTTL(ttl); err != nil {
		return false, err
	}
	for _, tag := range tags {
		bearers, dropped := s.leases.ofTag(tag)
		age, err := tagKey.Run(ctx, s.primary, []string{bearers, dropped},
			key, ttl.Milliseconds(), cache.TagMemory.Milliseconds()).Int64()
		if err != nil {
			return false, s.failed("tagging a key", err)
		}
		// The clocks of two machines are compared by how long ago each event
		// was: began is that long ago when the answer is here, the drop was
		// when it was made. So a drop shortly before may count as one after,
		// never the other way round. A millisecond more, for both are rounded.
		if age >= 0 && age <= time.Since(began).Milliseconds()+1 {
			return false, nil
		}
	}
	return time.Since(began) < cache.TagMemory, nil
}

// DeleteTag drops the records that bear a tag. Where it fails, some may be
// dropped, and the tag still has the others.
func (s *Store) DeleteTag(ctx context.Context, tag string) (int, error) {
	const doing = "deleting by tag"
	if tag == "" {
		return 0, errors.New("deleting by tag: the tag is empty")
	}
	bearers, dropped := s.leases.ofTag(tag)
	// whoever files a key from now on hears of it
	if err := s.primary.Set(ctx, dropped, "", cache.TagMemory).Err(); err != nil {
		return 0, s.failed(doing, err)
	}
	deleted := 0
	for {
		keys, err := s.primary.ZRange(ctx, bearers, 0, pipelineKeys-1).Result()
		if err != nil {
			return deleted, s.failed(doing, err)
		}
		if len(keys) == 0 {
			return deleted, nil
		}
		n, err := s.Delete(ctx, keys...)
		deleted += n
		if err != nil {
			return deleted, err
		}
		members := make([]any, len(keys))
		for i, key := range keys {
			members[i] = key
		}
		if err := s.primary.ZRem(ctx, bearers, members...).Err(); err != nil {
			return deleted, s.failed(doing, err)
		}
	}
}
