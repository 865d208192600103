// The journal of a store: the revocations since the last save began. The save
// still holds the records from before a revocation, and a crash would bring
// them back. So each revocation is synced to the disk before it is answered.
//
// A save names the first journal that belongs to it; all later ones belong to
// it as well. Changes are numbered in the order in which the store made them,
// because journals may have them in another order. A save notes the number of
// the latest change when it began.

package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/filewallball/caddy-filewallball/cache"
)

const logForgotten = "memory: a revocation cannot be noted on the disk: the file of records is removed instead"

// journalInfix and the number of a journal end the name of its file.
const journalInfix = ".journal-"

const journalFormat = "filewallball journal"

// journalHeader is the first line of a journal.
type journalHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Number  uint64 `json:"number"`
}

// change is any other line of a journal: a drop, or a record that replaced
// another.
type change struct {
	Number uint64 `json:"number"`
	Kind   string `json:"kind"`
	Name   []byte `json:"name"` // of the key, the prefix or the tag
	// Value and Expires are those of the record that was written.
	Value   string `json:"value,omitempty"`
	Expires int64  `json:"expires,omitempty"`
}

// The kinds of changes.
const (
	keyDropped    = "key dropped"
	keySet        = "key set"
	prefixDropped = "prefix dropped"
	tagDropped    = "tag dropped"
)

// journal writes changes. The zero value writes none until attach.
type journal struct {
	// on reports whether changes must be noted: there is a save, or one is under
	// way. It changes under the lock disk.
	on atomic.Bool
	// numbered is the number of the latest change.
	numbered atomic.Uint64
	// changing is read-locked while a change is made and numbered, so that a save
	// begins before or after the whole change.
	changing sync.RWMutex

	mu       sync.Mutex
	next     *batch // what is to be written
	flushing bool
	closed   bool
	flushes  sync.WaitGroup

	// disk serializes operations on the files of journals and saves.
	disk    sync.Mutex
	dir     directory // nil where the store has no file
	name    string    // of the store's file
	logger  *slog.Logger
	file    diskFile // of the newest journal; nil until it is needed
	lines   *encoder // into text, which is what the file gets next
	text    bytes.Buffer
	number  uint64 // of the newest journal
	size    int64  // of the newest journal, in bytes, without its first line
	saved   int64  // the size of the current save, in bytes
	full    func() // called when size exceeds the limit
	skipped bool   // a revocation was not written: a save that began before it must not be used
}

// batch is a set of changes that are written together.
type batch struct {
	changes []change
	done    chan struct{}
	err     error
}

// add notes changes and returns when they are on the disk. Changes of
// concurrent callers are written together.
func (j *journal) add(ctx context.Context, changes ...change) error {
	if !j.on.Load() || len(changes) == 0 {
		return nil
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return cache.ErrClosed
	}
	if j.next == nil {
		j.next = &batch{done: make(chan struct{})}
	}
	b := j.next
	b.changes = append(b.changes, changes...)
	if !j.flushing {
		j.flushing = true
		j.flushes.Go(j.flush)
	}
	j.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("%w: the revocation is not written to the disk yet", cache.ErrUnavailable)
	}
}

// flush writes batches until none is left.
func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.next != nil {
		b := j.next
		j.next = nil
		j.mu.Unlock()
		b.err = j.write(b.changes)
		close(b.done)
		j.mu.Lock()
	}
	j.flushing = false
}

// close refuses further revocations and waits for those under way.
func (j *journal) close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.flushes.Wait()
}

// write writes a batch to the disk. If that fails, as on a full disk, it
// removes the save that the batch belongs to: a crash then loses all records
// but brings back none that was revoked. If that fails as well, the revocation
// would not survive a crash, and write returns an error.
func (j *journal) write(changes []change) error {
	j.disk.Lock()
	defer j.disk.Unlock()
	if j.dir == nil {
		return nil // the store has no file any more
	}
	err := j.append(changes)
	if err == nil {
		return nil
	}
	j.end() // its last line may be cut off
	j.skipped = true
	if left := j.forget(); left != nil {
		return fmt.Errorf("%w: writing a revocation to the journal: %w", cache.ErrUnavailable, errors.Join(err, left))
	}
	j.logger.Warn(logForgotten, slog.Any("error", err))
	j.on.Store(false)
	return nil
}

