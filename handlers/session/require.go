// The fields that a session must have.

package session

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// Requirement is met by a record whose field has one of the values. A scalar is
// compared whole; an array has the value if one of its scalars is the value; a
// string has it if one of its words, split at spaces, is the value. true, false
// and numbers are compared with whole scalars and whole strings only, so that
// the text "not true" does not meet true. Case matters.
//
// Without values, a requirement is met by a field that exists and is not null,
// false, 0, "" or empty.
type Requirement struct {
	// The path of the field, such as user.roles. Required.
	Field string `json:"field,omitempty"`

	// The values, of which one is enough. Placeholders are replaced when the
	// configuration is loaded; an empty value or a placeholder of a request is
	// an error. Default: any value that is not null, false, 0 or empty.
	Values []string `json:"values,omitempty"`

	unmet error
}

func (q *Requirement) provision() error {
	if err := checkPath(q.Field); err != nil {
		return fmt.Errorf("require: %w", err)
	}
	repl := caddy.NewReplacer()
	for i, value := range q.Values {
		err := template.CheckDollar(value)
		if err == nil {
			value, err = repl.ReplaceOrErr(value, true, true)
		}
		if err != nil {
			return fmt.Errorf("require %s: %w", q.Field, err)
		}
		if value == "" {
			return fmt.Errorf("require %s: a value is empty, so no session would have it", q.Field)
		}
		if err := checkValue(value); err != nil {
			return fmt.Errorf("require %s: %w", q.Field, err)
		}
		q.Values[i] = value
	}
	if err := checkOperators(q.Values); err != nil {
		return fmt.Errorf("require %s: %w", q.Field, err)
	}
	q.unmet = fmt.Errorf("session does not have the required %s", q.Field)
	return nil
}

// met reports whether the value of the field meets the requirement. ok is false
// where there is no field.
func (q *Requirement) met(v cache.Value, ok bool) bool {
	if !ok {
		return false
	}
	if len(q.Values) == 0 {
		return v.Truthy()
	}
	if v.IsScalar() && slices.Contains(q.Values, v.Text()) {
		return true
	}
	met := false
	v.EachString(func(word string) bool {
		met = slices.Contains(q.Values, word) && (!v.IsString() || !isLiteral(word))
		return !met
	})
	return met
}

// isLiteral reports whether a word is a JSON literal: true, false, null or a
// number.
func isLiteral(word string) bool {
	if word == "true" || word == "false" || word == "null" {
		return true
	}
	_, err := strconv.ParseFloat(word, 64)
	return err == nil
}

// checkValue refuses a value that looks like a comparison: "require role != guest" would
// otherwise list two values and admit guests.
func checkValue(value string) error {
	switch {
	case strings.ContainsRune("=!<>", rune(value[0])):
		return fmt.Errorf("'%s' is not a value, and comparisons are not possible: list the allowed values, like: require role admin editor", value)
	case len(value) > 1 && strings.HasSuffix(value, ","):
		return fmt.Errorf("'%s' ends in a comma, which would be a part of the value: separate values by spaces", value)
	}
	return nil
}

// checkPath refuses a path that no field of a record can have.
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

// checkReserved refuses the path of a field that is reserved for the cache.
func checkReserved(path string) error {
	if strings.HasPrefix(path, "_") {
		return fmt.Errorf("'%s' is reserved: fields whose names begin with _ cannot be used", path)
	}
	return nil
}
