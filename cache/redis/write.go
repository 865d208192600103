// Writing, extending and deleting records.

package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Set writes a record and ends the key's lease.
func (s *Store) Set(ctx context.Context, key string, record *cache.Record, ttl time.Duration) error {
	return s.SetMany(ctx, []cache.Item{{Key: key, Record: record, TTL: ttl}})
}

// SetMany writes many records and ends their keys' leases. After an error, some
// may have been written.
func (s *Store) SetMany(ctx context.Context, items []cache.Item) error {
	if s.closed.Load() {
		return s.failed("writing records", goredis.ErrClosed)
	}
	for _, item := range items {
		if err := s.check(item.Record, item.TTL); err != nil {
			return err
		}
	}
	if n := fitting(items); n == len(items) {
		return s.writePipeline(ctx, items)
	}
	var group errgroup.Group // so that this side works while the server does
	group.SetLimit(parallelPipelines)
	for items := lastOfEach(items); len(items) > 0; {
		n := fitting(items)
		part := items[:n]
		group.Go(func() error { return s.writePipeline(ctx, part) })
		items = items[n:]
	}
	return group.Wait()
}

// lastOfEach removes the items that a later item overwrites.
func lastOfEach(items []cache.Item) []cache.Item {
	last := make(map[string]int, len(items))
	for i, item := range items {
		last[item.Key] = i
	}
	if len(last) == len(items) {
		return items
	}
	var kept []cache.Item
	for i, item := range items {
		if last[item.Key] == i {
			kept = append(kept, item)
		}
	}
	return kept
}

// fitting returns how many of the items fit into one pipeline, at least one.
func fitting(items []cache.Item) (n int) {
	for size := 0; n < len(items) && n < pipelineKeys && (n == 0 || size+items[n].Record.Size() <= pipelineBytes); n++ {
		size += items[n].Record.Size()
	}
	return n
}

func (s *Store) writePipeline(ctx context.Context, items []cache.Item) error {
	pipe := s.primary.Pipeline()
	leases := make([]string, len(items))
	for i, item := range items {
		leases[i] = s.leases.of(item.Key)
	}
	s.unlink(ctx, pipe, leases)
	for _, item := range items {
		_ = pipe.Process(ctx, goredis.NewStatusCmd(ctx, "set", item.Key, item.Record.Text(), "px", item.TTL.Milliseconds()))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return s.failed("writing records", err)
	}
	return nil
}

// check returns an error if a record may not be written.
func (s *Store) check(record *cache.Record, ttl time.Duration) error {
	if record.Size() > s.options.MaxValueSize {
		return fmt.Errorf("%w: value is larger than %d bytes", cache.ErrInvalidRecord, s.options.MaxValueSize)
	}
	return checkTTL(ttl)
}

func checkTTL(ttl time.Duration) error {
	if ttl < cache.MinTTL {
		return fmt.Errorf("ttl is %s, want at least %s", ttl, cache.MinTTL)
	}
	return nil
}

// Touch gives an existing record a new TTL, and its tags one to match.
func (s *Store) Touch(ctx context.Context, key string, record *cache.Record, ttl time.Duration) (bool, error) {
	if err := checkTTL(ttl); err != nil {
		return false, err
	}
	pipe := s.primary.Pipeline()
	s.extendTags(ctx, pipe, record, ttl)
	cmd := goredis.NewBoolCmd(ctx, "pexpire", key, ttl.Milliseconds())
	_ = pipe.Process(ctx, cmd)
	if _, err := pipe.Exec(ctx); err != nil {
		return false, s.failed("extending a record", err)
	}
	return cmd.Val(), nil
}

// Delete drops records and ends the keys' leases. After an error, some may have
// been dropped.
func (s *Store) Delete(ctx context.Context, keys ...string) (int, error) {
	if s.closed.Load() {
		return 0, s.failed("deleting records", goredis.ErrClosed)
	}
	deleted := 0
	for len(keys) > 0 {
		n := min(len(keys), pipelineKeys)
		pipe := s.primary.Pipeline()
		leases := make([]string, n)
		for i, key := range keys[:n] {
			leases[i] = s.leases.of(key)
		}
		ended := s.unlink(ctx, pipe, leases)
		unlinked := s.unlink(ctx, pipe, keys[:n])
		_, err := pipe.Exec(ctx)
		deleted += int(sum(unlinked))
		if sum(ended) > 0 {
			s.noteEnded(ctx, leases)
		}
		if err != nil {
			return deleted, s.failed("deleting records", err)
		}
		keys = keys[n:]
	}
	return deleted, nil
}

// sum adds up the answers of commands that count keys.
func sum(cmds []*goredis.IntCmd) (n int64) {
	for _, cmd := range cmds {
		n += cmd.Val()
	}
	return n
}

// unlink adds to a pipeline the commands that drop keys: a single one if all keys are
// on one server.
func (s *Store) unlink(ctx context.Context, pipe goredis.Pipeliner, keys []string) (cmds []*goredis.IntCmd) {
	if s.options.ClientType != Cluster && len(keys) > 0 {
		return append(cmds, pipe.Unlink(ctx, keys...))
	}
	for _, key := range keys {
		cmds = append(cmds, pipe.Unlink(ctx, key))
	}
	return cmds
}
