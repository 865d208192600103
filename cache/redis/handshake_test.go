package redis

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func TestAnotherServerAtTheAddressIsNamedInTheError(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	err := get(open(t, Options{Addresses: []string{strings.TrimPrefix(web.URL, "http://")}}), "k")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.ErrorContains(t, err, "does not speak the protocol of Redis")
}
