// The progress of a long job, on standard error: a bar on a terminal, otherwise
// a line per second, for a log.

package command

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// lineEvery is the pause before each line of progress.
const lineEvery = time.Second

// progress shows the progress of one job. A nil progress shows nothing.
type progress struct {
	w     io.Writer
	doing string // warming
	bytes bool   // bytes are counted; else records
	bar   *progressbar.ProgressBar
	total int64     // the bar's
	next  time.Time // when a line is due
}

func (c *call) progress(doing string, bytes bool) *progress {
	p := &progress{w: c.err, doing: doing, bytes: bytes, total: -1, next: time.Now().Add(lineEvery)}
	if isTerminal(c.err) {
		p.bar = progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(c.err),
			progressbar.OptionSetDescription(doing),
			progressbar.OptionShowCount(),
			progressbar.OptionShowBytes(bytes),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionFullWidth(),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetSpinnerChangeInterval(0), // moved by at alone
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetRenderBlankState(true),
		)
	}
	return p
}

// at shows that done of total are done; a total of -1 is unknown.
func (p *progress) at(done, total int64) {
	switch {
	case p == nil:
	case p.bar != nil:
		if p.total != total {
			p.total = total
			p.bar.ChangeMax64(total)
		}
		_ = p.bar.Set64(done)
	case !time.Now().Before(p.next):
		p.next = time.Now().Add(lineEvery)
		of := ""
		if total >= 0 {
			of = " of " + p.number(total)
		}
		fmt.Fprintf(p.w, "%s: %s%s\n", p.doing, p.number(done), of)
	}
}

func (p *progress) number(n int64) string {
	if p.bytes {
		return size(n)
	}
	return count(n)
}

// end clears the bar.
func (p *progress) end() {
	if p != nil && p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
	}
}

// readCounter shows how much of total bytes was read. The HTTP client reads in
// its own goroutine, which may still read after the answer.
type readCounter struct {
	r           io.Reader
	mu          sync.Mutex
	done, total int64
	shown       *progress
}

func (c *readCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += int64(n)
	c.shown.at(c.done, c.total)
	return n, err
}

func (c *readCounter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown.end()
	c.shown = nil
}
