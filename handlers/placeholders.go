// What lookups found, as placeholders for the handlers after them.

package handlers

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// userPlaceholder is where Caddy's own authentication puts the user, too.
const userPlaceholder = "http.auth.user.id"

// findings are what the lookups of one request found, and the room for what
// each request needs of them.
type findings struct {
	// of each kind, the last lookup's
	session, file found
	// user is whom the session belongs to, or "".
	user string

	body   bodyWriter
	status statusLines
}

// found is what a lookup came to. The zero value is that there was none.
type found struct {
	outcome cache.Outcome
	id      string
	record  *cache.Record // nil where it has no fields to tell
}

// tell says what a lookup came to: in placeholders, in the response and in
// the debug log. Of a session that may not pass there are no fields: after
// on_denied continue, whoever reads {http.session.user_id} must not take it
// for that of a valid session.
func (l *Lookup) tell(h http.Header, f *findings, into *found, id string, result *cache.Result) {
	*into = found{outcome: result.Outcome, id: id}
	if result.OK() {
		into.record = result.Record
	}
	l.addCacheStatus(h, &f.status, result)
	l.debug.log(result)
}

// findingsPlaceholder is where the findings of a request are found again, a
// name that no configuration has: unlike a variable of the request, nobody can
// set it, and the first findings would go on to answer for all that follow.
const findingsPlaceholder = "\x00filewallball"

// findingsOf returns the findings of a request, which are placeholders of it
// from then on.
func findingsOf(repl *caddy.Replacer) *findings {
	v, _ := repl.Get(findingsPlaceholder)
	if f, ok := v.(*findings); ok {
		return f
	}
	f := new(findings)
	repl.Map(f.placeholder)
	return f
}

// writer returns a response to which files are written well.
func (f *findings) writer(w http.ResponseWriter) http.ResponseWriter {
	if f.body.ResponseWriter != nil {
		return w // it is below w already, or was in use for another part of this request
	}
	f.body.ResponseWriter = w
	return &f.body
}

// setUser says whom the session belongs to. Who says so last is right: what a
// handler before this one has set, the replacer would prefer to the findings.
func (f *findings) setUser(repl *caddy.Replacer, user string) {
	f.user = ""
	if _, ok := repl.Get(userPlaceholder); ok {
		repl.Set(userPlaceholder, user)
	}
	f.user = user
}

func (f *findings) placeholder(name string) (any, bool) {
	if path, ok := strings.CutPrefix(name, sessionPrefix); ok {
		return f.session.placeholder(path)
	}
	if path, ok := strings.CutPrefix(name, metadataPrefix); ok {
		return f.file.placeholder(path)
	}
	switch {
	case name == userPlaceholder && f.user != "":
		return f.user, true
	case name == findingsPlaceholder:
		return f, true
	}
	return nil, false
}

func (f *found) placeholder(path string) (any, bool) {
	switch {
	case f.outcome == "":
		return nil, false
	case path == "outcome":
		return string(f.outcome), true
	case path == "id":
		return f.id, true
	case f.record == nil:
		// what there is not is empty, not left standing as {…} in the output
		return "", true
	}
	value, _ := f.record.Field(path)
	return value.Text(), true
}
