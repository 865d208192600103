// The servers of the store: one, a master with replicas, or the nodes of a cluster.

package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// node is one server of the deployment.
type node struct {
	addr   string
	read   bool // whether this store may read from it
	canary *canary
}

// nodes lists the servers that the store may talk to.
func (s *Store) nodes(ctx context.Context) ([]node, error) {
	switch s.options.ClientType {
	case Failover:
		slots, err := s.sentinels.slots(ctx)
		if err != nil {
			return nil, err
		}
		return s.nodesOf(slots), nil
	case Cluster:
		slots, err := s.primary.ClusterSlots(ctx).Result()
		if err != nil {
			return nil, err
		}
		return s.nodesOf(slots), nil
	}
	return []node{s.node(s.options.Addresses[0], 0, true)}, nil
}

// nodesOf lists the servers of shards, the master of each first.
func (s *Store) nodesOf(slots []goredis.ClusterSlot) []node {
	var nodes []node
	known := make(map[string]bool)
	for _, slot := range slots {
		for i, server := range slot.Nodes {
			if known[server.Addr] {
				continue
			}
			known[server.Addr] = true
			nodes = append(nodes, s.node(server.Addr, slot.Start, i == 0 || s.options.ReadFrom != Primary))
		}
	}
	return nodes
}

func (s *Store) node(addr string, slot int, read bool) node {
	c := newCanary(s.primary, s.leases.canary(slot), func() bool { return s.masterOf(slot) == addr })
	c.readBack = s.options.ClientType != Cluster
	return node{addr: addr, read: read, canary: c}
}

// masterOf returns the address of the master of a slot.
func (s *Store) masterOf(slot int) string {
	switch client := s.primary.(type) {
	case *goredis.ClusterClient:
		ctx, cancel := context.WithTimeout(context.Background(), reconcileTimeout)
		defer cancel()
		master, err := client.MasterForKey(ctx, s.leases.slotTag(slot))
		if err != nil {
			return ""
		}
		return master.Options().Addr
	default:
		return s.address(s.options.Addresses[0])
	}
}

// serverAnswered is called when a server has answered on a connection other than the
// pool's.
func (s *Store) serverAnswered(addr string) {
	if s.sentinels != nil && addr == s.sentinels.current() {
		addr = s.options.Addresses[0]
	}
	s.nodeBreakers.answered(addr)
}

// address returns the current address of a server, given the address under which its
// breaker is registered.
func (s *Store) address(registered string) string {
	if s.sentinels != nil && registered == s.options.Addresses[0] {
		return s.sentinels.current()
	}
	return registered
}
