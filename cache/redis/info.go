package redis

import (
	"context"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Info describes the server. For a cluster, the numbers are sums over the
// masters, and the uptime is the shortest. The percentage of used memory is
// that of maxmemory or, if that is not set, of the machine's memory.
func (s *Store) Info(ctx context.Context) (cache.ServerInfo, error) {
	const doing = "asking for server info"
	if s.closed.Load() {
		return cache.ServerInfo{}, s.failed(doing, goredis.ErrClosed)
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return cache.ServerInfo{}, s.failed(doing, err)
	}
	var sum cache.ServerInfo
	var limit int64
	for i, shard := range shards {
		text, err := shard.client.Info(ctx).Result()
		if err != nil {
			return cache.ServerInfo{}, s.failed(doing, err)
		}
		fields := parseInfo(text)
		info := s.serverInfo(fields)
		if i == 0 {
			sum = info
		} else {
			add(&sum, info)
		}
		if info.MaxMemory > 0 {
			limit += info.MaxMemory
		} else {
			limit += fields.number("total_system_memory")
		}
	}
	sum.UsedMemoryHuman = cache.FormatBytes(sum.UsedMemory)
	if limit > 0 {
		sum.MemoryUsedPercent = 100 * float64(sum.UsedMemory) / float64(limit)
	}
	if s.options.ClientType == Cluster {
		sum.ClusterMasters = len(shards)
	}
	return sum, nil
}

func (s *Store) serverInfo(f infoFields) cache.ServerInfo {
	return cache.ServerInfo{
		Version: f["redis_version"], Mode: f["redis_mode"], Role: f["role"],
		MaxMemoryPolicy: f["maxmemory_policy"],
		UptimeSeconds:   f.number("uptime_in_seconds"),
		UsedMemory:      f.number("used_memory"), UsedMemoryPeak: f.number("used_memory_peak"),
		MaxMemory: f.number("maxmemory"), ConnectedClients: f.number("connected_clients"),
		Keys:         f.keys(s.options.db()),
		KeyspaceHits: f.number("keyspace_hits"), KeyspaceMisses: f.number("keyspace_misses"),
		ExpiredKeys: f.number("expired_keys"), EvictedKeys: f.number("evicted_keys"),
		CommandsProcessed: f.number("total_commands_processed"),
		OpsPerSecond:      f.number("instantaneous_ops_per_sec"),
		ConnectedReplicas: f.number("connected_slaves"),
	}
}

func add(sum *cache.ServerInfo, info cache.ServerInfo) {
	sum.UptimeSeconds = min(sum.UptimeSeconds, info.UptimeSeconds)
	sum.UsedMemory += info.UsedMemory
	sum.UsedMemoryPeak += info.UsedMemoryPeak
	sum.MaxMemory += info.MaxMemory
	sum.ConnectedClients += info.ConnectedClients
	sum.Keys += info.Keys
	sum.KeyspaceHits += info.KeyspaceHits
	sum.KeyspaceMisses += info.KeyspaceMisses
	sum.ExpiredKeys += info.ExpiredKeys
	sum.EvictedKeys += info.EvictedKeys
	sum.CommandsProcessed += info.CommandsProcessed
	sum.OpsPerSecond += info.OpsPerSecond
	sum.ConnectedReplicas += info.ConnectedReplicas
}

// infoFields are the lines of INFO by name.
type infoFields map[string]string

func parseInfo(text string) infoFields {
	f := make(infoFields)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			f[name] = value
		}
	}
	return f
}

func (f infoFields) number(name string) int64 {
	n, _ := strconv.ParseInt(f[name], 10, 64)
	return n
}

// keys reads the line of one database, "keys=12,expires=3,avg_ttl=0". An empty
// database has no line.
func (f infoFields) keys(db int) int64 {
	count, _, _ := strings.Cut(strings.TrimPrefix(f["db"+strconv.Itoa(db)], "keys="), ",")
	n, _ := strconv.ParseInt(count, 10, 64)
	return n
}
