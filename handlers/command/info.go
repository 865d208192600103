package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func infoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Shows the server behind the store: version, memory, clients, keys",
		Args:  wants(cobra.NoArgs, "no arguments"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = running(func(c *call, _ []string) error {
		answer, err := c.ask(c.ctx, http.MethodGet, "info", nil)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.writeJSON(answer)
		}
		var info wire.Info
		if err := json.Unmarshal(answer, &info); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		return c.writeInfo(&info)
	})
	return cmd
}

func (c *call) writeInfo(i *wire.Info) error {
	t := newTable(c.out)
	t.row("mode", i.Mode)
	t.row("keys", fmt.Sprintf("%s; %s expired, %s evicted", count(i.Keys), count(i.ExpiredKeys), count(i.EvictedKeys)))
	t.row("memory", fmt.Sprintf("%s in use (%s)", size(i.UsedMemory), percent(i.MemoryUsedPercent)))
	t.row("memory limit", memoryLimit(&i.ServerInfo))
	if i.StoreErrors != nil {
		t.storeErrors(i.StoreErrors)
	}
	if i.Version == "" { // there is no server
		return t.Flush()
	}
	t.row("memory peak", size(i.UsedMemoryPeak))
	t.row("version", i.Version)
	if i.Role != "" {
		t.row("role", i.Role)
	}
	if i.ClusterMasters > 0 {
		t.row("masters", count(i.ClusterMasters))
	}
	t.row("replicas", count(i.ConnectedReplicas))
	t.row("up for", span(time.Duration(i.UptimeSeconds)*time.Second))
	t.row("clients", count(i.ConnectedClients))
	t.row("reads", fmt.Sprintf("%s hits, %s misses", count(i.KeyspaceHits), count(i.KeyspaceMisses)))
	t.row("commands", fmt.Sprintf("%s, now %s a second", count(i.CommandsProcessed), count(i.OpsPerSecond)))
	return t.Flush()
}

func memoryLimit(i *cache.ServerInfo) string {
	limit := "none"
	if i.MaxMemory > 0 {
		limit = size(i.MaxMemory)
	}
	if i.MaxMemoryPolicy != "" {
		limit += ", " + i.MaxMemoryPolicy
	}
	return limit
}
