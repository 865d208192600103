// A Redis whose clock jumps: a preloaded library changes its time of day.

package faults

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// clock is the clock of a Redis.
type clock struct {
	t       *testing.T
	library string
	file    string // has the offset in seconds
}

func newClock(t *testing.T) *clock {
	dir := t.TempDir()
	c := &clock{t, filepath.Join(dir, "clock.so"), filepath.Join(dir, "clock")}
	out, err := exec.Command("cc", "-shared", "-fPIC", "-O", "-o", c.library, "testdata/clock.c").CombinedOutput()
	require.NoError(t, err, "compiling testdata/clock.c (install a compiler with `apt-get install gcc`): %s", out)
	c.set(0)
	return c
}

// env is the environment of a process with this clock.
func (c *clock) env() []string { return []string{"LD_PRELOAD=" + c.library, "CLOCK=" + c.file} }

func (c *clock) set(offset time.Duration) {
	f, err := os.OpenFile(c.file, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(c.t, err)
	defer f.Close()
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(offset/time.Second))), 0)
	require.NoError(c.t, err)
}

// jump sets the clock of the fleet's Redis, and waits until Redis has the new time.
func (c *clock) jump(f *fleet, offset time.Duration) {
	c.set(offset)
	require.Eventually(c.t, func() bool {
		now, err := f.truth.(*redis.Client).Time(c.t.Context()).Result()
		return err == nil && (time.Until(now)-offset).Abs() < 10*time.Second
	}, 10*time.Second, time.Millisecond, "the clock of Redis does not follow")
}

func TestJumpsOfTheClockOfRedis(t *testing.T) {
	var scenarios []scenario
	for _, offset := range []time.Duration{30 * time.Minute, -30 * time.Minute} {
		c, long := newClock(t), offset > 0
		scenarios = append(scenarios,
			scenario{name: "sessions, " + offset.String(), long: long, run: row{
				setup: setup{env: c.env()},
				inject: func(f *fleet) func() {
					c.jump(f, offset)
					return func() { c.jump(f, 0) }
				},
				lasts: time.Second, stale: healthBound, recovery: time.Second, calm: true,
			}.run},
			scenario{name: "a purge during loads, " + offset.String(), long: long, run: func(t *testing.T) {
				c.set(0)
				f := newFleet(t, setup{env: c.env()})
				f.purgeDuringLoads(func() { c.jump(f, offset) })
			}},
		)
	}
	runAll(t, scenarios)
}
