package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatOfAProcessWithAnyNameIsRead(t *testing.T) {
	t.Parallel()
	parent, ticks, err := parseStat([]byte("42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 1 1 1"))
	require.NoError(t, err)
	require.Equal(t, 7, parent)
	require.EqualValues(t, 42, ticks)
	_, _, err = parseStat([]byte("42 (cut off) S 7"))
	require.Error(t, err)
}

func TestCPUTimeGrowsWithWork(t *testing.T) {
	t.Parallel()
	before, err := cpuTime(os.Getpid())
	require.NoError(t, err)
	sum := 0
	require.Eventually(t, func() bool {
		for i := range 10_000_000 {
			sum += i
		}
		now, err := cpuTime(os.Getpid())
		return err == nil && now > before
	}, 10*time.Second, time.Millisecond, sum)
	_, err = cpuTime(1 << 30)
	require.ErrorContains(t, err, "is gone")
}
