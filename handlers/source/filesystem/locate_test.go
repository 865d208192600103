package filesource_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestAnUnknownRootIsLoggedOnce(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	url, _ := lookuptest.RunCaddy(t, "log {\noutput file "+log+" {\nroll_disabled\n}\n}",
		"root /known/* "+t.TempDir()+"\nfile_metadata {\nsource file_system\n}\nfile_server")
	for range 3 {
		for _, method := range []string{"GET", "HEAD"} {
			status, header, _ := request(t, method, url+"/nothing-there.txt")
			require.Equal(t, http.StatusNotFound, status)
			require.Empty(t, header.Get("Cache-Status"), "it was looked up")
			request(t, method, url+"/known/a.txt")
		}
	}
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), "the root of the files is not known"), "%s", text)
	require.Contains(t, string(text), "set root for the site")
}
