// The content of small files, kept in memory while each file stays in the state
// in which it was read.

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

// contents are the kept files, by the keys of their records.
type contents struct {
	maxFile int64
	files   *otter.Cache[string, *content]
}

// content is the content of a file in one state.
type content struct {
	state fileState
	data  []byte
}

// contentOverhead is the memory of a kept file in addition to its key and
// content, in bytes.
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

// Content is the content of the file that a record of this source describes, as
// of the last check, at most revalidate ago. It is read into memory at its
// first use. ok is false if the next handler must read the file: it is too
// large, has changed since, or a change of it would not be noticed. The caller
// must not modify data.
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
		// one request reads, the others wait for it
		var err error
		c, err = s.contents.files.Get(ctx, req.Key, otter.LoaderFunc[string, *content](
			func(context.Context, string) (*content, error) { return s.read(req, known.fileState) }))
		if err != nil || c.state != known.fileState {
			return nil, false
		}
	}
	return c.data, true
}

// errJustWritten means that a file is so new that its date would not show
// another change.
var errJustWritten = errors.New("file was written to just now")

// read reads a file and checks that its state is the same before and after.
func (s *Source) read(req cache.Request, state fileState) (*content, error) {
	if state.unchangedFor(time.Now()) < clockTick {
		return nil, errJustWritten
	}
	file, now, err := s.open(req.Scope, req.ID, forContent)
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
