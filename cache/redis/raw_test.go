package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestRawValuesAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := at(server)
	o.MaxValueSize = 1000
	s := open(t, o)
	ctx, client := t.Context(), server.Client()
	binary := "\x80\x04}\x00\xff\r\n"
	require.NoError(t, client.Set(ctx, "binary", binary, time.Minute).Err())
	require.NoError(t, client.Set(ctx, "empty", "", 0).Err())
	require.NoError(t, client.Set(ctx, "limit", strings.Repeat("x", 1000), 0).Err())
	require.NoError(t, client.Set(ctx, "over", strings.Repeat("x", 1001), 0).Err())
	require.NoError(t, client.HSet(ctx, "hash", "name", binary, "empty", "").Err())
	require.NoError(t, client.PExpire(ctx, "hash", time.Minute).Err())
	require.NoError(t, client.HSet(ctx, "large hash", "name", strings.Repeat("x", 1001)).Err())
	fields := make([]string, 0, 2*(maxFields+1))
	for i := range maxFields + 1 {
		fields = append(fields, fmt.Sprint(i), "")
	}
	require.NoError(t, client.HSet(ctx, "many fields", fields).Err())
	require.NoError(t, client.LPush(ctx, "list", "x").Err())

	for _, test := range []struct {
		key     string
		want    cache.Raw
		expires bool
		err     error
	}{
		{key: "binary", want: cache.Raw{Text: binary}, expires: true},
		{key: "empty"},
		{key: "limit", want: cache.Raw{Text: strings.Repeat("x", 1000)}},
		{key: "over", err: errTooLarge},
		{key: "hash", want: cache.Raw{Fields: map[string]string{"name": binary, "empty": ""}}, expires: true},
		{key: "large hash", err: errTooLarge},
		{key: "many fields", err: errTooLarge},
		{key: "list", err: errOtherType},
	} {
		got, err := s.GetRaw(ctx, test.key)
		if test.err != nil {
			require.ErrorIs(t, err, test.err, test.key)
			require.ErrorIs(t, err, cache.ErrInvalidRecord, test.key)
			continue
		}
		require.NoError(t, err, test.key)
		require.NotNil(t, got, test.key)
		require.Equal(t, test.expires, got.Expires != 0, test.key)
		if test.expires {
			require.InDelta(t, time.Now().Add(time.Minute).UnixNano(), got.Expires, float64(10*time.Second), test.key)
			got.Expires = 0
		}
		require.Equal(t, test.want, *got, test.key)
	}
	got, err := s.GetRaw(ctx, "nothing")
	require.NoError(t, err)
	require.Nil(t, got)
}

func TestARefusedReadOfARawValueIsNotAnInvalidRecord(t *testing.T) {
	t.Parallel()
	o := at(redistest.StartWith(t, redistest.Options{Users: []string{
		"web on >secret ~* -@all +eval +evalsha +pttl +set +ping +info +hello"}}))
	o.Username, o.Password = "web", "secret"
	s := open(t, o)
	require.NoError(t, s.primary.Set(t.Context(), "key", "x", 0).Err())
	_, err := s.GetRaw(t.Context(), "key")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.NotErrorIs(t, err, cache.ErrInvalidRecord)
}
