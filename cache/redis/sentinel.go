package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// sentinels show a master and its replicas to go-redis as a cluster of one
// shard, so that reads can go to replicas. go-redis' NewFailoverClusterClient
// does the same, but its Close leaves goroutines behind, and it hears of
// changes only from the one sentinel it listens to.
type sentinels struct {
	master  string
	clients []*goredis.SentinelClient
}

// sentinelTimeout is how long to wait for one sentinel before the next is asked.
const sentinelTimeout = time.Second

func newSentinels(o *Options, dial dialFunc) *sentinels {
	s := &sentinels{master: o.MasterName}
	for _, address := range o.Addresses {
		s.clients = append(s.clients, goredis.NewSentinelClient(&goredis.Options{
			Addr: address, Dialer: dial, Username: o.SentinelUsername, Password: o.SentinelPassword,
			DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
			MaxRetries: -1, ContextTimeoutEnabled: true, DialerRetries: 1, Protocol: 2,
			DisableIdentity: true, MaintNotificationsConfig: noMaintNotifications(),
		}))
	}
	return s
}

// slots is the shard as the first sentinel that answers knows it.
func (s *sentinels) slots(ctx context.Context) ([]goredis.ClusterSlot, error) {
	var errs []error
	for _, client := range s.clients {
		nodes, err := s.nodes(ctx, client)
		if err == nil {
			return []goredis.ClusterSlot{{Start: 0, End: slotCount - 1, Nodes: nodes}}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (s *sentinels) nodes(ctx context.Context, client *goredis.SentinelClient) ([]goredis.ClusterNode, error) {
	ctx, cancel := context.WithTimeout(ctx, sentinelTimeout)
	defer cancel()
	master, err := client.GetMasterAddrByName(ctx, s.master).Result()
	if err != nil {
		return nil, err
	}
	replicas, err := client.Replicas(ctx, s.master).Result()
	if err != nil {
		return nil, err
	}
	nodes := []goredis.ClusterNode{{Addr: net.JoinHostPort(master[0], master[1])}}
	for _, replica := range replicas {
		if upToDate(replica) {
			nodes = append(nodes, goredis.ClusterNode{Addr: net.JoinHostPort(replica["ip"], replica["port"])})
		}
	}
	return nodes, nil
}

// upToDate tells whether a replica answers and follows its master.
func upToDate(replica map[string]string) bool {
	flags := replica["flags"]
	return !strings.Contains(flags, "down") && !strings.Contains(flags, "disconnected") &&
		replica["master-link-status"] == "ok"
}

// Close closes the connections to all sentinels.
func (s *sentinels) Close() error {
	var errs []error
	for _, client := range s.clients {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}
