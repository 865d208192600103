package lookup_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// pieceSize is how many bytes of a file go out at a time.
const pieceSize = 64 << 10

// sessionIn returns a session_lookup with the configuration.
func sessionIn(t *testing.T, ctx caddy.Context, config string) caddyhttp.MiddlewareHandler {
	t.Helper()
	h, err := lookuptest.NewHandler(ctx, "session_lookup", "{"+config+"}")
	require.NoError(t, err)
	return h
}

// writes counts what a response is written in.
type writes struct {
	httptest.ResponseRecorder
	sizes []int
	wrote chan int // is told, unless it is nil
}

func (w *writes) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	if w.wrote != nil {
		w.wrote <- len(p)
	}
	return w.ResponseRecorder.Write(p)
}

// Several lookups in one route, in whatever order, must not get into each
// other's way.
func TestFilesGoOutInOnePieceBehindLookups(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcde\n"), pieceSize/16)
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	ctx, app := lookuptest.NewApp(t, `{}`)
	user := sessionIn(t, ctx, `"id": "{http.request.header.X-A}"`)
	link := sessionIn(t, ctx, `"id": "{http.request.header.X-B}"`)
	file, err := lookuptest.NewHandler(ctx, "file_metadata", `{"id": "1"}`)
	require.NoError(t, err)
	app.Put(t, "session:user:a", `{}`)
	app.Put(t, "session:user:b", `{}`)
	app.Put(t, "file:meta:1", `{}`)
	for title, handlers := range map[string]lookuptest.Chain{
		"session": {user}, "file": {file}, "sessions": {user, link}, "all": {user, file, link}, "twice": {file, user, file},
	} {
		t.Run(title, func(t *testing.T) {
			w := &writes{ResponseRecorder: *httptest.NewRecorder()}
			r := caddyhttp.PrepareRequest(lookuptest.Get("/", "X-A", "a", "X-B", "b"), caddy.NewReplacer(), w, nil)
			require.NoError(t, handlers.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				f, err := os.Open(name)
				if err != nil {
					return err
				}
				defer f.Close()
				http.ServeContent(w, r, "", time.Time{}, f)
				return nil
			})))
			require.Equal(t, content, w.Body.Bytes())
			require.Equal(t, []int{pieceSize}, w.sizes)
		})
	}
}

// A pipe is a file as well, whose rest may come at any time.
func TestDataFromAPipeIsSentAtOnce(t *testing.T) {
	t.Parallel()
	ctx, app := lookuptest.NewApp(t, `{}`)
	h := sessionIn(t, ctx, `"id": "{http.request.cookie.session}"`)
	app.Put(t, "session:user:abc", `{}`)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	w := &writes{ResponseRecorder: *httptest.NewRecorder(), wrote: make(chan int)}
	r := caddyhttp.PrepareRequest(lookuptest.Get("/", "Cookie", "session=abc"), caddy.NewReplacer(), w, nil)
	served := make(chan error)
	go func() {
		served <- h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.CopyN(w, out, pieceSize)
			return err
		}))
	}()
	for _, text := range []string{"some", "more"} {
		_, err := in.WriteString(text)
		require.NoError(t, err)
		require.Equal(t, len(text), <-w.wrote)
	}
	require.NoError(t, in.Close())
	require.ErrorIs(t, <-served, io.EOF)
	require.Equal(t, "somemore", w.Body.String())
}
