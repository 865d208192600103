package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/deploy/grafana"
)

// exportDashboardCommand needs no running Caddy.
func exportDashboardCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export-dashboard",
		Short: "Writes the dashboard for Grafana that belongs to this version",
		Long: `Writes the dashboard for Grafana that belongs to this version, as JSON, which
Grafana imports or provisions. It shows the metrics of this plugin.`,
		Example: `  $ caddy filewallball export-dashboard > filewallball.json`,
		Args:    wants(cobra.NoArgs, "no arguments: it is written to standard output"),
	}
	cmd.RunE = running(func(c *call, _ []string) error {
		if _, err := io.WriteString(c.out, grafana.Dashboard()); err != nil {
			return fmt.Errorf("writing the dashboard: %w", err)
		}
		return nil
	})
	return cmd
}
