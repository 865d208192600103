package deployment

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	require.NoError(t, err, "promtool is missing: .ci/install prometheus")
	output, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	require.NoError(t, err, "%s", output)
	t.Logf("%s", output)
}

// rules are the groups of a file of rules for Prometheus.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Record      string            `json:"record,omitempty"`
			Alert       string            `json:"alert,omitempty"`
			Expr        string            `json:"expr"`
			Labels      map[string]string `json:"labels,omitempty"`
			Annotations map[string]string `json:"annotations,omitempty"`
		} `json:"rules"`
	} `json:"groups"`
}

func rulesOf(t *testing.T, file string) (r rules) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), &r))
	require.NotEmpty(t, r.Groups)
	return r
}

func TestAlertsFireWhereTheyShould(t *testing.T) {
	prometheus := filepath.Join(dir, "prometheus")
	promtool(t, "check", "rules", filepath.Join(prometheus, "recording.yml"), filepath.Join(prometheus, "alerts.yml"))
	promtool(t, "check", "config", "--syntax-only", filepath.Join(prometheus, "prometheus.yml"))
	promtool(t, "test", "rules", filepath.Join(prometheus, "alerts.test.yml"))
	tests := read(t, "prometheus/alerts.test.yml")
	for _, rule := range rulesOf(t, "prometheus/alerts.yml").Groups[0].Rules {
		require.Regexp(t, "alertname: "+rule.Alert+"\n +exp_alerts:", tests, "no test in which it fires")
		require.Contains(t, tests, "alertname: "+rule.Alert+" }", "no test in which it does not fire")
	}
}

// The URL of each alert leads to the heading that says what to do.
func TestEveryAlertLinksToWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	anchors := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(page), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	for _, rule := range rulesOf(t, "prometheus/alerts.yml").Groups[0].Rules {
		url, anchor, ok := strings.Cut(rule.Annotations["runbook_url"], "#")
		require.True(t, ok, rule.Alert)
		require.True(t, strings.HasSuffix(url, "/docs/operations.md"), url)
		require.True(t, anchors[anchor], "%s: operations.md has no heading #%s", rule.Alert, anchor)
		require.NotEmpty(t, rule.Annotations["summary"])
		require.Contains(t, []string{"critical", "warning"}, rule.Labels["severity"])
	}
}

// dashboard is the part of Grafana's dashboard that the tests read.
type dashboard struct {
	Templating struct {
		List []struct{ Name, Definition string }
	}
	Panels []struct {
		ID      int
		Title   string
		Type    string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(read(t, "grafana/filewallball.json")), &d))
	require.Greater(t, len(d.Panels), 20)
	return d
}

func TestDashboardHasItsVariablesAndNoOverlappingPanels(t *testing.T) {
	d := readDashboard(t)
	var names []string
	for _, variable := range d.Templating.List {
		names = append(names, variable.Name)
	}
	require.Equal(t, []string{"datasource", "job", "instance", "route"}, names)
	taken := make(map[[2]int]string)
	ids := make(map[int]bool)
	for _, panel := range d.Panels {
		require.False(t, ids[panel.ID], "one ID for two panels")
		ids[panel.ID] = true
		for x := range panel.GridPos.W {
			for y := range panel.GridPos.H {
				at := [2]int{panel.GridPos.X + x, panel.GridPos.Y + y}
				require.Empty(t, taken[at], "%s is over another panel", panel.Title)
				require.Less(t, at[0], 24, panel.Title)
				taken[at] = panel.Title
			}
		}
		for _, target := range panel.Targets {
			require.Contains(t, target.Expr, `{job=~"$job",instance=~"$instance"`, panel.Title)
		}
	}
}

// queries returns all queries of the dashboard, with its variables replaced, and of the
// rules.
func queries(t *testing.T) (all []string) {
	t.Helper()
	fill := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$route", ".*")
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			all = append(all, fill.Replace(target.Expr))
		}
	}
	for _, file := range []string{"prometheus/recording.yml", "prometheus/alerts.yml"} {
		for _, rule := range rulesOf(t, file).Groups[0].Rules {
			all = append(all, rule.Expr)
		}
	}
	return all
}

func TestQueriesOfTheDashboardAreValid(t *testing.T) {
	var group []map[string]string
	for _, query := range queries(t) {
		group = append(group, map[string]string{"record": fmt.Sprintf("query:%d", len(group)), "expr": query})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "queries", "rules": group}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "queries.yml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	promtool(t, "check", "rules", file)
}
