// What file_metadata answers by itself, and what it adds to the answer of the
// next handler.

package handlers

import (
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// describer is the response to one request for a file with a record.
type describer struct {
	caddyhttp.ResponseWriterWrapper
	rep *representation
	// known are the record's validators, but for a tag that was set before.
	known       validators
	disposition string // Content-Disposition, where it is wanted
	// encoded tells that the next handler may select another representation
	// than the one which the record is about.
	encoded bool

	// content is the file, where it is in memory.
	content *inMemory

	// preset are the headers that were set here.
	preset []presetHeader
	room   [4]presetHeader // for preset, nearly always
	wrote  bool
}

type presetHeader struct{ name, value string }

// answer answers what it can without opening the file, and tells whether it
// did.
func (d *describer) answer(r *http.Request) bool {
	decision := d.known.check(r.Header)
	if decision == proceed {
		d.known.settle(r.Header)
	}
	var content io.ReadSeeker
	switch {
	case d.content != nil:
		content = d.content
	case r.Method == http.MethodHead && d.rep.size >= 0:
		content = sized(d.rep.size)
	}
	if decision == undecided || decision == proceed && content == nil {
		return false
	}
	h := d.Header()
	h.Add("Vary", "Accept-Encoding") // file_server says so of every file
	d.set("Etag", d.known.etag)
	switch decision {
	case notModified:
		d.set("Cache-Control", d.rep.cacheControl)
		if h.Get("Etag") == "" {
			d.set("Last-Modified", d.rep.lastModified)
		}
		h.Del("Content-Type")
		d.WriteHeader(http.StatusNotModified)
	case failed:
		d.set("Last-Modified", d.rep.lastModified)
		d.setContentType()
		d.WriteHeader(http.StatusPreconditionFailed)
	default:
		d.set("Cache-Control", d.rep.cacheControl)
		d.set("Content-Disposition", d.disposition)
		d.setContentType()
		// the rest, ranges among it, is as file_server has it
		http.ServeContent(d, r, "", d.known.modified, content)
	}
	return true
}

// setContentType leaves it explicitly empty where it is not known, so that
// nobody guesses.
func (d *describer) setContentType() {
	if h := d.Header(); h.Get("Content-Type") == "" {
		h["Content-Type"] = nil
		d.set("Content-Type", d.rep.contentType)
	}
}

// set sets a response header that is known and not set yet.
func (d *describer) set(name, value string) {
	if h := d.Header(); value != "" && h.Get(name) == "" {
		h.Set(name, value)
		if d.preset == nil {
			d.preset = d.room[:0]
		}
		d.preset = append(d.preset, presetHeader{name, value})
	}
}

// serve lets the next handler serve the file, described by the record.
func (d *describer) serve(r *http.Request, next caddyhttp.Handler) error {
	d.set("Cache-Control", d.rep.cacheControl)
	d.set("Content-Disposition", d.disposition)
	if !d.encoded {
		d.set("Etag", d.known.etag)
	}
	// what file_server finds out by itself need not be set before it knows
	// that there is a file
	if d.rep.contentType != mime.TypeByExtension(path.Ext(r.URL.Path)) {
		d.set("Content-Type", d.rep.contentType)
	}
	err := next.ServeHTTP(d, r)
	if err != nil && !d.wrote {
		d.withdraw() // an error page is not this file
	}
	return err
}

// withdraw takes back what was set here.
func (d *describer) withdraw() {
	h := d.Header()
	for _, p := range d.preset {
		if h.Get(p.name) == p.value {
			h.Del(p.name)
		}
	}
}

// giveWay takes back what the next handler has added values of its own to, as
// a reverse proxy does.
func (d *describer) giveWay() {
	h := d.Header()
	for _, p := range d.preset {
		if values := h[p.name]; len(values) > 1 && values[0] == p.value {
			h[p.name] = values[1:]
		}
	}
}

// describe completes the headers when it is known what the response is.
func (d *describer) describe(status int) {
	h := d.Header()
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusPartialContent:
		d.giveWay()
		d.set("Content-Type", d.rep.contentType)
		d.correctTag()
	case http.StatusNotModified:
		d.giveWay()
		if h.Get("Content-Disposition") == d.disposition {
			h.Del("Content-Disposition")
		}
	case http.StatusPreconditionFailed:
		d.giveWay()
	default:
		d.withdraw()
		return
	}
	// the date of a file can differ from node to node, that of its record does not
	if d.rep.lastModified != "" && h.Get("Last-Modified") != "" {
		h.Set("Last-Modified", d.rep.lastModified)
	}
}

// correctTag sees to it that the record's strong tag goes with the one
// representation that it is about.
func (d *describer) correctTag() {
	h := d.Header()
	tag, encoded := h.Get("Etag"), h.Get("Content-Encoding") != ""
	switch {
	case d.known.etag == "" || tag == "":
	case d.encoded && !encoded:
		h.Set("Etag", d.known.etag) // it was selected after all
	case encoded && tag == d.known.etag && !strings.HasPrefix(tag, "W/"):
		// a weak one may stand for all codings of the same content
		h.Set("Etag", "W/"+tag)
	}
}

// WriteHeader implements [http.ResponseWriter].
func (d *describer) WriteHeader(status int) {
	// after an informational response another one follows
	if !d.wrote && (status >= 200 || status == http.StatusSwitchingProtocols) {
		d.wrote = true
		d.describe(status)
	}
	d.ResponseWriter.WriteHeader(status)
}

func (d *describer) ensureHeader() {
	if !d.wrote {
		d.WriteHeader(http.StatusOK)
	}
}

// Write implements [http.ResponseWriter].
func (d *describer) Write(p []byte) (int, error) {
	d.ensureHeader()
	return d.ResponseWriter.Write(p)
}

// ReadFrom implements [io.ReaderFrom]. A file goes out without a new buffer, its
// beginning together with the header; where sendfile is possible, it stays so
// for all that is long.
func (d *describer) ReadFrom(r io.Reader) (int64, error) {
	d.ensureHeader()
	limited, ok := r.(*io.LimitedReader) // as http.ServeContent has it
	switch {
	case !ok:
	case d.content != nil && limited.R == io.Reader(d.content):
		n, err := d.ResponseWriter.Write(d.content.next(limited.N))
		return int64(n), err
	case isFile(limited) && (limited.N <= pieceSize || !sendsFiles(d.ResponseWriter)):
		return copyFile(d.ResponseWriter, limited)
	}
	return d.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError is what [http.ResponseController] calls.
func (d *describer) FlushError() error {
	d.ensureHeader()
	return http.NewResponseController(d.ResponseWriter).Flush()
}

// Interface guards
var (
	_ http.ResponseWriter = (*describer)(nil)
	_ io.ReaderFrom       = (*describer)(nil)
)
