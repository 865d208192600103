package filesource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// idleHasher is a hasher whose goroutine does not run, so that a test sees its
// queue.
func idleHasher(t *testing.T) *hasher {
	t.Helper()
	checks, err := otter.New(&otter.Options[string, *lastCheck]{MaximumSize: 2 * maxChecks})
	require.NoError(t, err)
	h := newHasher(t.Context(), &Source{checks: checks}, NewPace(1))
	h.running = true
	return h
}

func jobOf(name string, size int64) (cache.Request, fileState) {
	return cache.Request{Key: name, ID: name}, fileState{kind: regular, size: size}
}

func TestSmallFilesAreHashedFirst(t *testing.T) {
	t.Parallel()
	h := idleHasher(t)
	for name, size := range map[string]int64{"large": 1 << 30, "small": 2 << 10} {
		h.start(jobOf(name, size))
		h.start(jobOf(name, size)) // once
	}
	require.Len(t, h.pending, 2)
	for _, want := range []string{"small", "large"} {
		job, _ := h.next(false)
		require.Equal(t, want, job.req.ID)
		h.finish(job, 0)
	}
	require.Empty(t, h.pending)
	h.start(jobOf("another", 1<<30))
	job, _ := h.next(true)
	require.Nil(t, job, "it is not small")
}

func TestAFileThatWaitsIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := idleHasher(t)
	h.start(jobOf("a", 1))
	h.start(jobOf("b", 1))
	for _, wait := range []time.Duration{time.Hour, time.Minute} {
		job, _ := h.next(false)
		h.finish(job, wait)
	}
	job, wait := h.next(false)
	require.Nil(t, job)
	require.Greater(t, wait, 30*time.Second)
	require.LessOrEqual(t, wait, time.Minute)
	require.Len(t, h.pending, 2, "it is not queued a second time meanwhile")
	for _, job := range h.later {
		job.after = time.Now()
	}
	for range 2 {
		job, _ := h.next(false)
		require.NotNil(t, job)
		h.finish(job, 0)
	}
	_, wait = h.next(false)
	require.Zero(t, wait)
	require.False(t, h.running, "there is nothing to do")
}

func TestAFileThatFindsTheQueueFullIsHashedLater(t *testing.T) {
	t.Parallel()
	h := idleHasher(t)
	for i := range maxQueued {
		h.start(jobOf(fmt.Sprint(i), 1))
	}
	h.start(jobOf("one more", 1))
	require.Len(t, h.pending, maxQueued)
	job, _ := h.next(false)
	h.finish(job, 0)
	h.start(jobOf("one more", 1)) // by the next check of the file
	require.Contains(t, h.pending, "one more")
	h.close()
	h.start(jobOf("after the end", 1))
	require.NotContains(t, h.pending, "after the end")
}

func TestHashingTakesASmallShareOfTheCPUs(t *testing.T) {
	t.Parallel()
	for cores, want := range map[int]struct {
		slots      int
		busy, idle float64 // of a core, each slot
	}{
		1: {1, 0.05, 0.25}, 2: {1, 0.1, 0.5}, 4: {1, 0.2, 0.5}, 8: {2, 0.2, 0.5}, 64: {16, 0.2, 0.5},
	} {
		p := NewPace(cores)
		require.Equal(t, want.slots, cap(p.slots), cores)
		now := time.Now()
		require.InDelta(t, want.idle, p.share(now), 1e-9, cores)
		p.request()
		require.InDelta(t, want.busy, p.share(now), 1e-9, cores)
		require.InDelta(t, want.busy, p.share(now.Add(busyFor/2)), 1e-9, "the request counts for a while")
		require.InDelta(t, want.idle, p.share(now.Add(busyFor)), 1e-9, cores)
	}
}

func TestAFileIsHashedInPieces(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, hashPiece - 1, hashPiece, hashPiece + 1, 5*hashPiece + 7} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i)
		}
		name := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(name, content, 0o600))
		file, err := os.Open(name)
		require.NoError(t, err)
		defer file.Close()
		rests := int64(0)
		sum, err := hashOf(file, size, func(time.Duration) error { rests++; return nil })
		require.NoError(t, err)
		want := sha256.Sum256(content)
		require.Equal(t, hex.EncodeToString(want[:]), sum)
		require.GreaterOrEqual(t, rests, size/hashPiece)

		_, err = file.Seek(0, io.SeekStart)
		require.NoError(t, err)
		if size > 0 {
			_, err = hashOf(file, size-1, func(time.Duration) error { return nil })
			require.ErrorIs(t, err, errChanged, "it has grown")
			_, err = file.Seek(0, io.SeekStart)
			require.NoError(t, err)
			_, err = hashOf(file, size, func(time.Duration) error { return os.ErrDeadlineExceeded })
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the end of the configuration ends it")
		}
	}
}

// What a hash takes without any rest. Run:
//
//	go test -run '^$' -bench Hash ./handlers/source/filesystem
func BenchmarkHash(b *testing.B) {
	for name, size := range map[string]int64{"2KiB": 2 << 10, "64MiB": 64 << 20} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "file")
			require.NoError(b, os.WriteFile(path, nil, 0o600))
			require.NoError(b, os.Truncate(path, size))
			file, err := os.Open(path)
			require.NoError(b, err)
			defer file.Close()
			b.SetBytes(size)
			for b.Loop() {
				if _, err := file.Seek(0, io.SeekStart); err != nil {
					b.Fatal(err)
				}
				if _, err := hashOf(file, size, func(time.Duration) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
