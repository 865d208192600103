// Nothing that the plugin registers, and no page, is missing in the docs.
package docs_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

// ours are the IDs of the Caddy modules of this repository.
func ours(t *testing.T) (ids []string) {
	t.Helper()
	for _, id := range caddy.Modules() {
		info, err := caddy.GetModule(id)
		require.NoError(t, err)
		kind := reflect.TypeOf(info.New())
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if strings.HasPrefix(kind.PkgPath(), "github.com/filewallball/") {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestEveryModuleIsInTheDocs(t *testing.T) {
	page, err := os.ReadFile("json.md")
	require.NoError(t, err)
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| \\[").FindAllSubmatch(page, -1) {
		listed = append(listed, string(m[1]))
	}
	slices.Sort(listed)
	require.Equal(t, ours(t), listed, "modules that are registered, and the list in docs/json.md")
}

func TestEveryPageIsLinkedFromTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for _, page := range pages(t) {
		if !strings.HasPrefix(page, "..") && !strings.HasPrefix(page, "adr/0") {
			require.Contains(t, string(readme), "(docs/"+page)
		}
	}
	index, err := os.ReadFile("adr/README.md")
	require.NoError(t, err)
	for _, page := range pages(t) {
		if name, ok := strings.CutPrefix(page, "adr/0"); ok {
			require.Contains(t, string(index), "(0"+name)
		}
	}
}
