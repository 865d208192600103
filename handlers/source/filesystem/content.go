// The content of small files, kept in memory for as long as each file
// stays in the state in which it was read.

package filesource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// contents are the files that are kept, by the keys of their records.
type contents struct {
	maxFile int64
	files   *otter.Cache[string, *content]
}

// content is what is in a file in one state.
type content struct {
	state fileState
	data  []byte
}

// contentOverhead is what a kept file takes beside its key and its bytes.
const contentOverhead = 200

// KeepContent makes Content keep files of at most maxFile bytes, in at most
// maxSize bytes altogether. It must be called before the first Content.
func (s *Source) KeepContent(maxFile, maxSize int64) error {
	files, err := otter.New(&otter.Options[string, *content]{
		MaximumWeight: uint64(maxSize),
		Weigher: func(key string, c *content) uint32 {
			return uint32(len(key) + len(c.data) + contentOverhead)
		},
	})
	s.contents = &contents{maxFile: maxFile, files: files}
	return err
}

// Content is what is in the file that a record of this source is about: what
// it had when it was last looked at, which is at most revalidate ago. It is
// read into memory at its first use. ok is false where the next handler had
// better read the file: it is too large, it has been changed since, or nothing
// would tell of a change. The data must not be written to.
func (s *Source) Content(ctx context.Context, req cache.Request, record *cache.Record) (data []byte, ok bool) {
	known := s.inUse(req, record)
	if known == nil || known.size > s.contents.maxFile || !known.changeShows() || s.hashes(known) && known.sum == "" {
		return nil, false
	}
	c, ok := s.contents.files.GetIfPresent(req.Key)
	if ok && c.state != known.fileState {
		s.contents.files.Invalidate(req.Key)
		ok = false
	}
	if !ok {
		// one reads, the others wait for it
		var err error
		c, err = s.contents.files.Get(ctx, req.Key, otter.LoaderFunc[string, *content](
			func(context.Context, string) (*content, error) { return s.read(req, known.fileState) }))
		if err != nil || c.state != known.fileState {
			return nil, false
		}
	}
	return c.data, true
}

// errJustWritten says that a file is too new for its date to show the next
// change.
var errJustWritten = errors.New("file was written to just now")

// read reads a file that is in the same state before and after.
func (s *Source) read(req cache.Request, state fileState) (*content, error) {
	if state.unchangedFor(time.Now()) < clockTick {
		return nil, errJustWritten
	}
	file, now, err := s.open(req.Scope, req.ID)
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, errChanged
	}
	defer file.Close()
	if now != state {
		return nil, errChanged
	}
	c := &content{state, make([]byte, state.size)}
	if _, err := io.ReadFull(file, c.data); err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	after, err := file.Stat()
	if err != nil || stateOf(after) != state {
		return nil, errChanged
	}
	return c, nil
}
