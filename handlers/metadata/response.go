// The responses of file_metadata, and the headers that it adds to the next handler's.

package metadata

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// describer is the response to one request for a file with a record.
type describer struct {
	lookup.BodyWriter
	handler *Handler
	request *http.Request
	repl    *caddy.Replacer
	id      string // the identity
	req     cache.Request
	record  *cache.Record
	rep     *representation
	// known are the record's validators, or those of the selected representation; a tag
	// that an earlier handler has set replaces theirs.
	known       *validators
	disposition string // Content-Disposition, or ""
	content     []byte // the file, if it is in memory
	// encoded reports that the next handler may select another representation than the
	// one that the record describes.
	encoded bool
	// selected is the coding of the representation that the next handler
	// selects, where it is known and not the file itself.
	selected string
	sidecar  sidecar // the precompressed file that was looked up last
	// selectedKnown are the validators of the selected representation.
	selectedKnown validators

	answered bool // whether it answers from the record, without the next handler
	// hidesTag keeps the next handler from making a tag of the file's date.
	hidesTag bool
	// asked has the request's headers, for a conditional GET.
	asked http.Header
	// held is a status that is not sent before it is known which file is served.
	held  int
	wrote bool // whether a status was sent
	// anew reports that the next handler was about to serve another file than the
	// record's, and plain that it now serves that file without the record.
	anew, plain bool

	preset [numFields]bool   // whether each field was set here
	values [numFields]string // the values that were set
}

// field is a header field that a describer may set.
type field uint8

const (
	acceptRanges field = iota
	cacheControl
	contentDisposition
	contentEncoding
	contentLength
	contentType
	etag
	lastModified
	vary
	numFields
)

// fieldNames are the names of the fields as they stand in an [http.Header].
var fieldNames = [numFields]string{
	"Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Length",
	"Content-Type", "Etag", "Last-Modified", "Vary",
}

func (f field) in(h http.Header) string { return first(h, fieldNames[f]) }

