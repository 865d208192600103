package httpsource

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestErrorsRepeatNothingOfTheAnswer(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"SSH-2.0-s3cret\r\n":                                                                     "requesting: invalid record: net/http: HTTP/1.x transport connection broken: malformed HTTP response",
		"HTTP/1.1 s3cret\r\n\r\n":                                                                "malformed HTTP status code",
		"HTTP/s3cret 200 OK\r\n\r\n":                                                             "malformed HTTP version",
		"HTTP/1.1 200 OK\r\nSet-Cookie s3cret\r\n\r\n":                                           "malformed MIME header",
		"HTTP/1.1 200 OK\r\n s3cret: a\r\n\r\n":                                                  "malformed MIME header",
		"HTTP/1.1 200 OK\r\nContent-Length: s3cret\r\n\r\n":                                      "bad Content-Length",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cret\r\n\r\n":                                   "unsupported transfer encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cret\r\nTransfer-Encoding: a\r\n\r\n":           "too many transfer encodings",
		"HTTP/1.1 200 OK\r\nContent-Length: s3cret\r\nContent-Length: 1\r\n\r\n":                 "multiple Content-Length headers; got",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA s3cret\r\n\r\n":  "reading body: invalid record: malformed MIME header",
		"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"s3cret":                                  "body is not a JSON object or null",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ns3cret\r\n{}":                      "reading body: invalid byte in chunk length",
		"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"s3cret\": \"" + strings.Repeat("a", 37): "body is larger than 20 bytes",
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, said)
			_ = conn.Close()
		})
		_, err := load(provisioned(t, &Source{URL: server.URL + "/{id}", MaxBody: 20}, "{http.request.cookie.a}"), "a")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
		if !strings.HasPrefix(want, "reading body: invalid byte") { // which is a failure of the connection
			require.ErrorIs(t, err, cache.ErrInvalidRecord, said)
		}
	}
}
