package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

const (
	// figuresTTL is how long the figures of a node that has ended are shown.
	figuresTTL = 4 * interval
	// listTTL is how long the list of nodes outlives the last of them.
	listTTL = time.Hour
	// maxName bounds names of other nodes, routes and the like, in bytes.
	maxName = 100
)

// fleet exchanges figures with the other nodes that have a dashboard and the same store
// and key_prefix. Each node writes its figures under a key of its own, and adds its ID to
// one list of all nodes, so that the others need not scan for keys.
type fleet struct {
	self   string // the ID of this node
	failed bool   // at the last exchange
}

// exchange writes the figures of this node, and returns those of all nodes, or of this
// node alone if the store does not answer.
func (f *fleet) exchange(ctx context.Context, app lookup.App, own figures) []figures {
	store := app.Cache().Store()
	if store.Pool() == nil { // each process has a store of its own
		return []figures{own}
	}
	others, err := f.tryExchange(ctx, app.Cache(), app.Policy(), own)
	if failed := err != nil; failed != f.failed {
		// the logger of the configuration that runs now
		logger := caddy.Log().Named("http.handlers." + directiveName)
		if failed {
			logger.Warn("the dashboard cannot exchange figures with other nodes", zap.Error(err))
		} else {
			logger.Info("the dashboard exchanges figures with other nodes again")
		}
		f.failed = failed
	}
	return append([]figures{own}, others...) // own first: the history has room for maxNodes
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
	if errors.Is(err, cache.ErrInvalidRecord) { // another client wrote it
		_, err = c.Store().Delete(ctx, list)
		entry = cache.Entry{}
	}
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
		if members[i] == f.self || g.Err == nil && g.Record == nil {
			continue
		}
		current = append(current, members[i])
		if g.Err != nil {
			continue // the node may exist
		}
		if other, ok := decode(g.Record, members[i]); ok {
			others = append(others, other)
		}
	}
	slices.Sort(current)
	current = current[:min(len(current), maxNodes)]
	if !slices.Equal(current, members) || entry.TTL(time.Now()) < listTTL/2 {
		record, err := cache.Encode(map[string]any{"nodes": current}, policy.MaxValueSize)
		if err != nil {
			return others, err
		}
		// if another node was faster, the next exchange tries again
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

// decode reads the figures of another node. They are not trusted, because every client of
// Redis can write them: their node is that of the key, and values, texts and lists are
// bounded.
func decode(record *cache.Record, node string) (other figures, ok bool) {
	if json.Unmarshal([]byte(record.Text()), &other) != nil || severity(other.Status) < 0 {
		return figures{}, false
	}
	other.Node = node
	for _, text := range []*string{&other.Name, &other.Version, &other.Breaker} {
		*text = bounded(*text)
	}
	values := make(map[string]float64)
	for name := range series {
		if value, ok := other.Values[name]; ok {
			values[name] = sane(value)
		}
	}
	other.Values = values
	other.HitRate = min(max(other.HitRate, 0), 100)
	other.Lookups = min(other.Lookups, maxValue)
	other.Warnings = some(other.Warnings)
	for i, w := range other.Warnings {
		other.Warnings[i] = warning{bounded(w.Check), bounded(w.Status), w.Output[:min(len(w.Output), maxOutput)], health.Runbook(w.Check)}
	}
	other.Routes = some(other.Routes)
	for i, r := range other.Routes {
		other.Routes[i] = traffic{bounded(r.Name), bounded(r.Family), sane(r.Rate), sane(r.Hits), sane(r.Errors), min(r.Total, maxValue)}
	}
	other.Sources = some(other.Sources)
	for i, r := range other.Sources {
		other.Sources[i] = requests{bounded(r.Name), sane(r.Rate), sane(r.Errors), min(r.Total, maxValue)}
	}
	return other, true
}

const (
	// maxValue is larger than any figure, and so small that the sum over all nodes
	// does not overflow.
	maxValue = 1e15
	// maxOutput bounds the text of a warning, in bytes.
	maxOutput = 1000
)

func bounded(text string) string { return text[:min(len(text), maxName)] }

func sane(value float64) float64 { return min(max(value, 0), maxValue) }

// some returns the first of a list, and never nil.
func some[T any](list []T) []T {
	return append([]T{}, list[:min(len(list), maxRoutes)]...)
}
