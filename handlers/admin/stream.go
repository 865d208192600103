// Reading and writing bodies of any length, which take longer than the time limits of
// the admin API.

package admin

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

const (
	// stallTimeout is how long a client may take to send or receive the next part
	// of a body.
	stallTimeout = time.Minute
	ndjson       = "application/x-ndjson"
)

// patientReader reads a body that may take any time, as long as something
// arrives. The admin API would allow ten seconds for all of it.
type patientReader struct {
	io.ReadCloser
	control *http.ResponseController
	err     error // of the last read
}

func patientBody(w http.ResponseWriter, r *http.Request) *patientReader {
	return &patientReader{ReadCloser: r.Body, control: http.NewResponseController(w)}
}

func (r *patientReader) Read(p []byte) (n int, err error) {
	if r.err != nil {
		return 0, r.err // a deadline after the end would be that of the response
	}
	_ = r.control.SetReadDeadline(time.Now().Add(stallTimeout))
	n, r.err = r.ReadCloser.Read(p)
	return n, r.err
}

// lines writes an NDJSON answer, one line at a time. It fails if the client
// does not read.
type lines struct {
	*bufio.Writer
	timed timedWriter
}

// startLines begins an answer of status 200.
func startLines(w http.ResponseWriter) lines {
	w.Header().Set("Content-Type", ndjson)
	w.WriteHeader(http.StatusOK)
	timed := timedWriter{w, http.NewResponseController(w)}
	return lines{bufio.NewWriterSize(timed, 64<<10), timed}
}

// send writes a line and flushes.
func (l lines) send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, _ = l.Write(append(line, '\n'))
	return l.flush()
}

func (l lines) flush() error {
	if err := l.Flush(); err != nil {
		return err
	}
	return l.timed.within(l.timed.control.Flush)
}

type timedWriter struct {
	io.Writer
	control *http.ResponseController
}

func (w timedWriter) Write(p []byte) (n int, err error) {
	err = w.within(func() error {
		n, err = w.Writer.Write(p)
		return err
	})
	return n, err
}

// within sets a deadline for one write. It removes the deadline afterwards,
// because the connection may be used for another request.
func (w timedWriter) within(write func() error) error {
	_ = w.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	defer func() { _ = w.control.SetWriteDeadline(time.Time{}) }()
	return write()
}
