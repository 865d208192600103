package session

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Trailers come after the body, when the headers have been dealt with.
func TestClientCannotSendCopiedHeadersAsTrailers(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID+`, "copy_headers": [{"field": "user_id", "header": "X-User-Id"}]`)
	app.Put(t, "session:user:s3cret", `{"user_id": 42}`)
	var got http.Header
	var trailer http.Header
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		got, trailer = r.Header.Clone(), r.Trailer.Clone()
		return err
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		if err := h.ServeHTTP(w, r, next); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	for _, announced := range []string{"Trailer: X-User-Id, X_User_Id, X-Checksum\r\n", "Trailer: X-Checksum\r\n", ""} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nCookie: session=s3cret\r\nConnection: close\r\n%s"+
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-User-Id: 1\r\nX_User_Id: 1\r\nX-Checksum: abc\r\n\r\n", announced)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, []string{"42"}, got.Values("X-User-Id"))
		require.NotContains(t, trailer, "X-User-Id", announced)
		require.NotContains(t, trailer, "X_user_id", announced)
		require.NotContains(t, trailer, "X_User_Id", announced)
		if announced != "" {
			require.Equal(t, "abc", trailer.Get("X-Checksum"), "other trailers pass")
		}
	}
}
