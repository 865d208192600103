//go:build unix

package redis

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
)

func TestPausedProcessDoesNotLetInWhatWasRevokedMeanwhile(t *testing.T) {
	server := redistest.Start(t)
	require.NoError(t, server.Client().Set(t.Context(), user, `{"v":1}`, time.Hour).Err())
	node := exec.Command(os.Args[0])
	node.Env = append(os.Environ(), pausedNode+"="+server.Addr())
	output, err := node.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, node.Start())
	t.Cleanup(func() { _ = node.Process.Kill(); _ = node.Wait() })
	lines := bufio.NewScanner(output)
	next := func() (began time.Time, ok bool, from string) {
		require.True(t, lines.Scan())
		var at int64
		fields := strings.Fields(lines.Text() + " -")
		_, err := fmt.Sscan(fields[0], &at)
		require.NoError(t, err)
		return time.Unix(0, at), fields[1] == "true", fields[2]
	}
	for {
		if _, ok, from := next(); ok && from == "near" {
			break
		}
	}
	n := startNoise(t)
	require.NoError(t, node.Process.Signal(syscall.SIGSTOP))
	require.NoError(t, server.Client().Del(t.Context(), user).Err())
	revoked := time.Now()
	time.Sleep(1500 * time.Millisecond) // the pause
	require.NoError(t, node.Process.Signal(syscall.SIGCONT))
	n.stop()
	for {
		began, ok, from := next()
		if ok {
			require.LessOrEqual(t, began.Sub(revoked), staleBound+n.quantile(1), "let in from %s", from)
		}
		if began.Sub(revoked) > 3*time.Second {
			break
		}
	}
}
