package httpsource

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// instant is a transport that answers at once.
type instant struct{}

func (instant) RoundTrip(*http.Request) (*http.Response, error) {
	const body = `{"user_id": "u-12345", "name": "Ada Lovelace", "roles": ["reader", "editor"], "expires_at": 4102444800}`
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// BenchmarkLoad is what a load costs besides the connection to the application:
//
//	go test ./handlers/source/http -run '^$' -bench Load -benchmem
func BenchmarkLoad(b *testing.B) {
	h := provisioned(b, &Source{URL: "http://app.internal/verify"}, "{cookie.sid}")
	h.transport = instant{}
	for b.Loop() {
		_, err := h.Load(b.Context(), cache.Request{Key: "k", ID: "0123456789abcdef0123456789abcdef"}, nil)
		require.NoError(b, err)
	}
}
