// When the file of a store is read and written. One goroutine does both, from
// the store's first use until Close, so that no lookup waits for a save.

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
	logRead        = "memory: read the file of records"
	logDamaged     = "memory: the file of records is damaged: the records before the damage are kept"
	logUnreadable  = "memory: the file of records cannot be read"
	logNotTrusted  = "memory: the journal of revocations cannot be read: the records of the file are not used, because some may be revoked"
	logSaveFails   = "memory: records cannot be saved: they are lost if this process ends now"
	logSavesAgain  = "memory: records are saved again"
	logSetAside    = "memory: an existing file has the name of the file of records and is set aside"
	logUnprotected = "memory: the file of records has no journal and cannot be saved with one"
)

// saver is what the callers of a store share with the goroutine that reads and
// writes its file.
type saver struct {
	changed  atomic.Bool   // the store has changed since its last save began
	adjusted chan struct{} // the options may have changed
	read     chan struct{} // closed when the file has been read, or will never be

	mu      sync.Mutex
	started bool
	stopped bool
	status  FileStatus
	ctx     context.Context // ends with the store
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newSaver() *saver {
	v := &saver{adjusted: make(chan struct{}, 1), read: make(chan struct{})}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	return v
}

// start runs the goroutine unless it is running or has ended. It returns false
// if it has ended.
func (v *saver) start(run func(context.Context)) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped {
		return false
	}
	if !v.started {
		v.started = true
		v.running.Go(func() { run(v.ctx) })
	}
	return true
}

// stop ends the goroutine and waits for it.
func (v *saver) stop() {
	v.mu.Lock()
	v.stopped = true
	v.mu.Unlock()
	v.cancel()
	v.running.Wait()
}

// await waits until the store's file is read; the first call starts that.
// Without a file it returns at once.
func (s *Store) await(ctx context.Context) error {
	switch s.state.Load() {
	case opened:
		return nil
	case closed:
		return cache.ErrClosed
	}
	if !s.saver.start(s.readAndSave) {
		return cache.ErrClosed
	}
	select {
	case <-s.saver.read:
		return s.errClosed()
	case <-ctx.Done():
		return fmt.Errorf("%w: its file is still being read", cache.ErrUnavailable)
	}
}

// notifySaver notifies the goroutine of changed options. A store whose file
// has not been read yet has no goroutine.
func (s *Store) notifySaver() {
	if s.options.Load().File != "" && s.state.Load() == opened {
		s.saver.start(s.runSaver)
	}
	s.saver.wake()
}

func (v *saver) wake() {
	select {
	case v.adjusted <- struct{}{}:
	default:
	}
}

// readAndSave is the goroutine of a store that begins by reading its file.
func (s *Store) readAndSave(ctx context.Context) {
	f := &file{path: s.options.Load().File}
	complete := s.load(ctx, f)
	if complete && f.dir != nil && f.ours && f.journaled != s.journals() {
		s.protect(ctx, f)
	}
	s.state.CompareAndSwap(unread, opened)
	close(s.saver.read)
	if !complete {
		f.leave()
		return // what was not read must not be replaced by what was
	}
	s.save(ctx, f, false) // what could be read of a damaged file
	s.saveUntilDone(ctx, f)
}

// protect saves the records of a file without a journal, before a revocation
// needs one.
func (s *Store) protect(ctx context.Context, f *file) {
	s.saver.changed.Store(true)
	s.save(ctx, f, false)
	if s.journals() && !f.journaled && ctx.Err() == nil {
		f.ours = false // the records are in memory
		if err := f.claim("unprotected", s.options.Load().Logger); err != nil {
			s.fails(f, logUnprotected, err)
		}
	}
}

// runSaver is the goroutine of a store that is given a file while it is in use.
func (s *Store) runSaver(ctx context.Context) { s.saveUntilDone(ctx, new(file)) }

// journals reports whether revocations are noted in a journal.
func (s *Store) journals() bool { return !s.options.Load().NoJournal }

