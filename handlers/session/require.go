// What a session must have.

package session

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// Requirement is met by a record whose field has any of the values: a scalar
// that is the value, an array with such a scalar, or a string with the value
// among its words, which are split at spaces. The values true, false and
// numbers are met by that scalar or by the whole string alone, so that the text
// "not true" is not true. Upper and lower case differ.
//
// Without values, it is met by a field that is there and neither null, false, 0,
// "" nor empty.
type Requirement struct {
	// The path of the field, such as user.roles.
	Field string `json:"field,omitempty"`

	// The values, of which one is enough. Placeholders are replaced at load
	// time; an empty one, or one of a request, is an error. Default: any value
	// that is not null, false, 0 or empty.
	Values []string `json:"values,omitempty"`

	unmet error
}

func (q *Requirement) provision() error {
	if err := checkPath(q.Field); err != nil {
		return fmt.Errorf("require: %w", err)
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
		if err := checkValue(value); err != nil {
			return fmt.Errorf("require %s: %w", q.Field, err)
		}
		if value == "not" && len(q.Values) > 1 {
			return fmt.Errorf("require %s: 'not' would be one more value that a session may have: want those that it may have alone", q.Field)
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
	if len(q.Values) == 0 {
		return v.Truthy()
	}
	if v.IsScalar() && slices.Contains(q.Values, v.Text()) {
		return true
	}
	return slices.ContainsFunc(v.Strings(), func(word string) bool {
		return slices.Contains(q.Values, word) && (!v.IsString() || !isLiteral(word))
	})
}

// isLiteral reports whether a word of a text would be taken for a JSON value.
func isLiteral(word string) bool {
	if word == "true" || word == "false" || word == "null" {
		return true
	}
	_, err := strconv.ParseFloat(word, 64)
	return err == nil
}

// checkValue refuses what is meant as a comparison: it would be taken for one
// more value, so that "require role != guest" would admit guests.
func checkValue(value string) error {
	switch {
	case strings.ContainsRune("=!<>", rune(value[0])):
		return fmt.Errorf("'%s' compares nothing here: want the values that a session may have, like: require role admin editor", value)
	case len(value) > 1 && strings.HasSuffix(value, ","):
		return fmt.Errorf("'%s' ends in a comma, which would be a part of the value: separate values by spaces", value)
	}
	return nil
}

// checkPath refuses the path of a field that no record can have.
func checkPath(path string) error {
	if rest, ok := strings.CutPrefix(strings.Trim(path, "{}"), lookup.SessionPrefix); ok {
		return fmt.Errorf("'%s' is a placeholder and not the path of a field: write %s", path, rest)
	}
	if path == "" || slices.Contains(strings.Split(path, "."), "") || strings.ContainsAny(path, "{}=<>") ||
		path[0] == '!' || strings.HasSuffix(path, ":") {
		return fmt.Errorf("'%s' is not the path of a field: want one like user_id or user.name", path)
	}
	if name, index, ok := strings.Cut(path, "["); ok && strings.HasSuffix(index, "]") {
		return fmt.Errorf("'%s' is not the path of a field: write %s.%s", path, name, strings.TrimSuffix(index, "]"))
	}
	return nil
}

// checkReserved refuses the path of a field that is kept for the cache itself.
func checkReserved(path string) error {
	if strings.HasPrefix(path, "_") {
		return fmt.Errorf("'%s' is reserved: names that begin with _ are of no use here", path)
	}
	return nil
}
