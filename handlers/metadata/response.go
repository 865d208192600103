// What file_metadata answers by itself, and what it adds to the answer of the
// next handler.

package metadata

import (
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// describer is the response to one request for a file with a record.
type describer struct {
	lookup.BodyWriter
	rep *representation
	// known are the record's validators, but for a tag that was set before.
	known       *validators
	disposition string // Content-Disposition, where it is wanted
	content     []byte // the file, where it is in memory
	// encoded tells that the next handler may select another representation
	// than the one which the record is about.
	encoded bool
	wrote   bool

	preset [numFields]bool   // the fields that were set here
	values [numFields]string // and what to
}

// field is a header field that a describer may set.
type field uint8

const (
	acceptRanges field = iota
	cacheControl
	contentDisposition
	contentLength
	contentType
	etag
	lastModified
	vary
	numFields
)

// fieldNames are the names of the fields as they stand in an [http.Header].
var fieldNames = [numFields]string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Length",
	"Content-Type", "Etag", "Last-Modified", "Vary",
}

func (f field) in(h http.Header) string { return first(h, fieldNames[f]) }

// answer answers what it can without opening the file, and tells whether it
// did.
func (d *describer) answer(r *http.Request) bool {
	decision := d.known.check(r.Header)
	if decision == proceed {
		d.known.settle(r.Header)
	}
	if decision == undecided || decision == proceed && d.content == nil &&
		(r.Method != http.MethodHead || d.rep.size < 0) {
		return false
	}
	h := d.Header()
	if values := h["Vary"]; values != nil {
		h["Vary"] = append(values, "Accept-Encoding")
	} else {
		d.put(vary, "Accept-Encoding") // file_server says so of every file
	}
	d.set(etag, d.known.etag)
	switch decision {
	case notModified:
		d.set(cacheControl, d.rep.cacheControl)
		if etag.in(h) == "" {
			d.set(lastModified, d.rep.lastModified)
		}
		delete(h, "Content-Type")
		d.WriteHeader(http.StatusNotModified)
	case failed:
		d.set(lastModified, d.rep.lastModified)
		d.setContentType()
		d.WriteHeader(http.StatusPreconditionFailed)
	default:
		d.set(cacheControl, d.rep.cacheControl)
		d.set(contentDisposition, d.disposition)
		d.setContentType()
		d.answerWhole(r)
	}
	return true
}

// maxRangesOf is the largest file of which several ranges are answered from
// memory: net/http adds up their lengths, as many as a header has room for.
const maxRangesOf = 1 << 48

// answerWhole answers with the file, or its size, as file_server has it.
func (d *describer) answerWhole(r *http.Request) {
	if d.rep.size > maxRangesOf && strings.Contains(first(r.Header, "Range"), ",") {
		delete(r.Header, "Range") // a server may ignore it (RFC 9110, section 14.2)
	}
	if d.Header()["Content-Encoding"] != nil || r.Header["Range"] != nil {
		var content io.ReadSeeker = sized(d.rep.size)
		if d.content != nil {
			content = newInMemory(d.content)
		}
		http.ServeContent(d, r, "", d.known.modified, content)
		return
	}
	length := d.rep.length
	if d.content != nil && int64(len(d.content)) != d.rep.size {
		length = strconv.Itoa(len(d.content))
	}
	d.put(acceptRanges, "bytes")
	d.put(contentLength, length)
	if d.rep.lastModified != "" {
		d.put(lastModified, d.rep.lastModified)
	}
	d.ResponseWriter.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = d.ResponseWriter.Write(d.content) // a client that is gone needs no answer
	}
}

// setContentType leaves it explicitly empty where it is not known, so that
// nobody guesses.
func (d *describer) setContentType() {
	if h := d.Header(); contentType.in(h) == "" {
		h["Content-Type"] = nil
		d.set(contentType, d.rep.contentType)
	}
}

// set sets a response header that is known and not set yet.
func (d *describer) set(f field, value string) {
	if value != "" && f.in(d.Header()) == "" {
		d.put(f, value)
		d.preset[f] = true
	}
}

// put sets a response header whatever it was, in room of the describer's own.
func (d *describer) put(f field, value string) {
	d.values[f] = value
	d.Header()[fieldNames[f]] = d.values[f : f+1 : f+1]
}

// serve lets the next handler serve the file, described by the record.
func (d *describer) serve(r *http.Request, next caddyhttp.Handler) error {
	d.set(cacheControl, d.rep.cacheControl)
	d.set(contentDisposition, d.disposition)
	if !d.encoded {
		d.set(etag, d.known.etag)
	}
	// what file_server finds out by itself need not be set before it knows
	// that there is a file
	if d.rep.contentType != mime.TypeByExtension(path.Ext(r.URL.Path)) {
		d.set(contentType, d.rep.contentType)
	}
	err := next.ServeHTTP(d, r)
	if !d.wrote {
		d.withdraw() // an error page is not this file, nor is an empty response
	}
	return err
}

// withdraw takes back what was set here, whatever has been made of its value.
func (d *describer) withdraw() {
	d.giveWay()
	h := d.Header()
	for f, name := range fieldNames {
		if d.preset[f] && field(f).in(h) == d.values[f] {
			delete(h, name)
		}
	}
}

// giveWay takes back what the next handler has added values of its own to, as
// a reverse proxy does.
func (d *describer) giveWay() {
	h := d.Header()
	for f, name := range fieldNames {
		if !d.preset[f] {
			continue
		}
		if values := h[name]; len(values) > 1 && values[0] == d.values[f] {
			h[name] = values[1:]
			d.preset[f] = false
		}
	}
}

// describe completes the headers when it is known what the response is.
func (d *describer) describe(status int) {
	h := d.Header()
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusPartialContent:
		d.giveWay()
		d.set(contentType, d.rep.contentType)
		d.correctTag()
	case http.StatusNotModified:
		d.giveWay()
		if contentDisposition.in(h) == d.disposition {
			delete(h, "Content-Disposition")
		}
	case http.StatusPreconditionFailed:
		d.giveWay()
	default:
		d.withdraw()
		return
	}
	// the date of a file can differ from node to node, that of its record does not
	if d.rep.lastModified != "" && lastModified.in(h) != "" {
		d.put(lastModified, d.rep.lastModified)
	}
}

// correctTag sees to it that the record's strong tag goes with the one
// representation that it is about.
func (d *describer) correctTag() {
	h := d.Header()
	tag, encoded := etag.in(h), first(h, "Content-Encoding") != ""
	switch {
	case d.known.etag == "" || tag == "":
	case d.encoded && !encoded:
		d.put(etag, d.known.etag) // it was selected after all
	case encoded && tag == d.known.etag && !strings.HasPrefix(tag, "W/"):
		// a weak one may stand for all codings of the same content
		d.put(etag, "W/"+tag)
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

// ReadFrom implements [io.ReaderFrom].
func (d *describer) ReadFrom(r io.Reader) (int64, error) {
	d.ensureHeader()
	if body, ok := r.(*io.LimitedReader); ok {
		if content, ok := body.R.(*inMemory); ok {
			n, err := d.ResponseWriter.Write(content.next(body.N))
			return int64(n), err
		}
	}
	return d.BodyWriter.ReadFrom(r)
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
