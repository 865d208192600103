package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/metrics"
)

var (
	described = regexp.MustCompile(`fqName: "caddy_filewallball_([a-z_]+)"`)
	codeSpan  = regexp.MustCompile("`([a-z_]+)`")
)

// The tables of metrics in docs/metrics.md have the metrics that the collectors describe.
func TestMetricsOfTheDocsAreThoseOfTheCollectors(t *testing.T) {
	t.Parallel()
	var collected []string
	for _, c := range []prometheus.Collector{metrics.New(nil), metrics.NewFileSystem(nil), metrics.NewRoots(nil)} {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for desc := range descs {
			name := described.FindStringSubmatch(desc.String())
			require.NotNil(t, name, desc)
			collected = append(collected, name[1])
		}
	}
	page, err := os.ReadFile("metrics.md")
	require.NoError(t, err)
	var listed []string
	inTable := false
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			inTable = false
			continue
		}
		if inTable = inTable || strings.TrimSpace(cells[1]) == "metric"; inTable {
			for _, name := range codeSpan.FindAllStringSubmatch(cells[1], -1) {
				listed = append(listed, name[1])
			}
		}
	}
	slices.Sort(collected)
	slices.Sort(listed)
	require.Equal(t, collected, listed)
}
