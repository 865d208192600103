package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// shard is one master. A single server has one shard.
type shard struct {
	slot   int    // the lowest that it serves
	server string // identifies the master
	client scanner
}

type scanner interface {
	Scan(ctx context.Context, cursor uint64, match string, count int64) *goredis.ScanCmd
	Info(ctx context.Context, sections ...string) *goredis.StringCmd
	Ping(ctx context.Context) *goredis.StatusCmd
}

// shards lists the masters by their lowest slots.
func (s *Store) shards(ctx context.Context) ([]shard, error) {
	cluster, ok := s.primary.(*goredis.ClusterClient)
	if !ok {
		return []shard{{client: s.primary, server: "0"}}, nil
	}
	var shards []shard
	known := make(map[*goredis.Client]bool)
	for slot := range slotCount {
		client, err := cluster.MasterForKey(ctx, s.leases.slotTag(slot))
		if err != nil {
			return nil, err
		}
		if !known[client] {
			known[client] = true
			shards = append(shards, shard{slot: slot, server: shortHash(client.Options().Addr), client: client})
		}
	}
	return shards, nil
}

// shortHash hides addresses in cursors, which users see.
func shortHash(address string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(address))
	return fmt.Sprintf("%x", h.Sum32())
}

const (
	// scanCount is how many keys one SCAN visits, about a millisecond of the
	// server's time
	scanCount = 1000
	// scanRounds is the largest number of SCANs for one call
	scanRounds = 100
)

// Scan lists the keys with the prefix, one master after the other. If 100,000
// keys have no match, it returns none and a cursor.
func (s *Store) Scan(ctx context.Context, prefix, cursor string, limit int) ([]string, string, error) {
	const doing = "listing keys"
	if s.closed.Load() {
		return nil, "", s.failed(doing, goredis.ErrClosed)
	}
	at, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return nil, "", s.failed(doing, err)
	}
	i, at := at.find(shards)
	limit = max(1, limit)
	match := globEscaper.Replace(prefix) + "*"
	var keys []string
	count := limit
	for range scanRounds {
		if i == len(shards) || len(keys) >= limit {
			break
		}
		found, next, err := shards[i].client.Scan(ctx, at.cursor, match, int64(count)).Result()
		if err != nil {
			return nil, "", s.failed(doing, err)
		}
		found = slices.DeleteFunc(found, s.leases.has)
		keys = append(keys, found...)
		if count = limit - len(keys); len(found) == 0 {
			count = scanCount
		}
		if at.cursor = next; next == 0 {
			if i++; i < len(shards) {
				at = position{shards[i].slot, shards[i].server, 0}
			}
		}
	}
	if i == len(shards) {
		return keys, "", nil
	}
	return keys, at.String(), nil
}

// position is where a scan continues: the shard, its server, and that server's
// cursor.
type position struct {
	slot   int
	server string
	cursor uint64
}

func (p position) String() string { return fmt.Sprintf("%d-%s-%d", p.slot, p.server, p.cursor) }

func parseCursor(text string) (p position, err error) {
	if text == "" {
		return position{}, nil
	}
	_, err = fmt.Sscanf(strings.ReplaceAll(text, "-", " "), "%d %s %d", &p.slot, &p.server, &p.cursor)
	if err != nil || p.String() != text || p.slot < 0 || p.slot >= slotCount {
		return position{}, errors.New("cursor is not one that an earlier call returned")
	}
	return p, nil
}

// find finds the shard of the position. If another server is its master now,
// the shard begins anew, because a cursor is only valid on its own server.
func (p position) find(shards []shard) (int, position) {
	i, _ := slices.BinarySearchFunc(shards, p.slot, func(s shard, slot int) int { return cmp.Compare(s.slot, slot) })
	if i < len(shards) && (shards[i].slot != p.slot || shards[i].server != p.server) {
		p = position{shards[i].slot, shards[i].server, 0}
	}
	return i, p
}

// globEscaper escapes a prefix for a pattern.
var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// DeletePrefix drops every record with the prefix and ends the leases of such
// keys. It visits all keys of all masters, which do this side by side, a part at a
// time, so that other commands are served meanwhile. After an error, some may have
// been dropped.
func (s *Store) DeletePrefix(ctx context.Context, prefix string) (int, error) {
	const doing = "deleting by prefix"
	if prefix == "" {
		return 0, errors.New("deleting by prefix: the prefix is empty")
	}
	if s.closed.Load() {
		return 0, s.failed(doing, goredis.ErrClosed)
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return 0, s.failed(doing, err)
	}
	var deleted atomic.Int64
	var group errgroup.Group // where one master fails, the others still drop what they have
	for _, shard := range shards {
		group.Go(func() error {
			n, err := s.deletePrefixOf(ctx, shard, prefix)
			deleted.Add(int64(n))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return int(deleted.Load()), s.failed(doing, err)
	}
	return int(deleted.Load()), nil
}

// deletePrefixOf is DeletePrefix for one shard. A key and its lease are in the same
// shard.
func (s *Store) deletePrefixOf(ctx context.Context, shard shard, prefix string) (int, error) {
	// leases first: a fill is then either refused or done early enough to be among
	// the keys
	_, err := s.unlinkAll(ctx, shard, s.leases.prefix, func(key string) bool { return s.leases.mayBe(key, prefix) }, s.noteEnded)
	if err != nil {
		return 0, err
	}
	return s.unlinkAll(ctx, shard, prefix, func(key string) bool { return !s.leases.has(key) }, nil)
}

// unlinkAll drops the keys of a shard that have the prefix and are wanted. It scans on
// while keys are being dropped. then, unless nil, is called with the keys of each part
// after they were dropped.
func (s *Store) unlinkAll(ctx context.Context, shard shard, prefix string, wanted func(string) bool, then func(context.Context, []string)) (int, error) {
	match := globEscaper.Replace(prefix) + "*"
	var unlinked atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelPipelines)
	for cursor := uint64(0); ; {
		keys, next, err := shard.client.Scan(ctx, cursor, match, scanCount).Result()
		if err != nil {
			err = cmp.Or(group.Wait(), err) // the first error
			return int(unlinked.Load()), err
		}
		keys = slices.DeleteFunc(keys, func(key string) bool { return !wanted(key) })
		if len(keys) > 0 {
			group.Go(func() error {
				pipe := s.primary.Pipeline()
				cmds := s.unlink(ctx, pipe, keys)
				_, err := pipe.Exec(ctx)
				unlinked.Add(sum(cmds))
				if then != nil {
					then(ctx, keys)
				}
				return err
			})
		}
		if next == 0 {
			err = group.Wait()
			return int(unlinked.Load()), err
		}
		cursor = next
	}
}
