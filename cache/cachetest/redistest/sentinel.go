package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
)

// Sentinel is a master with replicas, watched by three sentinels. They take
// half a second of silence for a failure.
type Sentinel struct {
	// MasterName is what the sentinels call the master.
	MasterName string
	// Servers are the master at the start, and its replica.
	Servers []*Server

	t         testing.TB
	addrs     []string
	clients   []*redis.SentinelClient
	processes []*process
}

// StartSentinel starts a master, a replica and three sentinels, and waits
// until all know each other.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	master := Start(t)
	s := &Sentinel{MasterName: "mymaster", Servers: []*Server{master}, t: t}
	s.Servers = append(s.Servers, Start(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port),
		"--repl-diskless-sync-delay", "0"))
	t.Cleanup(s.end)
	for range 3 {
		if err := s.startSentinel(master); err != nil {
			t.Fatalf("starting a sentinel: %v", err)
		}
	}
	eventually(t, "the sentinels know each other", s.complete)
	return s
}

func (s *Sentinel) startSentinel(master *Server) error {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return err
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port, err := ports.Reserve()
	if err != nil {
		return err
	}
	s.t.Cleanup(port.Release)
	p, client, err := runSentinel(dir, port.Number, s.MasterName, master.port)
	if err != nil {
		return err
	}
	s.addrs = append(s.addrs, port.Addr())
	s.processes, s.clients = append(s.processes, p), append(s.clients, client)
	return nil
}

func runSentinel(dir string, port int, name string, masterPort int) (*process, *redis.SentinelClient, error) {
	config := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d 2\n"+
		"sentinel down-after-milliseconds %[3]s 500\nsentinel failover-timeout %[3]s 3000\n", port, dir, name, masterPort)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	p, err := startProcess(dir, nil, config, "--sentinel")
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewSentinelClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(port), DisableIdentity: true})
	err = p.await(func(ctx context.Context) error { return client.GetMasterAddrByName(ctx, name).Err() })
	if err != nil {
		_ = client.Close()
		p.end(syscall.SIGKILL)
		return nil, nil, err
	}
	return p, client, nil
}

func (s *Sentinel) complete(ctx context.Context) error {
	for _, client := range s.clients {
		others, err := client.Sentinels(ctx, s.MasterName).Result()
		if err != nil {
			return err
		}
		replicas, err := client.Replicas(ctx, s.MasterName).Result()
		if err != nil {
			return err
		}
		if len(others) != len(s.clients)-1 || len(replicas) != len(s.Servers)-1 {
			return fmt.Errorf("a sentinel knows %d others and %d replicas", len(others), len(replicas))
		}
		if status := replicas[0]["master-link-status"]; status != "ok" {
			return fmt.Errorf("the replica's link to its master is %q", status)
		}
	}
	return nil
}

// Addrs are the addresses of the sentinels.
func (s *Sentinel) Addrs() []string { return s.addrs }

// Master is the server that the sentinels take for the master now.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	var master *Server
	eventually(s.t, "the sentinels name a master", func(ctx context.Context) error {
		addr, err := s.clients[0].GetMasterAddrByName(ctx, s.MasterName).Result()
		if err != nil {
			return err
		}
		for _, server := range s.Servers {
			if server.Addr() == addr[0]+":"+addr[1] {
				master = server
				return nil
			}
		}
		return errors.New("it is none of the servers")
	})
	return master
}

func (s *Sentinel) end() {
	for i, p := range s.processes {
		_ = s.clients[i].Close()
		p.end(syscall.SIGKILL)
	}
}

// eventually waits for a condition that takes others some time.
func eventually(t testing.TB, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
