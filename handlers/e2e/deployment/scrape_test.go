package deployment

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

var (
	metricName = regexp.MustCompile(`\bcaddy_filewallball_[a-z_]+`)
	selector   = regexp.MustCompile(`\b(caddy_filewallball_[a-z0-9_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)(=~?)"([^"]*)"`)
	grouping   = regexp.MustCompile(`by \(([a-z, ]+)\) \((?:rate\()?(caddy_filewallball_[a-z0-9_]+)`)
)

// scrape adds the series of a node's metrics: their labels by name.
func scrape(t *testing.T, address string, into map[string][]map[string]string) {
	t.Helper()
	a := sitetest.Request(t, http.MethodGet, "http://"+address+"/metrics", "")
	require.Equal(t, http.StatusOK, a.Status)
	for line := range strings.Lines(a.Body) {
		name := metricName.FindString(line)
		if name == "" || strings.HasPrefix(line, "#") {
			continue
		}
		labels := map[string]string{"job": "a", "instance": "b"}
		for _, label := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(line, -1) {
			labels[label[1]] = label[2]
		}
		into[name] = append(into[name], labels)
	}
}

// Every metric, label and value that panels and rules name is in a scrape of a node with
// Redis or of one with the embedded store.
func TestEveryMetricOfPanelsAndRulesIsScraped(t *testing.T) {
	server := redistest.Start(t)
	app := sitetest.NewApplication(t)
	root := sitetest.Files(t, map[string]string{"a.txt": "hello"})
	series := make(map[string][]map[string]string)
	for _, store := range []string{"redis " + server.Addr(), "memory {\npersist " + t.TempDir() + "/records 1s\n}"} {
		status := ports.Addr(t)
		s := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
		config := filepath.Join(t.TempDir(), "Caddyfile")
		text := strings.Replace(s.Config("filesystem files lookup_cache\nmetrics\nfilewallball {\n"+store+"\n}", `
			session_lookup /door {header.X-Token} {
				source http `+app.URL+`
			}
			upload_progress /upload {header.X-Upload}
			root `+root+`
			file_metadata {
				source file_system
			}
			file_server {
				fs files
			}`), "log {\n\t\t\toutput discard\n\t\t}", "", 1) + "\nhttp://" + status + " {\n\tmetrics\n}\n"
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		p := caddy(t, config)
		p.answers(t, s.Page+"/a.txt", http.StatusOK)
		require.Equal(t, http.StatusNotFound, s.Get(t, "/door", "X-Token", "ada1").Status)
		require.Eventually(t, func() bool {
			scrape(t, status, series)
			if strings.HasPrefix(store, "redis") {
				return series["caddy_filewallball_redis_connected_clients"] != nil && series["caddy_filewallball_near_coherent"] != nil
			}
			return series["caddy_filewallball_persist_last_success_timestamp_seconds"] != nil
		}, 20*time.Second, 50*time.Millisecond, "%s", p)
		if strings.HasPrefix(store, "redis") {
			require.NoError(t, server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
			s.Get(t, "/door", "X-Token", "bob1") // which Redis does not store
			scrape(t, status, series)
		}
	}
	require.NotEmpty(t, series)
	for _, query := range queries(t) {
		for _, name := range metricName.FindAllString(query, -1) {
			require.NotEmpty(t, series[name], "%s is in no scrape", name)
		}
		for _, found := range selector.FindAllStringSubmatch(query, -1) {
			for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
				want := regexp.MustCompile("^(?:" + m[3] + ")$")
				if m[2] == "=" {
					want = regexp.MustCompile("^" + regexp.QuoteMeta(m[3]) + "$")
				}
				for _, value := range strings.Split(m[3], "|") {
					exact := value == ".*" || slices.ContainsFunc(series[found[1]], func(labels map[string]string) bool { return labels[m[1]] == value })
					require.True(t, exact && want.MatchString(value), "%s has no %s=%q", found[1], m[1], value)
				}
			}
		}
		for _, found := range grouping.FindAllStringSubmatch(query, -1) {
			for _, label := range strings.Split(found[1], ", ") {
				has := slices.ContainsFunc(series[found[2]], func(labels map[string]string) bool { _, ok := labels[label]; return ok })
				require.True(t, has, "%s has no label %s", found[2], label)
			}
		}
	}
}
