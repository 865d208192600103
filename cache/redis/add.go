// Adding records without replacing any, for a restore.

package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// addScript adds a record. Keys: the record and its lease. Arguments: text, TTL. It
// answers 1 if it wrote. It is sent as a whole, because a pipeline cannot fall back
// to EVAL when the server does not know a script.
const addScript = `
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 end
return 0`

// AddMany writes the records whose keys have neither a record nor a lease. A
// record that was written although its answer was lost is not counted.
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
		errs := []error{err}
		var left []cache.Item
		for i, cmd := range cmds {
			wrote, failed := cmd.Int()
			added += wrote
			errs = append(errs, failed)
			if wrote == 0 {
				left = append(left, items[i])
			}
		}
		if err := joinOnce(errs...); err != nil {
			return added, s.failed(doing, err)
		}
		replaced, err := s.replaceDropped(ctx, left)
		added += replaced
		if err != nil {
			return added, err
		}
		items = items[n:]
	}
	return added, nil
}

// addLease is how long an interrupted addition blocks the key.
const addLease = time.Second

// replaceDropped writes the records whose keys hold an invalid record, one with
// a dropped tag.
func (s *Store) replaceDropped(ctx context.Context, items []cache.Item) (replaced int, err error) {
	if len(items) == 0 {
		return 0, nil
	}
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = item.Key
	}
	got, err := s.GetMany(ctx, keys)
	if err != nil {
		return 0, err
	}
	for i, item := range items {
		if got[i].Old == nil {
			continue
		}
		token, _, err := s.Acquire(ctx, item.Key, got[i].Old, addLease, false)
		if err != nil {
			return replaced, err
		}
		filled, err := s.Fill(ctx, item.Key, token, got[i].Old, item.Record, nil, item.TTL)
		if err != nil {
			return replaced, err
		}
		if filled {
			replaced++
		}
	}
	return replaced, nil
}
