package session

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// FuzzRequire holds requirements against a reading of the record by encoding/json.
func FuzzRequire(f *testing.F) {
	for _, seed := range []struct{ record, field, value string }{
		{`{"a":true}`, "a", "true"}, {`{"a":"not true"}`, "a", "true"}, {`{"a":"true"}`, "a", "true"}, {`{"a":["x","true"]}`, "a", "true"},
		{`{"a":"admin user"}`, "a", "admin"}, {"{\"a\":\"x\u00a0admin\"}", "a", "admin"}, {`{"a":"superadmin"}`, "a", "admin"}, {`{"a":[["admin"]]}`, "a", "admin"},
		{`{"a":{"admin":true}}`, "a", "admin"}, {`{"a":1e2}`, "a", "100"}, {`{"a":1.0}`, "a", "1"}, {`{"a":"1 2"}`, "a", "1"}, {`{"a":[1,2]}`, "a", "1"},
		{`{"a":null}`, "a", "null"}, {`{"a":0}`, "a", ""}, {`{"a":-0.0}`, "a", ""}, {`{"a":1e-999}`, "a", ""}, {`{"a":1e999}`, "a", ""}, {`{"a":[]}`, "a", ""},
		{`{"a":{}}`, "a", ""}, {`{"a":[null]}`, "a", ""}, {`{"a":""}`, "a", ""}, {`{"a":" "}`, "a", ""}, {`{"a":false}`, "a", ""}, {`{"A":true}`, "a", ""},
		{`{"a":true,"a":false}`, "a", ""}, {`{"\u0061":true}`, "a", "true"}, {`{"_a":true}`, "_a", "true"}, {`{"a":"x\tadmin\n"}`, "a", "admin"}, {`{"a":"ADMIN"}`, "a", "admin"},
	} {
		f.Add(seed.record, seed.field, seed.value)
	}
	f.Fuzz(func(t *testing.T, text, field, value string) {
		record, err := cache.Decode(text, 1<<16)
		if err != nil || record.State() != cache.Found || strings.ContainsAny(field, `.\{}`) || strings.ContainsAny(value, `\{}`) {
			return
		}
		q := Requirement{Field: field}
		if value != "" {
			q.Values = []string{value}
		}
		if q.provision() != nil {
			return
		}
		var fields map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		raw, there := fields[field]
		there = there && !strings.HasPrefix(field, "_")
		want := there && satisfies(raw, value)
		require.Equal(t, want, q.met(record.Field(q.Field)), "%s has %s %s", text, field, value)
	})
}

// satisfies reports whether a JSON value meets a requirement; without a value it is
// to be neither null, false, 0, "" nor empty.
func satisfies(raw json.RawMessage, value string) bool {
	var word string
	var list []json.RawMessage
	var object map[string]json.RawMessage
	isText := json.Unmarshal(raw, &word) == nil && string(raw) != "null"
	isList := json.Unmarshal(raw, &list) == nil && string(raw) != "null"
	isObject := json.Unmarshal(raw, &object) == nil && string(raw) != "null"
	switch {
	case string(raw) == "null":
		return false
	case value == "" && isText:
		return word != ""
	case value == "" && isList:
		return len(list) > 0
	case value == "" && isObject:
		return len(object) > 0
	case value == "" && (string(raw) == "true" || string(raw) == "false"):
		return string(raw) == "true"
	case value == "":
		var n float64
		if err := json.Unmarshal(raw, &n); err != nil {
			return false // a number beyond all floats
		}
		return n != 0
	case isObject:
		return false
	case isList:
		return slices.ContainsFunc(list, func(item json.RawMessage) bool {
			var text string
			if json.Unmarshal(item, &text) == nil && string(item) != "null" {
				return text == value
			}
			return string(item) == value && value != "null" && item[0] != '[' && item[0] != '{'
		})
	case !isText:
		return string(raw) == value
	case word == value:
		return true
	}
	if _, isNumber := json.Number(value).Float64(); isNumber == nil || value == "true" || value == "false" || value == "null" {
		return false
	}
	return slices.Contains(strings.FieldsFunc(word, func(c rune) bool { return c <= ' ' && strings.ContainsRune(" \t\n\v\f\r", c) }), value)
}
