// The file of a store: how it is locked, read and written.

package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"
)

const (
	// lockInfix ends the name of the lock file, which keeps two stores from using
	// one file.
	lockInfix = ".lock"
	// lockPatience is how long a new process waits for the process that it
	// replaces.
	lockPatience = 2 * time.Second
	lockPoll     = 20 * time.Millisecond
)

// file is the file of a store.
type file struct {
	path string
	name string    // its name in dir
	dir  directory // nil until the file is locked
	lock io.Closer
	// ours reports whether the existing file was read to its end or written by this
	// store, so that it may be replaced.
	ours bool
	// journaled reports whether the last save has a journal.
	journaled bool
	// failing reports whether the last save failed. The next failure is then not
	// logged.
	failing bool
}

// take opens the directory of the file and locks the file, waiting for the lock
// no longer than patience.
func (f *file) take(ctx context.Context, open func(string) (directory, error), patience time.Duration) error {
	if f.dir != nil {
		return nil
	}
	dir, err := open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	f.name = filepath.Base(f.path)
	deadline := time.Now().Add(patience)
	for {
		if f.lock, err = dir.lock(f.name + lockInfix); err == nil {
			f.dir = dir
			return nil
		}
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			break
		}
		select {
		case <-time.After(lockPoll):
			continue
		case <-ctx.Done():
		}
		break
	}
	_ = dir.close()
	return err
}

func (f *file) leave() {
	if f.dir != nil {
		_ = f.lock.Close()
		_ = f.dir.close()
	}
	f.dir = nil
}

// claim sets aside an existing file that was not read to its end or written by this
// store. why is part of its new name.
func (f *file) claim(why string, logger *slog.Logger) error {
	if f.ours {
		return nil
	}
	aside, err := setAside(f.dir, f.name, why)
	if err != nil {
		return fmt.Errorf("renaming the existing file: %w", err)
	}
	if aside != "" {
		logger.Warn(logSetAside, slog.String("file", f.path), slog.String("set_aside", aside))
	}
	f.ours = true
	return nil
}

// errJournal says that a journal cannot be read to its end.
var errJournal = errors.New("journal of revocations")

// readFile puts the records of the file into the store, except those that its
// journals revoke.
func (s *Store) readFile(ctx context.Context, f *file) (n counts, err error) {
	logger := s.options.Load().Logger
	newest, numbers, err := newestJournal(f)
	if err != nil {
		return n, err
	}
	s.journal.attach(f, logger, newest, false) // inactive until there is a save to protect
	in, err := f.dir.open(f.name)
	if err != nil {
		return n, err
	}
	defer in.Close()
	n, err = s.readRecords(ctx, in)
	changed, failure := s.replay(ctx, f, n.at, numbers)
	n.changed = changed
	if failure != nil {
		s.records.InvalidateAll() // nothing else has written yet
		return n, fmt.Errorf("%w: %w", errJournal, failure)
	}
	s.journal.attach(f, logger, max(newest, n.at.Journal), n.at.Journal > 0)
	return n, err
}

// newestJournal returns the highest number among the journals of the file.
func newestJournal(f *file) (newest uint64, numbers []uint64, err error) {
	numbers, err = journals(f.dir, f.name)
	if len(numbers) > 0 {
		newest = numbers[len(numbers)-1]
	}
	return newest, numbers, err
}

// writeFile replaces the file by the records of the store and returns their
// number.
func (s *Store) writeFile(ctx context.Context, f *file, last bool) (records int64, err error) {
	if f.dir == nil { // reading it failed, too
		if err := f.take(ctx, s.openDirectory, 0); err != nil {
			return 0, err
		}
		newest, _, err := newestJournal(f)
		if err != nil {
			return 0, err
		}
		s.journal.attach(f, s.options.Load().Logger, newest, false)
	}
	if err := f.claim("unread", s.options.Load().Logger); err != nil {
		return 0, err
	}
	evicted, at := s.evicted.Load(), savedAt{}
	if s.journals() {
		if at, err = s.journal.rotate(last); err != nil {
			return 0, err
		}
	}
	size := int64(0)
	err = replace(f.dir, f.name, func(w io.Writer) error {
		counted := &countingWriter{w: w}
		records, err = s.writeRecords(ctx, counted, at)
		size = counted.n
		return err
	}, func(from string) error { return s.journal.commit(from, at.Journal, size) })
	if err != nil {
		return 0, err
	}
	f.journaled = at.Journal > 0
	s.savedEvicted.Store(evicted)
	return records, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
