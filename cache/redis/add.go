// Writing what must not replace anything: records of a backup.

package redis

import (
	"context"
	"errors"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// addScript: keys of the record and of its lease; text, TTL. It answers 1 where it
// wrote. It is sent whole, because a pipeline cannot learn in time that a
// server does not have it.
const addScript = `
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 end
return 0`

// AddMany writes the records whose keys have neither a record nor a lease.
// One that was written although its answer got lost is not counted.
func (s *Store) AddMany(ctx context.Context, items []cache.Item) (added int, err error) {
	const doing = "adding records"
	if s.closed.Load() {
		return 0, s.failed(doing, goredis.ErrClosed)
	}
	for _, item := range items {
		if err := s.check(item.Record, item.TTL); err != nil {
			return 0, err
		}
	}
	for len(items) > 0 {
		n := fitting(items)
		pipe := s.primary.Pipeline()
		cmds := make([]*goredis.Cmd, n)
		for i, item := range items[:n] {
			cmds[i] = pipe.Eval(ctx, addScript, []string{item.Key, s.leases.of(item.Key)}, item.Record.Text(), item.TTL.Milliseconds())
		}
		_, err := pipe.Exec(ctx)
		for _, cmd := range cmds {
			wrote, failed := cmd.Int()
			added += wrote
			err = errors.Join(err, failed)
		}
		if err != nil {
			return added, s.failed(doing, err)
		}
		items = items[n:]
	}
	return added, nil
}
