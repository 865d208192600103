// A record of file metadata in terms of HTTP.

package metadata

import (
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"

	"github.com/filewallball/caddy-filewallball/cache"
)

// representation has the fields of a record, checked and ready for response headers. It
// is immutable. A field that is unknown, or cannot be in a header, is empty.
type representation struct {
	validators
	contentType  string
	cacheControl string
	// dispositionParams propose the name in Content-Disposition.
	dispositionParams string
	size              int64  // in bytes, or -1
	length            string // size, as it stands in the header
	// encodings are the content codings in which the next handler has
	// another representation of the same file.
	encodings []string
	// notRegular reports that the path is left to the next handler: it is a directory,
	// or a file that cannot be read.
	notRegular bool
}

// representationOf returns the representation of a record, which it makes at the first
// use of the record.
func representationOf(record *cache.Record) *representation {
	if rep, ok := record.Memo().(*representation); ok {
		return rep
	}
	rep := newRepresentation(record)
	record.SetMemo(rep, rep.memory())
	return rep
}

// memory is the size of the representation beside the record's text, in bytes.
// The other strings are parts of that text.
func (rep *representation) memory() int {
	return int(unsafe.Sizeof(*rep)) + len(rep.lastModified) + len(rep.etag) + len(rep.dispositionParams)
}

func newRepresentation(record *cache.Record) *representation {
	rep := &representation{
		validators:        validators{etag: etagOf(record), modified: modifiedOf(record)},
		cacheControl:      textOf(record, "cache_control"),
		dispositionParams: dispositionParams(scalarOf(record, "name")),
		contentType:       contentTypeOf(record),
		size:              -1,
	}
	if !rep.modified.IsZero() {
		rep.lastModified = rep.modified.UTC().Format(http.TimeFormat)
	}
	if v, ok := record.Field("size"); ok {
		if size, ok := v.Int(); ok && size >= 0 {
			rep.size, rep.length = size, strconv.FormatInt(size, 10)
		}
	}
	if v, ok := record.Field("encodings"); ok {
		rep.encodings = v.Strings()
	}
	if v, ok := record.Field("regular"); ok {
		rep.notRegular = v.JSON() == "false"
	}
	return rep
}

// maxFieldLength is the longest value of a header, in bytes. Some clients and proxies
// refuse a response with longer ones.
const maxFieldLength = 4 << 10

// scalarOf is the text of a field that is neither an object nor an array.
func scalarOf(record *cache.Record, field string) string {
	if v, ok := record.Field(field); ok && v.IsScalar() {
		return v.Text()
	}
	return ""
}

// textOf returns a field as the value of a header, or "" if it cannot be one.
func textOf(record *cache.Record, field string) string {
	text := strings.TrimSpace(scalarOf(record, field))
	if len(text) > maxFieldLength {
		return ""
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return ""
		}
	}
	return text
}

// etagOf returns the entity tag from the first field that has one. A value that is
// quoted already is used unchanged.
func etagOf(record *cache.Record) string {
	for _, field := range []string{"etag", "sha256", "hash"} {
		text := textOf(record, field)
		if tag, rest := scanTag(text); tag != "" && rest == "" {
			return tag
		}
		if text != "" && tagChars(text) {
			return `"` + text + `"`
		}
	}
	return ""
}

func modifiedOf(record *cache.Record) time.Time {
	v, ok := record.Field("modified")
	if !ok {
		return time.Time{}
	}
	at, ok := v.Time()
	if !ok {
		var err error
		if at, err = http.ParseTime(v.Text()); err != nil {
			return time.Time{}
		}
	}
	// as in file_server: file systems without dates report these
	if unix := at.Unix(); unix == 0 || unix == 1 {
		return time.Time{}
	}
	return at
}

// contentTypeOf returns the content type of the record, or else that of the extension.
// It never reads the file.
func contentTypeOf(record *cache.Record) string {
	for _, field := range []string{"content_type", "mime_type"} {
		if text := textOf(record, field); text != "" {
			return text
		}
	}
	for _, field := range []string{"name", "path"} {
		// spaces belong to a name, as file_server reads it
		if name := scalarOf(record, field); name != "" {
			return mime.TypeByExtension(path.Ext(name))
		}
	}
	return ""
}

// encodedFor reports whether the next handler may select another representation
// for this client, such as a precompressed file beside it.
func (rep *representation) encodedFor(r *http.Request) bool {
	if len(rep.encodings) == 0 {
		return false
	}
	return slices.ContainsFunc(encode.AcceptedEncodings(r, nil), func(coding string) bool {
		return slices.Contains(rep.encodings, coding)
	})
}
