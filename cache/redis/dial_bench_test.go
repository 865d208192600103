package redis

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	goredis "github.com/redis/go-redis/v9"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

// BenchmarkLocate is one look at where an address leads, as each tracker takes
// 1.7 times a second. "server-us/op" is what the server pays for it.
func BenchmarkLocate(b *testing.B) {
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		b.Run(name, func(b *testing.B) {
			server := redistest.StartWith(b, redistest.Options{TLS: encrypted})
			o := at(server)
			if encrypted {
				o = tlsOptions(server)
			}
			s := open(b, o)
			before := serverCPU(b, server.Client())
			for b.Loop() {
				cn, _, err := s.connector.connect(context.Background(), server.Addr(), false, []string{"INFO", "commandstats"})
				if err != nil {
					b.Fatal(err)
				}
				_ = cn.Close()
			}
			b.ReportMetric((serverCPU(b, server.Client())-before)*1e6/float64(b.N), "server-us/op")
		})
	}
}

// serverCPU is the time in seconds that a server was on the CPU.
func serverCPU(t testing.TB, client *goredis.Client) (seconds float64) {
	text, err := client.Info(context.Background(), "cpu").Result()
	require.NoError(t, err)
	info := parseInfo(text)
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		n, err := strconv.ParseFloat(strings.TrimSpace(info[name]), 64)
		require.NoError(t, err)
		seconds += n
	}
	return seconds
}
