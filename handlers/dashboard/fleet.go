package dashboard

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	// figuresTTL is how long the figures of a node that has ended are shown.
	figuresTTL = 4 * interval
	// listTTL is how long the list of nodes outlives the last of them.
	listTTL = time.Hour
	// maxName bounds what is shown of a node's name, in bytes.
	maxName = 100
)

// fleet exchanges figures with the other nodes that have a dashboard and the
// same store and key_prefix. Each node writes its own under a key of its own,
// and sees to it that its ID is in one list of all nodes, so that the others
// need not search for it.
type fleet struct {
	self   string // the ID of this node
	logger *zap.Logger
	failed bool // at the last exchange
}

// exchange writes the figures of this node, and returns those of all nodes.
// Where the store does not answer, they are those of this node alone.
func (f *fleet) exchange(ctx context.Context, app lookup.App, own figures) []figures {
	store := app.Cache().Store()
	if store.Pool() == nil { // each process has a store of its own
		return []figures{own}
	}
	others, err := f.tryExchange(ctx, app.Cache(), app.Policy(), own)
	if err != nil && !f.failed {
		f.logger.Warn("the dashboard cannot exchange figures with other nodes", zap.Error(err))
	}
	f.failed = err != nil
	return append(others, own)
}

func (f *fleet) tryExchange(ctx context.Context, c *cache.Cache, policy *lookup.Policy, own figures) (others []figures, err error) {
	list, prefix := policy.KeyPrefix+cache.OwnPrefix+"nodes", policy.KeyPrefix+cache.OwnPrefix+"node:"
	record, err := encode(own, policy.MaxValueSize)
	if err != nil {
		return nil, err
	}
	if err := c.Store().Set(ctx, prefix+f.self, record, figuresTTL); err != nil {
		return nil, err
	}
	entry, err := c.Store().Get(ctx, list)
	if err != nil {
		return nil, err
	}
	members := membersOf(entry.Record)
	keys := make([]string, 0, len(members))
	for _, id := range members {
		keys = append(keys, prefix+id)
	}
	got, err := c.Store().GetMany(ctx, keys)
	if err != nil {
		return nil, err
	}
	current := []string{f.self}
	for i, g := range got {
		if members[i] == f.self || g.Err != nil || g.Record == nil {
			continue
		}
		current = append(current, members[i])
		if other, ok := decode(g.Record, members[i]); ok {
			others = append(others, other)
		}
	}
	slices.Sort(current)
	if !slices.Equal(current, members) || entry.TTL(time.Now()) < listTTL/2 {
		record, err := cache.Encode(map[string]any{"nodes": current}, policy.MaxValueSize)
		if err != nil {
			return others, err
		}
		// another node may be faster: then it is tried again the next time
		_, _, err = c.Replace(ctx, list, entry.Record, record, listTTL)
		return others, err
	}
	return others, nil
}

// membersOf reads the list of nodes, sorted.
func membersOf(list *cache.Record) []string {
	var read struct {
		Nodes []string `json:"nodes"`
	}
	if list == nil || json.Unmarshal([]byte(list.Text()), &read) != nil {
		return nil
	}
	slices.Sort(read.Nodes)
	read.Nodes = slices.DeleteFunc(slices.Compact(read.Nodes), func(id string) bool { return len(id) != 16 || cache.CheckIdentity(id) != nil })
	return read.Nodes[:min(len(read.Nodes), maxNodes)]
}

// encode makes a record of figures, with fewer routes where they are too large
// for one.
func encode(own figures, maxSize int) (*cache.Record, error) {
	for {
		record, err := cache.Encode(own, maxSize)
		if err == nil || len(own.Routes) == 0 {
			return record, err
		}
		own.Routes = own.Routes[:len(own.Routes)/2]
	}
}

// decode reads the figures that another node wrote.
func decode(record *cache.Record, node string) (other figures, ok bool) {
	if json.Unmarshal([]byte(record.Text()), &other) != nil || severity(other.Status) < 0 {
		return figures{}, false
	}
	other.Node, other.Name = node, other.Name[:min(len(other.Name), maxName)]
	other.Routes = other.Routes[:min(len(other.Routes), maxRoutes)]
	return other, true
}
