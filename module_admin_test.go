package filewallball

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestWarmedAndRestoredFilesAreHits(t *testing.T) {
	server := redistest.Start(t)
	root := files(t, map[string]string{"a.txt": "a", "sub/b b.txt": "b", "Caddyfile": "secret"})
	option := "filewallball {\nredis " + server.Addr() + "\nkey_prefix app:\n}"
	s := serve(t, option, "root "+root+"\nfile_metadata {\nname files\nsource file_system\n}\nfile_server")
	hit := func() {
		t.Helper()
		for _, path := range []string{"/a.txt", "/sub/b%20b.txt"} {
			a := s.get(t, path)
			require.Equal(t, http.StatusOK, a.Status)
			require.Contains(t, a.Header.Get("Cache-Status"), "file_metadata; hit", path)
		}
	}

	a := s.api(t, http.MethodPost, "warm", `{"route": "files"}`)
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Contains(t, a.Body, "say root")
	a = s.api(t, http.MethodPost, "warm", `{"route": "files", "root": "`+root+`"}`)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var last struct {
		Loaded   int
		Finished bool
	}
	lines := strings.Split(strings.TrimSpace(a.Body), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	require.True(t, last.Finished)
	require.Equal(t, 3, last.Loaded)
	require.Zero(t, s.stats(t).Misses)
	hit()
	require.Zero(t, s.stats(t).Misses)

	backup := s.api(t, http.MethodGet, "backup", "").Body
	require.NoError(t, server.Client().FlushAll(t.Context()).Err())
	a = s.api(t, http.MethodPost, "restore", backup)
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Contains(t, a.Body, `"restored":3,`)
	hit()

	s.load(t, option, "respond ok")
	http.DefaultClient.CloseIdleConnections() // they are of the old admin server
	a = s.api(t, http.MethodPost, "warm", `{"route": "files", "root": "`+root+`"}`)
	require.Equal(t, http.StatusNotFound, a.Status, "routes are those of the running configuration")
}
