package lookup

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/source"
)

// rooted is a source with directories: all that it can have, and those in use.
type rooted struct{ all, used map[string]func() error }

func (r rooted) Roots() (roots []source.Root) {
	for name, check := range r.used {
		roots = append(roots, source.Root{Name: name, Check: check})
	}
	return roots
}

func (r rooted) RootNamed(name string) (source.Root, bool) {
	check, ok := r.all[name]
	return source.Root{Name: name, Check: check}, ok
}

func TestAFileSystemThatHangsIsAskedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		release := make(chan struct{})
		l := new(Lookups)
		l.roots.add(rooted{used: map[string]func() error{
			"/hangs": func() error {
				asked.Add(1)
				<-release
				return nil
			},
			"/slow":   func() error { time.Sleep(rootPatience - 1); return nil },
			"/bad":    func() error { return errors.New("does not exist") },
			"/panics": func() error { panic("of another plugin") },
		}})
		for range 3 {
			began := time.Now()
			require.Equal(t, map[string]string{
				"/hangs": "does not answer: its file system hangs", "/slow": "", "/bad": "does not exist",
				"/panics": "cannot be read: its file system panics: of another plugin",
			}, outcomes(l.CheckRoots()()))
			require.Equal(t, rootPatience, time.Since(began))
			n, ok := l.FailingRoots()
			require.True(t, ok)
			require.EqualValues(t, 3, n)
		}
		require.EqualValues(t, 1, asked.Load())
		close(release)
		checks := l.CheckRoots()()
		require.Equal(t, "/bad", checks[0].Name, "what does not work comes first")
		require.Empty(t, outcomes(checks)["/hangs"])
	})
}

// outcomes are the errors of checks, "" where there is none.
func outcomes(checks []RootCheck) map[string]string {
	all := make(map[string]string)
	for _, check := range checks {
		all[check.Name] = ""
		if check.Err != nil {
			all[check.Name] = check.Err.Error()
		}
	}
	return all
}

func TestRootsInUseOutliveAConfiguration(t *testing.T) {
	t.Parallel()
	fails := func() error { return errors.New("does not exist") }
	before, after, last := new(Lookups), new(Lookups), new(Lookups)
	before.roots.add(rooted{used: map[string]func() error{"/kept": fails, "/dropped": fails}})
	require.Len(t, before.CheckRoots()(), 2)
	after.InheritRoots(before)
	after.roots.add(rooted{all: map[string]func() error{"/kept": fails, "/new": fails}})
	checks := after.CheckRoots()()
	require.Len(t, checks, 1, "no request has led to /new, and none can lead to /dropped")
	require.Equal(t, "/kept", checks[0].Name)
	last.InheritRoots(after)
	last.roots.add(rooted{all: map[string]func() error{"/dropped": fails}})
	require.Empty(t, last.CheckRoots()())
	n, _ := last.FailingRoots()
	require.Zero(t, n)
}
