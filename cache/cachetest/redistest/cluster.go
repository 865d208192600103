package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// slots is how many hash slots a cluster has.
const slots = 16384

// Cluster is a Redis cluster. Its nodes take one second of silence for a
// failure.
type Cluster struct {
	// Masters at the start, in the order of their slots.
	Masters []*Server
	// Replicas of the masters, in their order: first one of each.
	Replicas []*Server

	t   testing.TB
	ids map[*Server]string
}

// StartCluster starts masters, each with that many replicas, and waits until
// all nodes know each other and all slots. A cluster that shall survive the
// loss of a master needs three.
func StartCluster(t testing.TB, masters, replicasPerMaster int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, ids: make(map[*Server]string)}
	ctx := t.Context()
	for i := range masters * (1 + replicasPerMaster) {
		node := StartWith(t, Options{Args: []string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
			"--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0",
		}})
		id, err := node.Client().ClusterMyID(ctx).Result()
		c.check(err)
		c.ids[node] = id
		if i < masters {
			c.Masters = append(c.Masters, node)
			c.check(node.Client().ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err())
			c.check(node.Client().Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		} else {
			c.Replicas = append(c.Replicas, node)
		}
	}
	for _, node := range c.Nodes()[1:] {
		c.check(node.Client().ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(c.Masters[0].port)).Err())
	}
	c.eventually("they know each other", func(info, _ string) error {
		return want(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes())))
	})
	for i, replica := range c.Replicas {
		c.check(replica.Client().ClusterReplicate(ctx, c.ids[c.Masters[i%masters]]).Err())
	}
	c.eventually("they know all slots", func(info, _ string) error {
		return want(info, "cluster_state:ok", fmt.Sprintf("cluster_slots_ok:%d", slots), fmt.Sprintf("cluster_size:%d", masters))
	})
	c.eventually("they know all replicas", func(_, nodes string) error {
		if n := strings.Count(nodes, "slave "); n != len(c.Replicas) {
			return fmt.Errorf("%d replicas", n)
		}
		return nil
	})
	for _, replica := range c.Replicas {
		eventually(t, "the replicas are in sync", func(ctx context.Context) error {
			info, err := replica.Client().Info(ctx, "replication").Result()
			if err != nil {
				return err
			}
			return want(info, "master_link_status:up")
		})
	}
	return c
}

// Nodes are all nodes, the masters first.
func (c *Cluster) Nodes() []*Server {
	return append(c.Masters[:len(c.Masters):len(c.Masters)], c.Replicas...)
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes() {
		addrs = append(addrs, node.Addr())
	}
	return addrs
}

// eventually waits until the condition holds at every node.
func (c *Cluster) eventually(what string, condition func(info, nodes string) error) {
	c.t.Helper()
	for _, node := range c.Nodes() {
		eventually(c.t, "all nodes of the cluster say that "+what, func(ctx context.Context) error {
			info, err := node.Client().ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			nodes, err := node.Client().ClusterNodes(ctx).Result()
			if err != nil {
				return err
			}
			return condition(info, nodes)
		})
	}
}

func want(info string, lines ...string) error {
	for _, line := range lines {
		if !strings.Contains(info, line+"\r\n") {
			return fmt.Errorf("no %s in:\n%s", line, info)
		}
	}
	return nil
}

func (c *Cluster) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("building a cluster: %v", err)
	}
}