func (s *Store) saveUntilDone(ctx context.Context, f *file) {
	defer f.leave()
	last := time.Now() // the time of the last save or attempt
	for {
		// changed options do not postpone a save that is due
		timer := time.NewTimer(time.Until(last.Add(s.options.Load().SaveInterval)))
		select {
		case <-ctx.Done():
			timer.Stop()
			s.journal.close()
			s.save(context.Background(), f, true)
			s.journal.detach()
			return
		case <-s.saver.adjusted:
			timer.Stop()
			o := s.options.Load()
			switched := o.File != f.path || f.ours && f.journaled == o.NoJournal
			if !switched && !s.journal.long() {
				continue
			}
			if switched {
				s.saver.changed.Store(true)
			}
		case <-timer.C:
		}
		last = time.Now()
		s.save(ctx, f, false)
	}
}

// load reads the file and its journals. A file that does not exist counts as
// empty; one that cannot be read to its end is set aside. load returns false if
// the store was closed meanwhile.
func (s *Store) load(ctx context.Context, f *file) bool {
	if f.path == "" {
		return true
	}
	logger := s.options.Load().Logger.With(slog.String("file", f.path))
	if err := f.take(ctx, s.openDirectory, lockPatience); err != nil {
		if ctx.Err() != nil {
			return false
		}
		s.saver.changed.Store(true)
		logger.Warn(logUnreadable, slog.Any("error", err))
		return true
	}
	n, err := s.readFile(ctx, f)
	counts := []any{
		slog.Int64("records", n.kept), slog.Int64("expired", n.expired), slog.Int64("dropped", n.dropped), slog.Int64("changed_by_journal", n.changed),
	}
	switch {
	case err == nil:
		f.ours, f.journaled = true, n.at.Journal > 0
		if n.changed > 0 {
			s.saver.changed.Store(true)
		}
		logger.Info(logRead, counts...)
		return true
	case errors.Is(err, fs.ErrNotExist):
		f.ours, f.journaled = true, s.journals()
		return true
	case ctx.Err() != nil:
		return false
	case errors.Is(err, errJournal):
		logger.Error(logNotTrusted, slog.Any("error", err))
	case errors.Is(err, errDamaged):
		logger.Warn(logDamaged, append(counts, slog.Any("error", err))...)
	default:
		logger.Warn(logUnreadable, slog.Any("error", err))
	}
	s.saver.changed.Store(true)
	if err := f.claim("damaged", s.options.Load().Logger); err != nil {
		s.fails(f, logSaveFails, err)
	}
	return true
}

// fails notes that records cannot be saved, and logs the first failure.
func (s *Store) fails(f *file, message string, err error) {
	s.saver.note(func(status *FileStatus) { status.Err = err })
	if !f.failing {
		f.failing = true
		s.options.Load().Logger.Warn(message, slog.String("file", f.path), slog.Any("error", err))
	}
}

// save writes the file if the store has changed. After a failure, the next save
// tries again. last is for the save of a store that is closed.
func (s *Store) save(ctx context.Context, f *file, last bool) {
	if path := s.options.Load().File; path != f.path {
		s.journal.detach()
		f.leave()
		*f = file{path: path}
		s.saver.changed.Store(true)
		s.saver.note(func(status *FileStatus) { *status = FileStatus{} })
	}
	if f.path == "" || !s.saver.changed.Swap(false) {
		return
	}
	records, err := s.writeFile(ctx, f, last)
	if err != nil {
		s.saver.changed.Store(true)
		if ctx.Err() == nil {
			s.fails(f, logSaveFails, err)
		}
		return
	}
	s.saver.note(func(status *FileStatus) {
		*status = FileStatus{Saved: time.Now(), Records: records, Journal: f.journaled}
	})
	if f.failing {
		f.failing = false
		s.options.Load().Logger.Info(logSavesAgain, slog.String("file", f.path))
	}
}

// FileStatus describes the file of a store.
type FileStatus struct {
	// File is the name of the file, "" without one.
	File string
	// Saved is when records were last saved, and Records how many there were. Both
	// are zero before the first save.
	Saved   time.Time
	Records int64
	// Journal reports whether the last save has a journal.
	Journal bool
	// Err is why records cannot be saved now, or nil.
	Err error
}

// FileStatus returns the result of the last save.
func (s *Store) FileStatus() FileStatus {
	v := s.saver
	v.mu.Lock()
	defer v.mu.Unlock()
	status := v.status
	status.File = s.options.Load().File
	return status
}

func (v *saver) note(change func(*FileStatus)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.status)
}
