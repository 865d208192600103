package httpsource

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// provisioned takes a source through the life that Caddy gives it.
func provisioned(t testing.TB, h *Source, identity string) *Source {
	t.Helper()
	require.NoError(t, provision(t, h, identity))
	return h
}

func provision(t testing.TB, h *Source, identity string) error {
	asker := source.Asker{Session: true}
	if identity != "" {
		asker.Identity = []string{identity}
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	t.Cleanup(func() { require.NoError(t, h.Cleanup()) })
	if err := h.Provision(ctx.WithValue(source.AskerCtxKey, asker)); err != nil {
		return err
	}
	return h.Validate()
}

func serve(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func load(h *Source, id string) (cache.Loaded, error) {
	return h.Load(context.Background(), cache.Request{Key: "k:" + id, ID: id}, nil)
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("id") {
		case "absent":
			http.Error(w, strings.Repeat("not here ", 1000), http.StatusNotFound)
		case "redirect":
			http.Redirect(w, r, "/login", http.StatusFound)
		case "error":
			http.Error(w, "broken", http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, `{"name": "a.pdf"}`)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	h := provisioned(t, &Source{URL: server.URL + "/?id={id}"}, "")
	for range 10 {
		for _, id := range []string{"found", "absent", "redirect", "error"} {
			_, err := load(h, id)
			require.Equal(t, id == "error", err != nil)
		}
	}
	require.EqualValues(t, 1, opened.Load())
	require.NoError(t, h.Cleanup())
	require.Eventually(t, func() bool { return closed.Load() == 1 }, 5*time.Second, time.Millisecond)
}

func TestSlowApplicationIsAnErrorWithinTheTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 50 * time.Millisecond
	for name, slow := range map[string]http.HandlerFunc{
		"no header": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"no end of body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"name": `)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, slow)
			h := provisioned(t, &Source{URL: server.URL + "/{id}", Timeout: caddy.Duration(timeout)}, "")
			require.Equal(t, timeout, h.LoadTimeout())
			started := time.Now()
			_, err := load(h, "secret-identity")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotContains(t, err.Error(), "secret-identity")
			require.Less(t, time.Since(started), 5*time.Second)
		})
	}
}

// Of an answer that is no success, the status and the headers decide.
func TestARefusalCountsBeforeItsBodyHasArrived(t *testing.T) {
	t.Parallel()
	for status, ok := range map[int]bool{302: true, 401: true, 403: true, 404: true, 500: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			h := provisioned(t, &Source{URL: server.URL + "/{id}", Timeout: caddy.Duration(time.Minute)}, "")
			started := time.Now()
			_, err := load(h, "a")
			require.Equal(t, ok, err == nil, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(started), 30*time.Second)
		})
	}
}

// An application closes a connection that was idle for too long, at the moment at which
// it is used again.
func TestAConnectionThatTheApplicationClosesIsReplaced(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			var answered sync.Map // by connection
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				require.Empty(t, r.Header.Values("Idempotency-Key"))
				if _, again := answered.LoadOrStore(r.RemoteAddr, true); again {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(http.StatusNoContent)
			})
			h := provisioned(t, &Source{URL: server.URL + "/{id}", Method: method}, "")
			for range 5 {
				loaded, err := load(h, "a")
				require.NoError(t, err)
				require.Equal(t, cache.Found, loaded.Record.State())
			}
		})
	}
}

func TestUnreachableApplicationIsAnErrorWithoutTheIdentity(t *testing.T) {
	t.Parallel()
	h := provisioned(t, &Source{URL: "http://" + ports.Addr(t) + "/verify/{id}?token=secret-token"}, "{cookie.sid}")
	_, err := load(h, "secret-identity")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}

func TestBrokenAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"cut body":    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
		"cut chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
		"no HTTP":     "hello\r\n\r\n",
		"nothing":     "",
		"huge header": "HTTP/1.1 200 OK\r\nX-Huge: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, answer)
			})
			h := provisioned(t, &Source{URL: server.URL + "/{id}"}, "")
			_, err := load(h, "a")
			require.Error(t, err)
		})
	}
}

func TestOnlyTheGivenAuthoritiesAreTrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"protocol": %q}`, r.Proto)
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = newSilentLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(ca, certificate, 0o600))
	empty := filepath.Join(dir, "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))

	h := provisioned(t, &Source{URL: server.URL + "/{id}", TLSCA: []string{ca}}, "")
	loaded, err := load(h, "a")
	require.NoError(t, err)
	require.JSONEq(t, `{"protocol": "HTTP/2.0"}`, loaded.Record.Text())

	_, err = load(provisioned(t, &Source{URL: server.URL + "/{id}"}, ""), "a")
	require.ErrorContains(t, err, "certificate")

	require.ErrorContains(t, provision(t, &Source{URL: server.URL + "/{id}", TLSCA: []string{empty}}, ""), "no PEM certificate")
	require.ErrorContains(t, provision(t, &Source{URL: server.URL + "/{id}", TLSCA: []string{dir + "/none"}}, ""), "reading tls_ca")
	require.ErrorContains(t, provision(t, &Source{URL: "http://app/{id}", TLSCA: []string{ca}}, ""), "want https")
}

func TestCleanupAfterHalfAProvision(t *testing.T) {
	t.Parallel()
	h := &Source{URL: "http://app/{http.request.uri}"}
	require.Error(t, provision(t, h, ""))
	require.NoError(t, h.Cleanup())
}
