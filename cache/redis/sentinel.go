package redis

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/filewallball/caddy-filewallball/cache/clock"
)

// sentinels name the master. They present it and its replicas to go-redis as a
// cluster of one shard, so that reads can go to replicas. go-redis' own
// failover client is not used: it learns of changes only from the one sentinel
// that it listens to, and its Close leaves goroutines behind.
type sentinels struct {
	name    string // of the master
	clients []*goredis.SentinelClient
	known   atomic.Pointer[mastership]
	// switched is when the master last changed, as clock.Now; 0 before the
	// first change.
	switched atomic.Int64
	// found is called when the master has changed.
	found  func(addr string)
	asking singleflight.Group
	// queries are those to sentinels that are under way. New ones begin only before closed.
	queries sync.WaitGroup

	mu        sync.Mutex // serializes changes of known
	confirmed time.Time  // when a sentinel last named the known master
	closed    bool
}

// mastership is what a sentinel says about the master.
type mastership struct {
	addr  string
	epoch int64 // of the configuration: the higher, the newer
	// promoted is set during a failover that has already chosen a new master.
	promoted bool
	client   *goredis.SentinelClient
}

// newer reports whether m is newer than another sentinel's answer.
func (m *mastership) newer(than *mastership) bool {
	return than == nil || m.epoch > than.epoch || m.epoch == than.epoch && m.promoted && !than.promoted
}

const (
	// sentinelTimeout is the timeout for one sentinel.
	sentinelTimeout = time.Second
	// sentinelGrace is how long the other sentinels are awaited after the first
	// answer.
	sentinelGrace = 50 * time.Millisecond
	// sentinelMemory is how long a newer configuration is used that no sentinel
	// confirms.
	sentinelMemory = 3 * time.Second
	// sentinelInterval is the time between two queries for the master.
	sentinelInterval = 200 * time.Millisecond
)

func newSentinels(o *Options, dial dialFunc) *sentinels {
	s := &sentinels{name: o.MasterName, found: func(string) {}}
	for _, address := range o.Addresses {
		s.clients = append(s.clients, goredis.NewSentinelClient(&goredis.Options{
			Addr: address, Dialer: neverFails(dial), Username: o.SentinelUsername, Password: o.SentinelPassword,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, PoolSize: 2,
			MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1, Protocol: 2,
			DisableIdentity: true, MaintNotificationsConfig: noMaintNotifications(),
		}))
	}
	return s
}

// current is the address of the last known master, or "".
func (s *sentinels) current() string {
	if m := s.known.Load(); m != nil {
		return m.addr
	}
	return ""
}

// master asks for the master. If no sentinel answers, it returns the last known
// one.
func (s *sentinels) master(ctx context.Context) (*mastership, error) {
	asked := s.asking.DoChan("", func() (any, error) { return s.askAll() })
	select {
	case answer := <-asked:
		if answer.Err != nil {
			return nil, answer.Err
		}
		return answer.Val.(*mastership), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askAll asks all sentinels at once and uses the answer with the newest
// configuration.
func (s *sentinels) askAll() (*mastership, error) {
	type answer struct {
		*mastership
		err error
	}
	answers := make(chan answer, len(s.clients))
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, goredis.ErrClosed
	}
	for _, client := range s.clients {
		s.queries.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), sentinelTimeout)
			defer cancel()
			m, err := s.ask(ctx, client)
			answers <- answer{m, err}
		})
	}
	s.mu.Unlock()
	var best *mastership
	var errs []error
	var grace <-chan time.Time
	for range s.clients {
		select {
		case a := <-answers:
			switch {
			case a.err != nil:
				errs = append(errs, a.err)
			case a.newer(best):
				best = a.mastership
			}
			if best != nil && grace == nil {
				grace = time.After(sentinelGrace)
			}
			continue
		case <-grace:
		}
		break
	}
	if best == nil {
		if known := s.known.Load(); known != nil {
			return known, nil
		}
		return nil, joinOnce(errs...)
	}
	return s.learn(best), nil
}

// ask asks one sentinel.
func (s *sentinels) ask(ctx context.Context, client *goredis.SentinelClient) (*mastership, error) {
	// in this order: a failover between the two must not show as a configuration
	// that is newer than the address
	config, err := client.Master(ctx, s.name).Result()
	if err != nil {
		return nil, err
	}
	addr, err := client.GetMasterAddrByName(ctx, s.name).Result()
	if err != nil {
		return nil, err
	}
	epoch, _ := strconv.ParseInt(config["config-epoch"], 10, 64)
	m := &mastership{addr: net.JoinHostPort(addr[0], addr[1]), epoch: epoch, client: client}
	m.promoted = m.addr != net.JoinHostPort(config["ip"], config["port"])
	return m, nil
}

// learn stores the answer of a sentinel, unless a newer one is known, and returns the
// newer of the two. A known answer counts only while sentinels confirm it: those that
// are set up anew number their configurations from the beginning.
func (s *sentinels) learn(m *mastership) *mastership {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, now := s.known.Load(), time.Now()
	if known != nil && known.newer(m) && now.Sub(s.confirmed) < sentinelMemory {
		return known
	}
	s.known.Store(m)
	s.confirmed = now
	if known != nil && known.addr != m.addr {
		s.switched.Store(int64(clock.Of(now)))
		s.found(m.addr)
	}
	return m
}

// poll asks for the master at each sentinelInterval, until ctx ends.
func (s *sentinels) poll(ctx context.Context) {
	tick := time.NewTicker(sentinelInterval)
	defer tick.Stop()
	for {
		_, _ = s.master(ctx) // without an answer, the last known one is used
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// slots returns the shard of the master and its replicas.
func (s *sentinels) slots(ctx context.Context) ([]goredis.ClusterSlot, error) {
	m, err := s.master(ctx)
	if err != nil {
		return nil, err
	}
	nodes := []goredis.ClusterNode{{Addr: m.addr}}
	ctx, cancel := context.WithTimeout(ctx, sentinelTimeout)
	defer cancel()
	replicas, err := m.client.Replicas(ctx, s.name).Result()
	if err != nil {
		return nil, err
	}
	for _, replica := range replicas {
		addr := net.JoinHostPort(replica["ip"], replica["port"])
		if upToDate(replica) && addr != m.addr {
			nodes = append(nodes, goredis.ClusterNode{Addr: addr})
		}
	}
	return []goredis.ClusterSlot{{Start: 0, End: slotCount - 1, Nodes: nodes}}, nil
}

// upToDate reports whether a replica answers and follows its master.
func upToDate(replica map[string]string) bool {
	flags := replica["flags"]
	return !strings.Contains(flags, "down") && !strings.Contains(flags, "disconnected") &&
		replica["master-link-status"] == "ok"
}

// Close closes the connections to all sentinels.
func (s *sentinels) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for _, client := range s.clients {
		errs = append(errs, client.Close())
	}
	s.queries.Wait()
	return joinOnce(errs...)
}
