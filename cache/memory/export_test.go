package memory

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

// childEnv makes the test binary a process that uses a store and is killed:
// "<file> <operation>" dies at that operation on the disk.
const childEnv = "FILEWALLBALL_TEST_STORE"

// RunChild is what such a process does; in others it does nothing.
func RunChild() {
	arguments := os.Getenv(childEnv)
	if arguments == "" {
		return
	}
	file, at, _ := strings.Cut(arguments, " ")
	n, err := strconv.Atoi(at)
	if err != nil {
		panic(err)
	}
	useStore(file, n)
	os.Exit(0)
}

// useStore does what a site does with a store, and prints each step that is
// answered.
func useStore(file string, dieAt int) {
	s, err := New(Options{File: file, SaveInterval: time.Hour})
	if err != nil {
		panic(err)
	}
	disk := &faultyDisk{before: func(n int, _ string) error {
		if n == dieAt {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			if err != nil {
				panic(err)
			}
			select {} // until it is dead
		}
		return nil
	}}
	s.openDirectory = disk.open
	ctx := context.Background()
	did := func(step string, err error) {
		if err != nil {
			panic(step + ": " + err.Error())
		}
		fmt.Println(step)
	}
	set := func(key, text string) error {
		record, err := cache.Decode(text, len(text))
		if err != nil {
			return err
		}
		return s.Set(ctx, key, record, time.Hour)
	}
	for _, key := range []string{"deleted", "denied", "changed", "p:1", "p:2", "ended", "later", "kept"} {
		did("set "+key, set(key, `{"n":1}`))
	}
	token, _, err := s.Acquire(ctx, "tagged", nil, time.Hour, true)
	did("lease", err)
	_, err = s.Fill(ctx, "tagged", token, nil, must(cache.Decode(`{"n":1}`, 100)), []string{"tag"}, time.Hour)
	did("fill", err)
	s.Save()
	did("first save", nil)
	_, err = s.Delete(ctx, "deleted")
	did("deleted", err)
	did("tagged", s.DropTag(ctx, "tag"))
	_, err = s.DeletePrefix(ctx, "p:")
	did("p:1", err)
	did("changed", set("changed", `{"n":2}`))
	did("denied", set("denied", `{"denied":403}`))
	s.Save()
	did("second save", nil)
	did("ended", s.Set(ctx, "ended", must(cache.Decode(`{"n":1}`, 100)), time.Millisecond))
	_, err = s.Delete(ctx, "later")
	did("later", err)
	did("close", s.Close())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Save lets the store save soon what has changed, and not again before the
// usual time.
func (s *Store) Save() {
	before := s.FileStatus().Saved
	s.saveEvery(time.Nanosecond)
	for !s.FileStatus().Saved.After(before) {
		time.Sleep(time.Millisecond)
	}
	s.saveEvery(time.Hour)
	// until the saver has seen the interval, it may save once more
	for len(s.saver.adjusted) > 0 {
		time.Sleep(time.Millisecond)
	}
}

func (s *Store) saveEvery(interval time.Duration) {
	options := *s.options.Load()
	options.SaveInterval = interval
	s.options.Store(&options)
	s.saver.wake()
}

// SaveSoon lets the store save again and again what has changed.
func (s *Store) SaveSoon() { s.saveEvery(time.Millisecond) }

// SetFaults puts a disk with faults in place of the disk, before the first use.
func (s *Store) SetFaults(before func(n int, operation string) error) {
	s.openDirectory = (&faultyDisk{before: before}).open
}

// faultyDisk is the disk with faults before its operations, which are numbered
// from 1. A write is two operations, each for a half.
type faultyDisk struct {
	mu     sync.Mutex
	n      int
	before func(n int, operation string) error
}

func (d *faultyDisk) fault(operation string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	return d.before(d.n, operation)
}

func (d *faultyDisk) open(path string) (directory, error) {
	if err := d.fault("open directory"); err != nil {
		return nil, err
	}
	dir, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	return &faultyDirectory{dir, d}, nil
}

type faultyDirectory struct {
	directory
	disk *faultyDisk
}

func (d *faultyDirectory) open(name string) (diskFile, error) {
	if err := d.disk.fault("open"); err != nil {
		return nil, err
	}
	f, err := d.directory.open(name)
	return &faultyFile{f, d.disk}, err
}

func (d *faultyDirectory) create(name string) (diskFile, error) {
	if err := d.disk.fault("create"); err != nil {
		return nil, err
	}
	f, err := d.directory.create(name)
	return &faultyFile{f, d.disk}, err
}

func (d *faultyDirectory) rename(from, to string) error {
	if err := d.disk.fault("rename"); err != nil {
		return err
	}
	return d.directory.rename(from, to)
}

func (d *faultyDirectory) remove(name string) error {
	if err := d.disk.fault("remove"); err != nil {
		return err
	}
	return d.directory.remove(name)
}

func (d *faultyDirectory) sync() error {
	if err := d.disk.fault("sync directory"); err != nil {
		return err
	}
	return d.directory.sync()
}

func (d *faultyDirectory) lock(name string) (io.Closer, error) {
	if err := d.disk.fault("lock"); err != nil {
		return nil, err
	}
	return d.directory.lock(name)
}

type faultyFile struct {
	diskFile
	disk *faultyDisk
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	for _, half := range [][]byte{p[:len(p)/2], p[len(p)/2:]} {
		if err := f.disk.fault("write"); err != nil {
			return n, err
		}
		more, err := f.diskFile.Write(half)
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (f *faultyFile) Sync() error {
	if err := f.disk.fault("sync"); err != nil {
		return err
	}
	return f.diskFile.Sync()
}
