// The placeholders for the results of lookups.

package lookup

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// What the placeholders of each lookup begin with.
const (
	SessionPrefix  = "http.session."
	MetadataPrefix = "http.file_metadata."
)

// userPlaceholder is the user, as Caddy's own authentication sets it.
const userPlaceholder = "http.auth.user.id"

// Findings are the results of the lookups of one request, with buffers that
// each request needs.
type Findings struct {
	// the results of the latest lookup of each kind
	Session, File Found
	// user is the user of the session, or "".
	user string

	body   BodyWriter
	status statusLines
}

// Found is the result of a lookup. The zero value means that there was none.
type Found struct {
	Outcome cache.Outcome
	ID      string
	Key     string        // of the record, "" where none was looked up
	Record  *cache.Record // nil where no fields may be read
}

// Publish makes the result of a lookup available: in placeholders, in the
// response and in the debug log. A session that may not pass has no fields:
// after on_denied continue, a handler that reads {http.session.user_id} must
// not take it for a valid session.
func (l *Lookup) Publish(h http.Header, f *Findings, into *Found, id string, result *cache.Result) {
	*into = Found{Outcome: result.Outcome, ID: id, Key: result.Key}
	if result.OK() {
		into.Record = result.Record
	}
	l.addCacheStatus(h, &f.status, result)
	l.debug.log(result)
}

// findingsPlaceholder is the placeholder that holds the findings of a request. No
// configuration can use this name.
const findingsPlaceholder = "\x00filewallball"

// FindingsOf returns the findings of a request and adds them to its
// placeholders.
func FindingsOf(repl *caddy.Replacer) *Findings {
	v, _ := repl.Get(findingsPlaceholder)
	if f, ok := v.(*Findings); ok {
		return f
	}
	f := new(Findings)
	repl.Map(f.placeholder)
	return f
}

// Writer returns a response that writes files as [BodyWriter] does.
func (f *Findings) Writer(w http.ResponseWriter) http.ResponseWriter {
	if f.body.ResponseWriter != nil {
		return w // it is in use already, below w or for another part of this request
	}
	f.body.ResponseWriter = w
	return &f.body
}

// SetUser sets the user of the session. The last call counts, although the replacer
// would prefer a value that an earlier handler has set.
func (f *Findings) SetUser(repl *caddy.Replacer, user string) {
	f.user = ""
	if other, ok := repl.Get(userPlaceholder); ok && other != "" {
		repl.Set(userPlaceholder, user)
	}
	f.user = user
}

func (f *Findings) placeholder(name string) (any, bool) {
	if path, ok := strings.CutPrefix(name, SessionPrefix); ok {
		return f.Session.placeholder(path)
	}
	if path, ok := strings.CutPrefix(name, MetadataPrefix); ok {
		return f.File.placeholder(path)
	}
	switch {
	case name == userPlaceholder && (f.user != "" || f.Session.Outcome != ""):
		return f.user, true // empty if the session has no user
	case name == findingsPlaceholder:
		return f, true
	}
	return nil, false
}

func (f *Found) placeholder(path string) (any, bool) {
	switch {
	case f.Outcome == "":
		return nil, false
	case path == "outcome":
		return string(f.Outcome), true
	case path == "id":
		return f.ID, true
	case f.Record == nil:
		return "", true // an unknown field is empty, not {…}
	}
	value, _ := f.Record.Field(path)
	return value.Text(), true
}
