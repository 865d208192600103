package redis

import (
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestErrorsSayEachReasonOnce(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Addresses: []string{ports.Addr(t)}, BreakerFailures: 1, BreakerCoolDown: time.Hour})
	items := []cache.Item{
		{Key: "a", Record: record(t, `{"a":1}`), TTL: ttl},
		{Key: "b", Record: record(t, `{"b":1}`), TTL: ttl},
	}
	for name, call := range map[string]func() error{
		"reading": func() error { return get(s, "k") },
		"reading many": func() error {
			_, err := s.GetMany(t.Context(), []string{"a", "b"})
			return err
		},
		"adding": func() error {
			_, err := s.AddMany(t.Context(), items)
			return err
		},
		"writing": func() error { return s.Set(t.Context(), "k", items[0].Record, ttl) },
		"deleting": func() error {
			_, err := s.Delete(t.Context(), "a", "b")
			return err
		},
		"dropping a tag": func() error { return s.DropTag(t.Context(), "t") },
	} {
		require.Error(t, call(), name) // opens the breaker
		err := call()
		require.ErrorIs(t, err, cache.ErrUnavailable, name)
		require.ErrorIs(t, err, errBreakerOpen, name)
		require.Equal(t, 1, strings.Count(err.Error(), "circuit breaker is open"), "%s: %v", name, err)
	}
}

func TestJoinedErrorsHaveNoKeys(t *testing.T) {
	t.Parallel()
	const said = "ERR unknown command 'GETRANGE'"
	unknown := replyError(said + ", with args beginning with: 'session:SECRET' ")
	err := joinOnce(nil, goredis.ErrPoolTimeout, unknown, unknown, replyError("ERR no"))
	require.Equal(t, goredis.ErrPoolTimeout.Error()+"; "+said+"; ERR no", err.Error())
	require.ErrorIs(t, err, goredis.ErrPoolTimeout)
	require.NoError(t, joinOnce(nil, nil))
}

func TestSentinelsThatAnswerTheSameSayItOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t).Addr() // which is no sentinel
	s := newSentinels(&Options{Addresses: []string{server, server, server}, MasterName: "SECRET"},
		new(net.Dialer).DialContext)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err := s.master(t.Context())
	require.EqualError(t, err, "ERR unknown command 'sentinel'")
}
