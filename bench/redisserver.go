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

// redisServer is a running Redis that writes nothing to disk.
type redisServer struct {
	process *process
	addr    string
	client  *redis.Client // for the benchmark's own commands
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

// end closes the client and ends the server.
func (r *redisServer) end() {
	_ = r.client.Close()
	r.process.end()
}

// sessionPrefix is what the keys of sessions begin with by default.
const sessionPrefix = "session:user:"

// sessionBatch is how many sessions are written at a time.
const sessionBatch = 1000

// logIn stores sessions like an application that writes them itself.
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

// logOut deletes the records of sessions: those that logIn stored under their
// identities, and those that session_lookup with source http stored under the
// hashes of them. Redis reports that to all servers, which drop their near copies.
func (r *redisServer) logOut(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, sessionBatch) {
		var keys []string
		for _, id := range part {
			keys = append(keys, sessionPrefix+id, "bare:"+id)
			for _, kind := range []string{"source", "tagged", "absent", "denied"} {
				keys = append(keys, "session:"+kind+":"+cache.KeyIdentity(id, true))
			}
		}
		if err := r.client.Unlink(ctx, keys...).Err(); err != nil {
			return fmt.Errorf("deleting sessions: %w", err)
		}
	}
	return nil
}

// housekeeping are the commands of connections, trackers and this program, which no
// lookup sends. (GET and SET are not among them: trackers send them for their
// canaries, scripts of lookups too. Lookups read records with GETRANGE.)
var housekeeping = map[string]bool{
	"info": true, "ping": true, "hello": true, "client": true, "subscribe": true, "config": true, "command": true, "select": true,
}

// redisTraffic counts what clients have sent to Redis since it started.
type redisTraffic struct {
	roundTrips int64 // reads from a connection, without housekeeping; a pipeline is one
	lookups    int64 // GETRANGE: reads of records
	canaries   int64 // GET and SET: round trips of trackers, unless scripts ran
	scripts    int64 // EVAL and EVALSHA
}

// since returns the traffic since an earlier count.
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
		return redisTraffic{}, fmt.Errorf("reading the counters of Redis: %w", err)
	}
	return parseTraffic(info)
}

// parseTraffic reads the reply to INFO. That command itself is already counted as a
// read, but not yet as a command.
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
		return t, fmt.Errorf("INFO has no total_reads_processed: want Redis 6 or newer")
	}
	return t, nil
}
