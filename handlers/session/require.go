// What a session must have.

package session

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Requirement is met by a record whose field has any of the values. The field
// may be an array, a scalar, or a string of words; a value with spaces is met
// by the string as a whole. Upper and lower case differ.
type Requirement struct {
	// The path of the field, such as user.roles.
	Field string `json:"field,omitempty"`

	// The values, of which one is enough. Placeholders are replaced at load
	// time, when one that is empty or belongs to a request is an error.
	Values []string `json:"values,omitempty"`

	unmet error
}

func (q *Requirement) provision() error {
	if err := checkPath(q.Field); err != nil {
		return fmt.Errorf("require: %w", err)
	}
	if len(q.Values) == 0 {
		return fmt.Errorf("require %s: there is no value, so no session would pass", q.Field)
	}
	repl := caddy.NewReplacer()
	for i, value := range q.Values {
		value, err := repl.ReplaceOrErr(value, true, true)
		if err != nil {
			return fmt.Errorf("require %s: %w", q.Field, err)
		}
		if value == "" {
			return fmt.Errorf("require %s: a value is empty, so no session would have it", q.Field)
		}
		q.Values[i] = value
	}
	q.unmet = fmt.Errorf("session does not have the required %s", q.Field)
	return nil
}

func (q *Requirement) met(record *cache.Record) bool {
	v, ok := record.Field(q.Field)
	if !ok {
		return false
	}
	if v.IsScalar() && slices.Contains(q.Values, v.Text()) {
		return true
	}
	return slices.ContainsFunc(v.Strings(), func(word string) bool {
		return slices.Contains(q.Values, word)
	})
}

// checkPath refuses the path of a field that no record can have.
func checkPath(path string) error {
	if path == "" || slices.Contains(strings.Split(path, "."), "") {
		return fmt.Errorf("'%s' is not the path of a field: want one like user_id or user.name", path)
	}
	return nil
}
