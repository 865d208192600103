// The decision about a session's record, made at each hit. It is not kept with the
// record, so that routes with different requirements share records.

package session

import (
	"strings"

	"github.com/filewallball/caddy-filewallball/cache"
)

// sessionRules are the requirements of a route for a session, with the places of
// their fields in values.
type sessionRules struct {
	require []Requirement
	copies  []HeaderCopy
	users   []string // fields with the user of the session; the first that is set counts

	paths             cache.Paths
	requireAt, copyAt []fieldPlace
	userAt            []int
}

// fieldPlace is where the value of a field is in values.
type fieldPlace struct {
	at int
	// headers is where the field "headers" is, if the field is one of it, and otherwise
	// -1: names of headers are compared without case.
	headers int
	name    string // of the header
}

func newFieldPlace(paths *cache.Paths, field string) fieldPlace {
	p := fieldPlace{at: paths.Add(field), headers: -1}
	if name, ok := strings.CutPrefix(field, responseHeaders+"."); ok {
		p.headers, p.name = paths.Add(responseHeaders), name
	}
	return p
}

func (p *fieldPlace) value(found values) (v cache.Value, ok bool) {
	v, ok = cache.ParseValue(found[p.at])
	if !ok && p.headers >= 0 {
		if headers, is := cache.ParseValue(found[p.headers]); is {
			return headers.FoldedField(p.name)
		}
	}
	return v, ok
}

// userFields are the usual names of the user's field.
var userFields = []string{"user_id", "sub", plainID}

// plainID is a field with the id of the user or of the session itself.
const plainID = "id"

// responseHeaders is the field with the response headers of the source.
const responseHeaders = "headers"

func newRules(require []Requirement, copies []HeaderCopy, users []string) *sessionRules {
	rules := &sessionRules{require: require, copies: copies, users: users}
	for i := range require {
		rules.requireAt = append(rules.requireAt, newFieldPlace(&rules.paths, require[i].Field))
	}
	for i := range copies {
		rules.copyAt = append(rules.copyAt, newFieldPlace(&rules.paths, copies[i].Field))
	}
	for _, name := range users {
		rules.userAt = append(rules.userAt, rules.paths.Add(name))
	}
	return rules
}

// values are the JSON texts of the fields that the rules need, by the index of their
// paths.
type values []string

// fewValues is how many values need no allocation.
const fewValues = 16

// read finds the values in a record, in few if there is room.
func (rules *sessionRules) read(record *cache.Record, few values) values {
	n := rules.paths.Len()
	if n > len(few) {
		few = make(values, n)
	}
	record.Read(&rules.paths, few[:n])
	return few[:n]
}

// unmet is the error of the first requirement that is not met, or nil.
func (rules *sessionRules) unmet(found values) error {
	for i := range rules.require {
		if q := &rules.require[i]; !q.met(rules.requireAt[i].value(found)) {
			return q.unmet
		}
	}
	return nil
}

// header is the value of a header of copy_headers, empty where the record has
// none.
func (rules *sessionRules) header(found values, i int) string {
	return headerValue(rules.copyAt[i].value(found))
}

// user returns the user of the session. byID reports that the field is plainID.
func (rules *sessionRules) user(found values) (user string, byID bool) {
	for i, name := range rules.users {
		if v, ok := cache.ParseValue(found[rules.userAt[i]]); ok && v.IsScalar() && v.Text() != "" {
			return v.Text(), name == plainID
		}
	}
	return "", false
}
