package session

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// In Caddy itself: the order of handlers, handle_errors, and what gets logged.
func TestSessionInCaddy(t *testing.T) {
	upstream := newUpstream(t)
	log := filepath.Join(t.TempDir(), "log")
	url, app := lookuptest.RunCaddy(t, `log default {
		level DEBUG
		output file `+log+` {
			roll_disabled
		}
	}`, `log
	handle /source/* {
		session_lookup {cookie.session} {
			key asked:{id}
			source http `+upstream.url+`?id={id}
		}
		respond "source"
	}
	handle {
		session_lookup {cookie.session} {
			require role admin
			copy_headers user_id>X-User-Id
		}
		header >X-Outcome {http.session.outcome}
		respond "{header.X-User-Id} {http.session.name}"
	}
	handle_errors {
		respond "sorry: {err.status_code} {http.session.outcome}" {err.status_code}
	}`)
	fetch := func(path, cookie string) (int, string, http.Header) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		require.NoError(t, err)
		r.Header.Set("X-User-Id", "1")
		r.Header["X_user_id"] = []string{"1"}
		if cookie != "" {
			r.Header.Set("Cookie", "session="+cookie)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body), resp.Header
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	app.Put(t, "session:user:S3CRET-admin", `{"user_id": 7, "name": "Ada", "role": ["admin"]}`)
	app.Put(t, "session:user:S3CRET-user", `{"user_id": 8, "name": "Bob", "role": ["user"]}`)

	status, body, header := fetch("/", "S3CRET-admin")
	require.Equal(t, "200 7 Ada hit", fmt.Sprint(status, " ", body, " ", header.Get("X-Outcome")))
	status, body, _ = fetch("/", "S3CRET-user")
	require.Equal(t, "403 sorry: 403 denied", fmt.Sprint(status, " ", body))
	status, body, header = fetch("/", "S3CRET-unknown")
	require.Equal(t, "401 sorry: 401 absent", fmt.Sprint(status, " ", body))
	require.Equal(t, "session_lookup; fwd=miss; detail=absent", header.Get("Cache-Status"))
	status, body, _ = fetch("/", "")
	require.Equal(t, "401 sorry: 401 none", fmt.Sprint(status, " ", body))
	status, _, _ = fetch("/source/", "S3CRET-ok")
	require.Equal(t, 200, status)
	status, _, _ = fetch("/source/", "S3CRET-broken")
	require.Equal(t, 503, status)
	upstream.server.Close()
	status, _, _ = fetch("/source/", "S3CRET-not-answered")
	require.Equal(t, 503, status)

	var users []string
	var text []byte
	require.Eventually(t, func() bool {
		users = nil
		var err error
		text, err = os.ReadFile(log)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Msg    string `json:"msg"`
				UserID string `json:"user_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &entry))
			if entry.Msg == "handled request" {
				users = append(users, entry.UserID)
			}
		}
		return len(users) == 7
	}, 5*time.Second, 5*time.Millisecond)
	require.Equal(t, "7", users[0], "access logs show the user")
	require.Equal(t, "", users[1], "a refused session has no user")
	require.Contains(t, string(text), "looked up session")
	require.False(t, strings.Contains(string(text), "S3CRET"), "an identity is in the log")
}
