package memory_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/memory"
)

// child runs a process that uses a store with the file and dies at an operation
// on the disk. It returns the steps that the process had answered.
func child(t *testing.T, file string, dieAt int) (steps []string, killed bool) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprint("FILEWALLBALL_TEST_STORE=", file, " ", dieAt))
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if err != nil {
		require.Equal(t, "signal: killed", err.Error(), errs.String())
	}
	return strings.Split(out.String(), "\n"), err != nil
}

// A process is killed before each of the operations by which it saves and
// notes revocations, and in the middle of each write. Whatever it had answered
// holds in the next process.
func TestAnsweredWritesAndRevocationsSurviveAKillAtAnyPoint(t *testing.T) {
	t.Parallel()
	killed := true
	for dieAt := 1; killed; dieAt++ {
		file := filepath.Join(t.TempDir(), "records")
		var steps []string
		steps, killed = child(t, file, dieAt)
		did := func(step string) bool { return slices.Contains(steps, step) }

		var l logs
		s := open(t, memory.Options{File: file, Logger: l.logger()})
		for _, key := range []string{"deleted", "tagged", "p:1", "later"} {
			if did(key) {
				require.Empty(t, text(t, s, key), "%s is back after a kill at operation %d, after %q", key, dieAt, steps)
			}
		}
		if did("ended") {
			require.Eventually(t, func() bool { return text(t, s, "ended") == "" }, 5*time.Second, time.Millisecond)
		}
		if did("changed") {
			require.Equal(t, `{"n":2}`, text(t, s, "changed"))
		}
		if did("denied") {
			require.Equal(t, `{"denied":403}`, text(t, s, "denied"))
		}
		if did("first save") {
			require.Equal(t, `{"n":1}`, text(t, s, "kept"))
		}
		require.Zero(t, l.count("WARN")+l.count("ERROR"), "killed at %d: %s", dieAt, l.text.String())
		set(t, s, "new", `{}`)
		s = restart(t, s, memory.Options{File: file})
		require.Equal(t, "{}", text(t, s, "new"))
		require.NoError(t, s.Close())
		require.Empty(t, beside(t, file))
		require.NoFileExists(t, file+".saving")
		found, err := filepath.Glob(file + ".journal-*")
		require.NoError(t, err)
		require.Empty(t, found)
		if !killed {
			require.Greater(t, dieAt, 50, "the process makes fewer operations than it should")
			require.True(t, did("close"))
		}
	}
}