// forget removes the current save.
func (j *journal) forget() error {
	if err := j.dir.remove(j.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.dir.sync()
}

func (j *journal) append(changes []change) error {
	if j.file == nil {
		if err := j.begin(); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := j.lines.put(c); err != nil {
			return err
		}
	}
	if j.size += int64(j.text.Len()); j.size > j.limit() {
		j.full()
	}
	return j.flushText(j.file)
}

// minJournalLimit keeps a small store from being saved too often.
const minJournalLimit = 16 << 20

// limit is the size of a journal above which the records are saved early: the
// size of the current save.
func (j *journal) limit() int64 { return max(minJournalLimit, j.saved) }

// long reports whether the journal exceeds its limit.
func (j *journal) long() bool {
	j.disk.Lock()
	defer j.disk.Unlock()
	return j.size > j.limit()
}

// flushText writes the lines and syncs them to the disk.
func (j *journal) flushText(f diskFile) error {
	defer j.text.Reset()
	if _, err := f.Write(j.text.Bytes()); err != nil {
		return err
	}
	return f.Sync()
}

// begin begins the next journal. If that fails, there is no journal.
func (j *journal) begin() error {
	j.number++ // also if this fails: no name is used twice
	name := j.name + journalInfix + strconv.FormatUint(j.number, 10)
	f, err := j.dir.create(name)
	if err != nil {
		return err
	}
	j.end()
	j.text.Reset()
	j.lines = newEncoder(&j.text)
	err = errors.Join(j.lines.put(journalHeader{journalFormat, formatVersion, j.number}), j.flushText(f), j.dir.sync())
	if err != nil {
		_ = f.Close()
		_ = j.dir.remove(name)
		return err
	}
	j.file, j.size = f, 0
	return nil
}

func (j *journal) end() {
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file = nil
}

// attach activates the journal for a file, numbering new journals after the
// given one. on reports whether there is a save that names a first journal.
func (j *journal) attach(f *file, logger *slog.Logger, number uint64, on bool) {
	j.disk.Lock()
	defer j.disk.Unlock()
	j.end()
	j.dir, j.name, j.logger, j.number = f.dir, f.name, logger.With(slog.String("file", f.path)), number
	j.on.Store(on)
}

// detach deactivates the journal of a store that no longer uses its file.
func (j *journal) detach() {
	j.disk.Lock()
	defer j.disk.Unlock()
	j.on.Store(false)
	j.end()
	j.dir = nil
}

// rotate begins the journal of a save that is about to begin. It returns the
// number of the journal and that of the latest change. last is for the save of
// a store that is closed: nothing will be noted after it, so the journal needs
// no file.
func (j *journal) rotate(last bool) (savedAt, error) {
	j.disk.Lock()
	defer j.disk.Unlock()
	j.skipped = false
	if last {
		return savedAt{j.number + 1, j.numbered.Load()}, nil
	}
	if j.file == nil || j.size > 0 {
		if err := j.begin(); err != nil {
			return savedAt{}, fmt.Errorf("beginning a journal: %w", err)
		}
	}
	j.changing.Lock()
	defer j.changing.Unlock()
	j.on.Store(true)
	return savedAt{j.number, j.numbered.Load()}, nil
}

// savedAt is the position of a save in the sequence of changes.
type savedAt struct {
	// Journal is the number of the first journal that belongs to the save; 0 for a
	// save without one.
	Journal uint64 `json:"journal,omitempty"`
	// Change is the number of the latest change when the save began.
	Change uint64 `json:"change,omitempty"`
}

var errSkipped = errors.New("a revocation during the save could not be written to the journal")

// commit replaces the current save by a new one and then removes the journals
// before its first one, number first. 0 is for a save without a journal.
func (j *journal) commit(from string, first uint64, size int64) error {
	j.disk.Lock()
	defer j.disk.Unlock()
	if j.skipped && first > 0 {
		return errSkipped
	}
	if err := j.dir.rename(from, j.name); err != nil {
		return err
	}
	if err := j.dir.sync(); err != nil {
		return err
	}
	j.saved = size
	if first == 0 {
		j.on.Store(false)
		j.end()
	}
	return removeAll(j.dir, j.name+journalInfix, func(rest string) bool {
		number, err := strconv.ParseUint(rest, 10, 64)
		return err == nil && (number < first || first == 0)
	})
}
