// What a route makes of a session's record, worked out once per record.

package session

import (
	"github.com/filewallball/caddy-filewallball/cache"
)

// sessionRules are what a route wants to know of a record.
type sessionRules struct {
	require []Requirement
	copies  []HeaderCopy
	users   []string // fields that say whose session it is, in this order
}

// userFields are those of records of no application in particular.
var userFields = []string{"user_id", "sub", plainID}

// plainID may be the user's, or that of the session itself.
const plainID = "id"

// sessionVerdict is what the rules say of a record. It is kept with the record, so
// that a hit, which may be on a large session, need not read it again.
type sessionVerdict struct {
	rules *sessionRules // whose verdict it is
	unmet error         // why the session may not pass, or nil
	// headers has the values of the copies, empty where there is none.
	headers []string
	// user is whom the session belongs to, byID where that is its plain "id".
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
