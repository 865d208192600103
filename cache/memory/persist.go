// When the file of a store is read and written. One goroutine does both, from
// the store's first use until its Close, so the file needs no lock, and no
// lookup ever waits for a save.

package memory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	logRead        = "memory: read the records of before"
	logDamaged     = "memory: the file of records is damaged: what came before the damage is kept"
	logUnreadable  = "memory: the file of records cannot be read"
	logSaveFails   = "memory: records cannot be saved: they are lost if this process ends now"
	logSavesAgain  = "memory: records are saved again"
	logSetAside    = "memory: a file stood in the way of the records and is set aside"
	logNotSetAside = "memory: the file of records cannot be set aside: nothing is saved until it can"
)

// keeper is what the callers of a store and the goroutine that reads and
// writes its file have in common.
type keeper struct {
	changed  atomic.Bool   // the store, since its last save began
	adjusted chan struct{} // the options, maybe
	read     chan struct{} // closed when the file is read, or never will be

	mu      sync.Mutex
	started bool
	stopped bool
	ctx     context.Context // ends with the store
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newKeeper() *keeper {
	k := &keeper{adjusted: make(chan struct{}, 1), read: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// start runs the goroutine if it is neither running nor over, and tells false
// where it is over.
func (k *keeper) start(run func(context.Context)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return false
	}
	if !k.started {
		k.started = true
		k.running.Go(func() { run(k.ctx) })
	}
	return true
}

// stop ends the goroutine and waits for it.
func (k *keeper) stop() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.cancel()
	k.running.Wait()
}

// await waits until the store's file is read, and starts that with the first
// call. Where there is none, it waits for nothing.
func (s *Store) await(ctx context.Context) error {
	switch s.state.Load() {
	case opened:
		return nil
	case closed:
		return cache.ErrClosed
	}
	if !s.keeper.start(s.readAndKeep) {
		return cache.ErrClosed
	}
	select {
	case <-s.keeper.read:
		return s.open()
	case <-ctx.Done():
		return fmt.Errorf("%w: its file is still being read", cache.ErrUnavailable)
	}
}

// adjustKeeper tells the goroutine that there are other options. A store that
// is still to be read has none yet.
func (s *Store) adjustKeeper() {
	if s.options.Load().File != "" && s.state.Load() == opened {
		s.keeper.start(s.runSaver)
	}
	select {
	case s.keeper.adjusted <- struct{}{}:
	default:
	}
}

// file is the file of a store.
type file struct {
	path string
	// ours tells that what stands there is what this store has read to its
	// end or written, so that it may be replaced.
	ours bool
	// failing tells that the last save failed, so that the next need not say so.
	failing bool
}

// readAndKeep is the goroutine of a store that begins with its file.
func (s *Store) readAndKeep(ctx context.Context) {
	f := &file{path: s.options.Load().File}
	complete := s.load(ctx, f)
	s.state.CompareAndSwap(unread, opened)
	close(s.keeper.read)
	if !complete {
		return // what was not read must not be replaced by what was
	}
	s.save(ctx, f) // what could be read of a damaged file
	s.saveUntilDone(ctx, f)
}

// runSaver is the goroutine of a store that is given a file while it is used.
func (s *Store) runSaver(ctx context.Context) { s.saveUntilDone(ctx, new(file)) }

func (s *Store) saveUntilDone(ctx context.Context, f *file) {
	for {
		timer := time.NewTimer(s.options.Load().SaveInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			s.save(context.Background(), f)
			return
		case <-s.keeper.adjusted:
			timer.Stop()
			if s.options.Load().File != f.path {
				s.save(ctx, f)
			}
		case <-timer.C:
			s.save(ctx, f)
		}
	}
}

// load reads the file. One that is not there is as good as an empty one; one
// that cannot be read to its end is set aside. It tells false where the store
// was closed before it came to the end.
func (s *Store) load(ctx context.Context, f *file) bool {
	if f.path == "" {
		return true
	}
	logger := s.options.Load().Logger.With(slog.String("file", f.path))
	n, err := s.readFile(ctx, f.path)
	counts := []any{slog.Int64("records", n.kept), slog.Int64("expired", n.expired), slog.Int64("dropped", n.dropped)}
	switch {
	case err == nil:
		f.ours = true
		logger.Info(logRead, counts...)
		return true
	case errors.Is(err, fs.ErrNotExist):
		f.ours = true
		return true
	case ctx.Err() != nil:
		return false
	case errors.Is(err, errDamaged):
		logger.Warn(logDamaged, append(counts, slog.Any("error", err))...)
	default:
		logger.Warn(logUnreadable, slog.Any("error", err))
	}
	s.keeper.changed.Store(true)
	s.claim(f, "damaged")
	return true
}

// claim sets aside what stands where the store will write and is not its own.
func (s *Store) claim(f *file, why string) bool {
	if f.ours {
		return true
	}
	logger := s.options.Load().Logger.With(slog.String("file", f.path))
	aside, err := setAside(f.path, why)
	switch {
	case err != nil && !f.failing:
		f.failing = true
		logger.Warn(logNotSetAside, slog.Any("error", err))
	case err == nil && aside != "":
		logger.Warn(logSetAside, slog.String("set_aside", aside))
	}
	f.ours = err == nil
	return f.ours
}

// save writes the file if there is something new. What fails is tried again at
// the next save.
func (s *Store) save(ctx context.Context, f *file) {
	if path := s.options.Load().File; path != f.path {
		*f = file{path: path}
		s.keeper.changed.Store(true)
	}
	if f.path == "" || !s.keeper.changed.Swap(false) {
		return
	}
	logger := s.options.Load().Logger.With(slog.String("file", f.path))
	if !s.claim(f, "unread") {
		s.keeper.changed.Store(true)
		return
	}
	err := s.writeFile(ctx, f.path)
	switch {
	case err != nil:
		s.keeper.changed.Store(true)
		if ctx.Err() == nil && !f.failing {
			f.failing = true
			logger.Warn(logSaveFails, slog.Any("error", err))
		}
	case f.failing:
		f.failing = false
		logger.Info(logSavesAgain)
	}
}
