// Leases of many keys in one script, for many fast loads, as of files.

package redis

import (
	"context"
	"crypto/rand"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/filewallball/caddy-filewallball/cache"
)

// leaseBatch is how many leases one script takes or uses, about half a
// millisecond of the server's time.
const leaseBatch = 100

// acquireMany takes the leases of keys without a record. Keys: the record, the lease
// and the note of each. Arguments: token, TTL of the leases. It answers 1 for each
// lease that it took, else 0.
var acquireMany = goredis.NewScript(`
local taken = {}
for i = 1, #KEYS, 3 do
	local got = 0
	if redis.call('EXISTS', KEYS[i]) == 0 and
		(redis.call('SET', KEYS[i+1], ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('GET', KEYS[i+1]) == ARGV[1]) then
		redis.call('UNLINK', KEYS[i+2])
		got = 1
	end
	taken[#taken+1] = got
end
return taken`)

// fillMany writes records under leases. Keys: the record and the lease of each.
// Arguments: token, and then TTL and text of each. It answers 1 for each record that
// it wrote, else 0.
var fillMany = goredis.NewScript(`
local filled = {}
for i = 1, #KEYS, 2 do
	local wrote = 0
	if redis.call('GET', KEYS[i+1]) == ARGV[1] then
		redis.call('UNLINK', KEYS[i+1])
		if redis.call('EXISTS', KEYS[i]) == 0 then
			redis.call('SET', KEYS[i], ARGV[i+2], 'PX', ARGV[i+1])
			wrote = 1
		end
	end
	filled[#filled+1] = wrote
end
return filled`)

// AcquireMany implements [cache.BatchLoader]. A script may not use keys of several
// servers, so it does nothing in a cluster.
func (s *Store) AcquireMany(ctx context.Context, keys []string, ttl time.Duration) (token string, taken []bool, err error) {
	if !s.oneServer() || s.doubtsAbsence() {
		return "", nil, nil
	}
	if err := checkTTL(ttl); err != nil {
		return "", nil, err
	}
	token, taken = rand.Text(), make([]bool, len(keys))
	err = s.inBatches(len(keys), taken, func(from, to int) ([]int64, error) {
		var names []string
		for _, key := range keys[from:to] {
			names = append(names, s.loadKeys(key)...)
		}
		return acquireMany.Run(ctx, s.primary, names, token, ttl.Milliseconds()).Int64Slice()
	})
	if err != nil {
		return token, nil, s.failed("taking leases", err)
	}
	return token, taken, nil
}

// FillMany implements [cache.BatchLoader].
func (s *Store) FillMany(ctx context.Context, token string, items []cache.Item) (filled []bool, err error) {
	for _, item := range items {
		if err := s.check(item.Record, item.TTL); err != nil {
			return nil, err
		}
	}
	filled = make([]bool, len(items))
	err = s.inBatches(len(items), filled, func(from, to int) ([]int64, error) {
		args := []any{token}
		var names []string
		for _, item := range items[from:to] {
			names = append(names, item.Key, s.leases.of(item.Key))
			args = append(args, item.TTL.Milliseconds(), item.Record.Text())
		}
		return fillMany.Run(ctx, s.primary, names, args...).Int64Slice()
	})
	if err != nil {
		return nil, s.failed("filling records", err)
	}
	return filled, nil
}

// inBatches runs a script for parts of n keys. It sets done for each key for which the
// script answers 1.
func (s *Store) inBatches(n int, done []bool, run func(from, to int) ([]int64, error)) error {
	if s.closed.Load() {
		return goredis.ErrClosed
	}
	var group errgroup.Group
	group.SetLimit(parallelPipelines)
	for from := 0; from < n; from += leaseBatch {
		to := min(n, from+leaseBatch)
		group.Go(func() error {
			answers, err := run(from, to)
			if err == nil && len(answers) != to-from {
				err = errMalformed
			}
			if err != nil {
				return err
			}
			for i, answer := range answers {
				done[from+i] = answer == 1
			}
			return nil
		})
	}
	return group.Wait()
}

// Interface guard
var _ cache.BatchLoader = (*Store)(nil)