// answer responds without the next handler, if it can, and reports whether it did.
func (d *describer) answer(r *http.Request) bool {
	decision := d.known.check(r.Header)
	whole := d.content != nil || r.Method == http.MethodHead && d.rep.size >= 0
	if decision == proceed {
		stripDecided(r.Header)
		if !whole && r.Header["If-Range"] != nil && d.isFresh() || whole && d.selected == "" {
			d.known.stripRange(r.Header)
		}
	}
	switch {
	case decision == undecided, decision == proceed && !whole:
		return false
	case decision == failed && d.selected != "":
		return false // file_server sends the length of the file here
	}
	d.answered = true
	h := d.Header()
	if values := h["Vary"]; values != nil {
		h["Vary"] = append(values, "Accept-Encoding")
	} else {
		d.put(vary, "Accept-Encoding") // as file_server does for every file
	}
	d.set(etag, d.known.etag)
	switch decision {
	case notModified:
		d.set(cacheControl, d.rep.cacheControl)
		if etag.in(h) == "" {
			d.set(lastModified, d.rep.lastModified)
		} else {
			delete(h, "Last-Modified")
		}
		delete(h, "Content-Type")
		delete(h, "Content-Encoding")
		d.WriteHeader(http.StatusNotModified)
	case failed:
		if d.rep.lastModified != "" {
			d.put(lastModified, d.rep.lastModified) // file_server replaces what an earlier handler has set
		}
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

// maxRangesOf is the largest file, in bytes, of which several ranges are answered. The
// sum of the ranges that fit into a header, which net/http computes, must not overflow.
const maxRangesOf = 1 << 48

// answerWhole answers with the file, or for HEAD with its size, as file_server does.
func (d *describer) answerWhole(r *http.Request) {
	size, length := d.rep.size, d.rep.length
	if d.selected != "" {
		side := representationOf(d.sidecarFor(d.selected).record)
		size, length = side.size, side.length
		d.put(contentEncoding, d.selected)
		if first(r.Header, "Range") == "" {
			d.put(contentLength, length) // net/http sets none with Content-Encoding
		}
	}
	if size > maxRangesOf && strings.Contains(first(r.Header, "Range"), ",") {
		delete(r.Header, "Range") // a server may ignore it (RFC 9110, section 14.2)
	}
	if d.selected == "" && d.Header()["Content-Encoding"] != nil || r.Header["Range"] != nil {
		var content io.ReadSeeker = sized(size)
		if d.content != nil {
			content = newInMemory(d.content)
		}
		http.ServeContent(d, r, "", d.known.modified, content)
		return
	}
	if d.content != nil && int64(len(d.content)) != size {
		length = strconv.Itoa(len(d.content))
	}
	d.put(acceptRanges, "bytes")
	d.put(contentLength, length)
	if d.rep.lastModified != "" {
		d.put(lastModified, d.rep.lastModified)
	}
	d.ResponseWriter.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = d.ResponseWriter.Write(d.content) // it fails if the client has left
	}
}

// setContentType leaves an unknown type explicitly empty, so that net/http does
// not guess one.
func (d *describer) setContentType() {
	if h := d.Header(); contentType.in(h) == "" {
		h["Content-Type"] = nil
		d.set(contentType, d.rep.contentType)
	}
}

// set sets a response header, unless the value is empty or the header is set already.
func (d *describer) set(f field, value string) {
	if value != "" && f.in(d.Header()) == "" {
		d.put(f, value)
		d.preset[f] = true
	}
}

// put sets a response header, without an allocation.
func (d *describer) put(f field, value string) {
	d.values[f] = value
	d.Header()[fieldNames[f]] = d.values[f : f+1 : f+1]
}

// serve lets the next handler serve the file, described by the record.
func (d *describer) serve(r *http.Request, next caddyhttp.Handler) error {
	var before http.Header
	if d.asked != nil {
		before = d.Header().Clone()
	}
	d.set(cacheControl, d.rep.cacheControl)
	d.set(contentDisposition, d.disposition)
	switch {
	case d.hidesTag:
		d.set(etag, noTag)
	case !d.encoded:
		d.set(etag, d.known.etag)
	}
	// file_server sets the type itself, that of the file that it serves
	if d.handler.files == nil && d.rep.contentType != mime.TypeByExtension(path.Ext(r.URL.Path)) {
		d.set(contentType, d.rep.contentType)
	}
	err := next.ServeHTTP(d, r)
	d.release(nil, false)
	if d.anew {
		return d.serveAnew(r, next, before)
	}
	if !d.wrote {
		d.withdraw() // an error page or an empty response is not this file
	}
	return err
}

// serveUndescribed lets the next handler answer as if there were no record.
func (d *describer) serveUndescribed(r *http.Request, next caddyhttp.Handler) error {
	d.plain = true
	if d.handler.hashes() {
		d.set(etag, noTag)
	}
	err := next.ServeHTTP(d, r)
	if !d.wrote {
		d.withdraw()
	}
	return err
}

// serveAnew lets the next handler serve another file than the record's as if there
// were no record, because decisions made from the record do not hold for it.
func (d *describer) serveAnew(r *http.Request, next caddyhttp.Handler, before http.Header) error {
	d.anew = false
	h := d.Header()
	clear(h)
	maps.Copy(h, before)
	clear(r.Header)
	maps.Copy(r.Header, d.asked)
	d.preset = [numFields]bool{}
	return d.serveUndescribed(r, next)
}

// withdraw removes the fields that were set here, even if their values were
// changed since.
func (d *describer) withdraw() {
	d.giveWay()
	for f := range numFields {
		d.withdrawField(f)
	}
}

func (d *describer) withdrawField(f field) {
	if h := d.Header(); d.preset[f] && f.in(h) == d.values[f] {
		delete(h, fieldNames[f])
	}
}

// giveWay removes the values of fields to which the next handler has added its own, as a
// reverse proxy does.
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

// describe completes the headers once the response is known. same reports that
// the record describes the served file.
func (d *describer) describe(status int, same bool) {
	h := d.Header()
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusPartialContent:
		d.giveWay()
		if !d.plain && (same || d.handler.files == nil) {
			d.set(contentType, d.rep.contentType)
		}
		if same {
			d.correctTag()
			break
		}
		d.withdrawField(etag)
		if d.handler.files != nil {
			d.withdrawField(contentDisposition) // it has the name of another file
		}
	case http.StatusNotModified:
		d.giveWay()
		if contentDisposition.in(h) == d.disposition {
			delete(h, "Content-Disposition")
		}
	case http.StatusPreconditionFailed:
		d.giveWay()
	default:
		if d.answered {
			d.preset[contentType] = false // it is now the type of net/http's message
		}
		d.withdraw()
	}
	if etag.in(h) == noTag && !d.plain && status < http.StatusInternalServerError {
		d.correctTag()
	}
	if etag.in(h) == noTag {
		delete(h, fieldNames[etag])
	}
	// the date of a file can differ between nodes; that of its record does not
	if same && (d.handler.files == nil || d.handler.hashes()) && d.rep.lastModified != "" && lastModified.in(h) != "" && status < http.StatusInternalServerError {
		d.put(lastModified, d.rep.lastModified)
	}
}

