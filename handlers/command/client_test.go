package command

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// callTo is a call to an address, whose output is dropped.
func callTo(t *testing.T, address string) *call {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.String("address", address, "")
	c, err := newClient(flags)
	require.NoError(t, err)
	t.Cleanup(c.close)
	return &call{client: c, ctx: t.Context(), in: strings.NewReader(""), out: new(bytes.Buffer), err: new(bytes.Buffer)}
}

func TestACaddyThatHangsIsAnErrorAfterAWhile(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	require.NoError(t, err)
	defer silent.Close()
	begun := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/health+json")
		w.WriteHeader(http.StatusOK)
		require.NoError(t, http.NewResponseController(w).Flush())
		<-r.Context().Done()
	}))
	defer begun.Close()
	for _, address := range []string{silent.Addr().String(), begun.Listener.Addr().String()} {
		for name, act := range map[string]func(*call) error{
			"health": func(c *call) error { return c.showHealth(false) },
			"stats":  func(c *call) error { return c.showStats(false) },
		} {
			c := callTo(t, address)
			c.patience = 50 * time.Millisecond
			require.EqualError(t, act(c), "the Caddy at "+address+" does not answer within 50ms", name)
		}
	}
}

func TestAnAddressThatIsNoAdminAPIIsAClearError(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0") // closes each connection, as Redis does after a GET
	require.NoError(t, err)
	defer other.Close()
	go func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	for address, want := range map[string]string{
		secure.Listener.Addr().String(): "speaks TLS, as Caddy's remote administration does, which is not supported: run the command on the server itself",
		other.Addr().String():           "(is that the address of Caddy's admin API, which speaks HTTP without TLS?)",
	} {
		c := callTo(t, address)
		require.ErrorContains(t, c.showHealth(false), want)
		require.ErrorContains(t, c.showStats(false), want)
	}
}
