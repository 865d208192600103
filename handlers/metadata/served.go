// Which file the next handler serves: the headers must describe that file.

package metadata

import (
	"errors"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// noTag is set as the tag of a representation whose tag is not known yet, to keep
// file_server from making one of the date. It is never sent.
const noTag = `"-"`

// hashes reports whether tags are hashes of the files' contents.
func (m *Handler) hashes() bool { return m.files != nil && m.files.Hash != "" }

// sidecar is a precompressed file beside the one that is looked up.
type sidecar struct {
	coding string
	req    cache.Request
	record *cache.Record // nil unless the file is known to exist
	etag   string
	// absent reports that file_server finds no such file.
	absent bool
}

// sidecarFor looks up the precompressed file of a coding.
func (d *describer) sidecarFor(coding string) *sidecar {
	if d.sidecar.coding != coding {
		d.sidecar = d.findSidecar(coding)
	}
	return &d.sidecar
}

func (d *describer) findSidecar(coding string) sidecar {
	side := sidecar{coding: coding}
	files := d.handler.files
	suffix := files.SidecarSuffix(coding)
	if suffix == "" || !slices.Contains(d.rep.encodings, coding) {
		return side
	}
	id := d.id
	if strings.Contains(id, "/.") || strings.Contains(id, "//") {
		if id = path.Clean(id); strings.HasSuffix(d.id, "/") && id != "/" {
			id += "/"
		}
	}
	index := ""
	if strings.HasSuffix(id, "/") {
		index = path.Base(d.req.ID)
	}
	req, err := d.handler.Request(d.request, d.repl, lookup.Identified{ID: id + index + suffix})
	if err != nil {
		side.absent = errors.Is(err, lookup.ErrNotLocated) && files.HidesSidecar(d.repl, d.req.ID+suffix)
		return side
	}
	if name, ok := strings.CutSuffix(req.ID, suffix); !ok || name != d.req.ID {
		return side
	}
	result := d.handler.Find(d.request.Context(), req)
	switch {
	case result.Outcome == cache.OutcomeAbsent:
		side.absent = true
	case result.OK() && !representationOf(result.Record).notRegular:
		side.req, side.record, side.etag = req, result.Record, representationOf(result.Record).etag
	}
	return side
}

// sidecarTag is the tag of the precompressed file of a coding, or "".
func (d *describer) sidecarTag(coding string) string { return d.sidecarFor(coding).etag }

// expect prepares for a next handler whose choice of a representation is not known. Each
// representation has a tag of its own. A file_server evaluates preconditions itself,
// unless its tags are replaced by hashes. With hashes, and with other sources, a client
// that names the tag of a known representation gets that representation. tag was set by
// an earlier handler, or is "".
func (d *describer) expect(r *http.Request, tag string) {
	if d.handler.files != nil && !d.handler.hashes() {
		d.encoded = d.rep.encodedFor(r) || d.handler.onlyDescribes
		return
	}
	if d.known.named(r.Header) {
		delete(r.Header, "Accept-Encoding")
	}
	d.encoded = d.rep.encodedFor(r) && !d.known.decidedByDate(r.Header)
	if d.encoded && tag == "" && d.handler.hashes() {
		d.hidesTag = true
		if named(r.Header) {
			d.selectNamed(r)
		}
	}
}

// selectNamed selects the precompressed file whose tag the client names, if any.
func (d *describer) selectNamed(r *http.Request) {
	for _, coding := range encode.AcceptedEncodings(r, nil) {
		if !slices.Contains(d.rep.encodings, coding) {
			continue
		}
		known := validators{etag: d.sidecarTag(coding), modified: d.rep.modified, lastModified: d.rep.lastModified}
		if known.named(r.Header) {
			d.known, d.selected, d.encoded, d.hidesTag = &known, coding, false, false
			r.Header["Accept-Encoding"] = []string{coding}
			return
		}
	}
}

// isFresh reports whether the record describes the file at this moment.
func (d *describer) isFresh() bool {
	if d.handler.files == nil {
		return false
	}
	req, record := d.chosen()
	return record != nil && d.handler.files.StillDescribes(req, record)
}

// chosen returns the representation that the client gets, as far as it is known: the
// file itself or the selected precompressed one.
func (d *describer) chosen() (req cache.Request, record *cache.Record) {
	if d.selected == "" {
		return d.req, d.record
	}
	side := d.sidecarFor(d.selected)
	return side.req, side.record
}

// servesKnown reports whether the next handler serves the file of the record, judged by
// the file that it reads from, or else by the headers that it has set.
func (d *describer) servesKnown(status int, file fs.FileInfo) bool {
	coding := first(d.Header(), "Content-Encoding")
	if d.selected != coding && (d.selected != "" || d.handler.precompressed != nil) {
		return false
	}
	files := d.handler.files
	if files == nil {
		return d.headersAgree(status, coding, d.rep.size, d.rep.modified)
	}
	req, record, size := d.req, d.record, d.rep.size
	if coding != "" {
		side := d.sidecarFor(coding)
		if side.record == nil {
			return !d.handler.hashes() // another handler may have encoded it
		}
		req, record, size = side.req, side.record, representationOf(side.record).size
	}
	if file != nil {
		return files.Describes(req, record, file)
	}
	return d.headersAgree(status, "", size, files.Modified(d.req, d.record)) && files.StillDescribes(req, record)
}

// headersAgree reports whether the headers of a response do not contradict a
// size and a date.
func (d *describer) headersAgree(status int, coding string, size int64, modified time.Time) bool {
	h := d.Header()
	if coding == "" && size >= 0 {
		length := contentLength.in(h)
		if status == http.StatusPartialContent {
			_, length, _ = strings.Cut(first(h, "Content-Range"), "/")
		}
		if n, err := strconv.ParseInt(length, 10, 64); err == nil && n != size {
			return false
		}
	}
	if at, err := http.ParseTime(lastModified.in(h)); err == nil && !modified.IsZero() {
		return at.Unix() == modified.Unix()
	}
	return true
}
