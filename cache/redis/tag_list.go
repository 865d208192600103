package redis

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Tags lists the keys that bear tags, of one master after the other, a part of
// a tag at a time.
func (s *Store) Tags(ctx context.Context) iter.Seq2[cache.Tagged, error] {
	return func(yield func(cache.Tagged, error) bool) {
		err := s.eachTag(ctx, func(tag, bearers string) error {
			return s.eachBearer(ctx, bearers, func(key string, expires int64) error {
				if !yield(cache.Tagged{Tag: tag, Key: key, Expires: expires}, nil) {
					return errEnough
				}
				return nil
			})
		})
		if err != nil && err != errEnough {
			yield(cache.Tagged{}, s.failed("listing tags", err))
		}
	}
}

// errEnough says that the reader of a list has seen enough.
var errEnough = errors.New("listing ended early")

// eachTag finds the tags of all masters.
func (s *Store) eachTag(ctx context.Context, each func(tag, bearers string) error) error {
	if s.closed.Load() {
		return goredis.ErrClosed
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return err
	}
	match := globEscaper.Replace(s.leases.tagPrefix()) + "*"
	for _, shard := range shards {
		for cursor, more := uint64(0), true; more; more = cursor != 0 {
			var keys []string
			if keys, cursor, err = shard.client.Scan(ctx, cursor, match, scanCount).Result(); err != nil {
				return err
			}
			for _, key := range keys {
				if err := each(s.leases.tagOf(key), key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// eachBearer goes through the keys of one tag that have not expired.
func (s *Store) eachBearer(ctx context.Context, bearers string, each func(key string, expires int64) error) error {
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var scored []string // keys, each with its score after it
		var err error
		if scored, cursor, err = s.primary.ZScan(ctx, bearers, cursor, "", scanCount).Result(); err != nil {
			if isWrongType(err) {
				return nil // a stranger's
			}
			return err
		}
		for i := 0; i+1 < len(scored); i += 2 {
			score, err := strconv.ParseFloat(scored[i+1], 64)
			if err != nil {
				return err
			}
			at := time.UnixMilli(int64(score))
			if !at.After(time.Now()) {
				continue
			}
			if err := each(scored[i], at.UnixNano()); err != nil {
				return err
			}
		}
	}
	return nil
}
