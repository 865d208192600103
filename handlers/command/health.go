package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func healthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Reports whether the store answers, and how well",
		Long: `Reports whether the store answers, and how well. The exit status is 0 for pass and
for warn, where lookups are answered but a number is beyond its alert threshold,
and 1 for fail.`,
		Args: wants(cobra.NoArgs, "no arguments"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = running(func(c *call, _ []string) error { return c.showHealth(*asJSON) })
	return cmd
}

func (c *call) showHealth(asJSON bool) error {
	ctx, cancel := c.bounded(c.ctx)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "health", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := readAnswer(ctx, resp)
	if err != nil {
		return err
	}
	// the answer of a failed health has a status of an error
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/health+json") {
		return c.apiError(resp, answer)
	}
	var health wire.Health
	if err := json.Unmarshal(answer, &health); err != nil {
		return fmt.Errorf("reading the health: %w", err)
	}
	if asJSON {
		err = c.writeJSON(answer)
	} else {
		err = c.writeHealth(&health)
	}
	if err == nil && health.Status == wire.HealthFail {
		err = errors.New("health is fail: " + health.Output)
	}
	return err
}

func (c *call) writeHealth(h *wire.Health) error {
	t := newTable(c.out)
	t.row("STATUS", "CHECK", "VALUE", "")
	for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
		for _, check := range h.Checks[name] {
			t.row(string(check.Status), name, observed(check), check.Output)
		}
	}
	t.row(string(h.Status), "all together", "", "")
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
		for _, check := range h.Checks[name] {
			if page := check.Links["runbook"]; page != "" {
				if _, err := fmt.Fprintf(c.out, "what to do about %s: %s\n", name, page); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func observed(check wire.HealthCheck) string {
	value, ok := check.Value.(float64)
	if !ok {
		return ""
	}
	switch check.Unit {
	case "ms":
		return milliseconds(value)
	case "percent":
		return percent(value)
	}
	return fmt.Sprintf("%g %s", value, check.Unit)
}
