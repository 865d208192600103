package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/filewallball/caddy-filewallball/cache"
)

// redisServer is a running Redis that keeps nothing on disk.
type redisServer struct {
	process *process
	addr    string
	client  *redis.Client // of the benchmark itself
}

func (s *servers) startRedis(ctx context.Context) (*redisServer, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: install it with `apt-get install redis-server` or `brew install redis`", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	p, err := s.start(ctx, "redis-server", addr, path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", s.dir)
	if err != nil {
		return nil, err
	}
	return &redisServer{process: p, addr: addr, client: redis.NewClient(&redis.Options{
		Addr: addr, DisableIdentity: true, Protocol: 2, ReadTimeout: time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})}, nil
}

// end ends the server and what connects to it.
func (r *redisServer) end() {
	_ = r.client.Close()
	r.process.end()
}

// sessionPrefix is what the keys of sessions begin with by default.
const sessionPrefix = "session:user:"

// sessionBatch is how many sessions are written at a time.
const sessionBatch = 1000

// logIn stores sessions as an application does that writes them itself.
func (r *redisServer) logIn(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, sessionBatch) {
		pipe := r.client.Pipeline()
		for _, id := range part {
			pipe.Set(ctx, sessionPrefix+id, sessionRecord(id), 24*time.Hour)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("storing sessions: %w", err)
		}
	}
	return nil
}

// logOut deletes what is stored of sessions: under their identities by logIn,
// and under the hashes of them by session_lookup with source http. Redis tells
// all servers, which drop their copies.
func (r *redisServer) logOut(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, sessionBatch) {
		var keys []string
		for _, id := range part {
			keys = append(keys, sessionPrefix+id, "limit:"+id)
			for _, kind := range []string{"asked", "tagged", "absent", "denied"} {
				keys = append(keys, "session:"+kind+":"+cache.KeyIdentity(id, true))
			}
		}
		if err := r.client.Unlink(ctx, keys...).Err(); err != nil {
			return fmt.Errorf("deleting sessions: %w", err)
		}
	}
	return nil
}

// housekeeping are the commands of connections, of trackers and of this
// program; none of them belongs to a lookup. Trackers read their canary by GET,
// and lookups read records by GETRANGE. Scripts of lookups use GET and SET too.
var housekeeping = map[string]bool{
	"info": true, "ping": true, "hello": true, "client": true, "subscribe": true, "config": true, "command": true, "select": true,
}

// redisTraffic is what Redis was asked since it started.
type redisTraffic struct {
	roundTrips int64 // reads from a connection; a pipeline of lookups needs one
	lookups    int64 // commands that read a record
	canaries   int64 // GET and SET, which are round trips of trackers where no script ran
	scripts    int64
}

// since is what was asked since an earlier time.
func (t redisTraffic) since(before redisTraffic) redisTraffic {
	t.roundTrips -= before.roundTrips
	t.lookups -= before.lookups
	t.canaries -= before.canaries
	t.scripts -= before.scripts
	if t.scripts == 0 {
		t.roundTrips -= t.canaries
	}
	return t
}

func (r *redisServer) traffic(ctx context.Context) (redisTraffic, error) {
	info, err := r.client.Info(ctx, "stats", "commandstats").Result()
	if err != nil {
		return redisTraffic{}, fmt.Errorf("asking Redis what it did: %w", err)
	}
	return parseTraffic(info)
}

// parseTraffic reads the answer to INFO. The question itself is among the
// reads but not yet among the commands.
func parseTraffic(info string) (t redisTraffic, err error) {
	t.roundTrips = -1
	found := false
	for scanner := bufio.NewScanner(strings.NewReader(info)); scanner.Scan(); {
		name, value, _ := strings.Cut(scanner.Text(), ":")
		command, isCommand := strings.CutPrefix(name, "cmdstat_")
		command, _, _ = strings.Cut(command, "|")
		reads := isCommand && command == "getrange"
		canary := isCommand && (command == "get" || command == "set")
		script := isCommand && (command == "eval" || command == "evalsha")
		switch {
		case name == "total_reads_processed":
			found = true
		case reads, canary, script, isCommand && housekeeping[command]:
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "calls="), ",")
		default:
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			return t, fmt.Errorf("reading %q: %w", name, err)
		case reads:
			t.lookups += n
		case canary:
			t.canaries += n
		case script:
			t.scripts += n
		case isCommand:
			t.roundTrips -= n
		default:
			t.roundTrips += n
		}
	}
	if !found {
		return t, fmt.Errorf("this Redis does not tell how often it reads: version 6 or newer is needed")
	}
	return t, nil
}
