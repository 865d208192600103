// The decision about a session's record, made once per record.

package session

import (
	"github.com/filewallball/caddy-filewallball/cache"
)

// sessionRules are the requirements of a route for a session.
type sessionRules struct {
	require []Requirement
	copies  []HeaderCopy
	users   []string // fields with the user of the session, the first one set wins
}

// userFields are the usual names of the user's field.
var userFields = []string{"user_id", "sub", plainID}

// plainID may be the user's id or the session's own.
const plainID = "id"

// sessionVerdict is the result of the rules for a record. It is kept with the
// record, so that a hit need not read a large session again.
type sessionVerdict struct {
	rules *sessionRules // the rules that gave this verdict
	unmet error         // why the session is denied, or nil
	// headers has the values of copy_headers, empty where the record has none.
	headers []string
	// user is the user of the session. byID reports that it is its plain "id".
	user string
	byID bool
}

// judge applies the rules to a record.
func (rules *sessionRules) judge(record *cache.Record) *sessionVerdict {
	if v, ok := record.Memo().(*sessionVerdict); ok && v.rules == rules {
		return v
	}
	v := &sessionVerdict{rules: rules}
	for i := range rules.require {
		if q := &rules.require[i]; !q.met(record) {
			v.unmet = q.unmet
			break
		}
	}
	for _, c := range rules.copies {
		v.headers = append(v.headers, headerValue(record, c.Field))
	}
	for _, name := range rules.users {
		if user, ok := record.Field(name); ok && user.IsScalar() && user.Text() != "" {
			v.user, v.byID = user.Text(), name == plainID
			break
		}
	}
	record.SetMemo(v)
	return v
}