// correctTag ensures that a strong tag is sent only with its representation.
func (d *describer) correctTag() {
	h := d.Header()
	tag, coding := etag.in(h), first(h, "Content-Encoding")
	switch {
	case tag == noTag && coding != "":
		if tag := d.sidecarTag(coding); tag != "" {
			d.put(etag, tag)
		}
	case tag == noTag && d.known.etag != "":
		d.put(etag, d.known.etag)
	case d.known.etag == "" || tag == "" || d.selected != "":
	case d.encoded && coding == "":
		d.put(etag, d.known.etag) // the file itself was selected
	case coding != "" && tag == d.known.etag && !strings.HasPrefix(tag, "W/"):
		// a weak tag may be that of all codings of the same content
		d.put(etag, "W/"+tag)
	}
}

// WriteHeader implements [http.ResponseWriter].
func (d *describer) WriteHeader(status int) {
	switch {
	case d.held != 0 || d.anew:
		return
	case d.wrote, status < 200 && status != http.StatusSwitchingProtocols:
		// after an informational response another one follows
	case !d.answered && !d.plain && (status == http.StatusOK || status == http.StatusNonAuthoritativeInfo || status == http.StatusPartialContent):
		d.held = status // until the content comes
		return
	default:
		d.wrote = true
		d.describe(status, !d.plain)
	}
	d.ResponseWriter.WriteHeader(status)
}

// release sends a held status when the content comes. file describes the file that the
// content is read from, or is nil. byFileServer reports that file_server sends it. release
// reports whether the content may be written.
func (d *describer) release(file fs.FileInfo, byFileServer bool) bool {
	if d.anew {
		return false
	}
	if d.held == 0 {
		return true
	}
	same := d.servesKnown(d.held, file)
	status := d.held
	d.held = 0
	// another handler has decided by itself, and is not asked twice
	if !same && d.asked != nil && (byFileServer || !d.handler.othersAnswer) {
		d.anew = true
		return false
	}
	d.wrote = true
	d.describe(status, same)
	d.ResponseWriter.WriteHeader(status)
	return true
}

// errAnew makes the next handler stop writing, because the file is served anew.
var errAnew = errors.New("file has changed")

// ensureHeader sends the status before content is written.
func (d *describer) ensureHeader(file fs.FileInfo, byFileServer bool) error {
	if !d.wrote && d.held == 0 {
		d.WriteHeader(http.StatusOK)
	}
	if !d.release(file, byFileServer) {
		return errAnew
	}
	return nil
}

// Write implements [http.ResponseWriter].
func (d *describer) Write(p []byte) (int, error) {
	if err := d.ensureHeader(nil, false); err != nil {
		return 0, err
	}
	return d.ResponseWriter.Write(p)
}

// ReadFrom implements [io.ReaderFrom].
func (d *describer) ReadFrom(r io.Reader) (int64, error) {
	var info fs.FileInfo
	byFileServer := false
	body, limited := r.(*io.LimitedReader)
	if limited && d.held != 0 {
		switch content := body.R.(type) {
		case fs.File:
			info, _ = content.Stat()
			byFileServer = true
		case *io.PipeReader: // several ranges
			byFileServer = true
		}
	}
	if err := d.ensureHeader(info, byFileServer); err != nil {
		return 0, err
	}
	if limited {
		if content, ok := body.R.(*inMemory); ok {
			n, err := d.ResponseWriter.Write(content.next(body.N))
			return int64(n), err
		}
	}
	return d.BodyWriter.ReadFrom(r)
}

// FlushError is what [http.ResponseController] calls.
func (d *describer) FlushError() error {
	if err := d.ensureHeader(nil, false); err != nil {
		return err
	}
	return http.NewResponseController(d.ResponseWriter).Flush()
}

// Interface guards
var (
	_ http.ResponseWriter = (*describer)(nil)
	_ io.ReaderFrom       = (*describer)(nil)
)
