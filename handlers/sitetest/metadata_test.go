package sitetest_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// What the application answers that is asked about a file decides nothing but
// the outcome: the first client is answered as all later ones are.
func TestFilesAreMissingRefusedAndUnknownAsConfigured(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(r.URL.Query().Get("status"))
		require.NoError(t, err)
		w.Header().Set("WWW-Authenticate", "Basic")
		w.Header().Set("X-Internal", "secret")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("internal"))
	}))
	t.Cleanup(app.Close)
	source := "file_metadata {query.id} {\nkey files:{id}\nsource http " + app.URL + "?status={id}\n"
	s := sitetest.Serve(t, "filewallball", "route /standard {\n"+source+"}\nrespond next\n}\n"+
		"route /set {\n"+source+"on_missing 410\non_denied 451\non_error 502\n}\nrespond next\n}\n"+
		"route /on {\n"+source+"on_missing continue\non_denied continue\non_error continue\n}\nrespond next\n}")
	for path, want := range map[string]map[int]int{
		"/standard": {401: 404, 404: 404, 410: 404, 403: 403, 400: 200, 429: 200, 500: 200, 503: 200},
		"/set":      {401: 410, 404: 410, 410: 410, 403: 451, 400: 502, 429: 502, 500: 502, 503: 502},
		"/on":       {401: 200, 404: 200, 410: 200, 403: 200, 400: 200, 429: 200, 500: 200, 503: 200},
	} {
		for answered, status := range want {
			for range 2 {
				a := s.Get(t, path+"?id="+strconv.Itoa(answered))
				require.Equal(t, status, a.Status, "%s, the application answers %d", path, answered)
				require.Empty(t, a.Header.Get("X-Internal"))
				if status == 200 {
					require.Equal(t, "next", a.Body)
					require.Empty(t, a.Header.Get("WWW-Authenticate"))
				} else {
					require.Empty(t, a.Body)
				}
			}
		}
	}
}
