// What pages say in words other than examples, compared with what it is about.
package docs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// serve runs the sites of a Caddyfile until the test ends.
func (p place) serve(t *testing.T, caddyfile string) {
	t.Helper()
	config, err := sitetest.Adapt(p.serving(t, caddyfile))
	require.NoError(t, err, "%s", caddyfile)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() {
		require.NoError(t, caddy.Stop())
		http.DefaultClient.CloseIdleConnections()
	})
}

// A JSON block after <!-- answer: GET endpoint --> has exactly the fields that
// the endpoint answers with.
func TestAnswersOfTheDocsHaveTheFieldsOfRealOnes(t *testing.T) {
	count := 0
	for _, b := range blocks(t, "admin-api.md") {
		endpoint, ok := strings.CutPrefix(b.note, "answer: GET ")
		if !ok {
			continue
		}
		count++
		p := newPlace(t)
		p.redis = redistest.Start(t)
		p.serve(t, strings.Replace(blocks(t, "admin-api.md")[0].text, "example.com {", ":8080 {", 1))
		require.Equal(t, http.StatusUnauthorized, sitetest.Request(t, http.MethodGet, "http://"+p.site+"/report.pdf", "", "Cookie", "session=a").Status)
		s := sitetest.Site{Page: p.site, Admin: p.admin}
		require.Equal(t, jsonFields(t, s.API(t, http.MethodGet, endpoint, "").Body), jsonFields(t, b.text), "%s shows other fields than it has", b.name())
	}
	require.NotZero(t, count)
}

// samples are objects whose keys are names; any of them shows the fields.
var samples = []string{"families", "routes", "sources"}

// jsonFields are the paths of all fields of a JSON object.
func jsonFields(t *testing.T, text string) (paths []string) {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &object), text)
	var walk func(prefix string, value any)
	walk = func(prefix string, value any) {
		fields, ok := value.(map[string]any)
		if !ok {
			paths = append(paths, prefix)
			return
		}
		for name, value := range fields {
			if slices.Contains(samples, strings.TrimPrefix(prefix, ".")) {
				name = "*"
			}
			walk(prefix+"."+name, value)
		}
	}
	walk("", object)
	slices.Sort(paths)
	return slices.Compact(paths)
}

func TestCommandsOfTheDocsAreThoseThereAre(t *testing.T) {
	out, err := sitetest.Caddy(t, "filewallball", "--help").Output()
	require.NoError(t, err)
	_, commands, ok := strings.Cut(string(out), "Available Commands:\n")
	require.True(t, ok)
	commands, _, _ = strings.Cut(commands, "\n\n")
	page, err := os.ReadFile("cli.md")
	require.NoError(t, err)
	names := func(pattern, text string) (names []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	require.Equal(t, names(`(?m)^  ([\w-]+) `, commands), names(`(?m)^caddy filewallball ([\w-]+)`, string(page)))

	for _, b := range blocks(t, "cli.md") {
		if b.language != "" {
			continue
		}
		for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
			command := strings.Fields(line)[2]
			help, err := sitetest.Caddy(t, "filewallball", command, "--help").Output()
			require.NoError(t, err)
			_, flags, _ := strings.Cut(string(help), "Flags:\n")
			own := slices.DeleteFunc(names(`--([a-z-]+)`, flags), func(name string) bool {
				return slices.Contains([]string{"address", "config", "adapter", "help", "output"}, name) // -o
			})
			require.Subset(t, own, names(`--([a-z-]+)`, line), line)
			require.Subset(t, names(`--([a-z-]+)`, line), own, line)
		}
	}
}

// Each line of the table makes the hash of a cookie's value.
func TestHashesOfTheDocsAreThoseOfKeys(t *testing.T) {
	page, err := os.ReadFile("records.md")
	require.NoError(t, err)
	sum := sha256.Sum256([]byte("s3cret"))
	want := hex.EncodeToString(sum[:])
	rows := regexp.MustCompile("(?m)^\\| (Python|Node|PHP|shell) \\| `(.*)` \\|$").FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, 4)
	for _, row := range rows {
		line := strings.ReplaceAll(row[2], `\|`, "|")
		var cmd *exec.Cmd
		switch row[1] {
		case "Python":
			cmd = exec.CommandContext(t.Context(), "python3", "-c", "import hashlib\ncookie = 's3cret'\nprint("+line+")")
		case "Node":
			cmd = exec.CommandContext(t.Context(), "node", "-e", "const crypto = require('crypto'), cookie = 's3cret'; console.log("+line+")")
		case "PHP":
			cmd = exec.CommandContext(t.Context(), "php", "-r", "$cookie = 's3cret'; echo "+line+";")
		case "shell":
			cmd = exec.CommandContext(t.Context(), "sh", "-c", "cookie=s3cret; "+line)
		}
		if cmd.Err != nil {
			t.Logf("%s is not installed: its line is compared with the one that was tried", row[1])
			require.Equal(t, map[string]string{
				"PHP":  `hash("sha256", $cookie)`,                                  // PHP 8.2
				"Node": `crypto.createHash("sha256").update(cookie).digest("hex")`, // Node 20
			}[row[1]], line)
			continue
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want, strings.TrimSpace(string(out)), row[1])
	}
}

var linkOfPage = regexp.MustCompile(`href="([^"]+)"`)

// A browser that opens the example site is told what to try.
func TestExampleSiteExplainsItself(t *testing.T) {
	p := newPlace(t)
	p.serve(t, "")
	s := sitetest.Site{Page: p.site, Admin: p.admin}
	page := s.Get(t, "/")
	require.Equal(t, http.StatusOK, page.Status)
	require.Contains(t, page.Header.Get("Content-Type"), "text/html")
	require.Equal(t, http.StatusNoContent, s.API(t, http.MethodPut, "keys/session:user:s3cret?ttl=1h", `{"user_id": 123, "permissions": ["read"]}`).Status)
	links := linkOfPage.FindAllStringSubmatch(page.Body, -1)
	require.NotEmpty(t, links)
	for _, m := range links {
		require.Equal(t, http.StatusOK, s.Get(t, "/"+m[1], "Cookie", "session=s3cret").Status, m[1])
	}
}
