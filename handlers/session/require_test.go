package session

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

func TestRequirements(t *testing.T) {
	t.Parallel()
	record, err := cache.Decode(`{
		"role": "admin", "scope": "read  write\tlist", "plan": "gold plus", "level": 5, "price": 5.0, "active": true,
		"groups": ["staff", "new york", 7, true, null, ["nested"]], "none": [], "empty": "", "null": null,
		"user": {"roles": ["editor"], "name": "Ada"}, "big": 12345678901234567890,
		"words": "not true 5", "nbsp": "reader\u00a0admin", "no": false, "zero": 0, "nothing": {}
	}`, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		field  string
		values []string
		met    bool
	}{
		"the value":                   {"role", []string{"admin"}, true},
		"one of the values":           {"role", []string{"editor", "admin"}, true},
		"another value":               {"role", []string{"editor"}, false},
		"another case":                {"role", []string{"Admin"}, false},
		"a part of the value":         {"role", []string{"adm"}, false},
		"a word":                      {"scope", []string{"write"}, true},
		"a word after a tab":          {"scope", []string{"list"}, true},
		"no word":                     {"scope", []string{"delete"}, false},
		"two words apart":             {"scope", []string{"read write"}, false},
		"the whole string":            {"plan", []string{"gold plus"}, true},
		"a number":                    {"level", []string{"5"}, true},
		"a large number":              {"big", []string{"12345678901234567890"}, true},
		"another large number":        {"big", []string{"12345678901234567000"}, false},
		"a fraction":                  {"price", []string{"5.0"}, true},
		"a boolean":                   {"active", []string{"true"}, true},
		"an item":                     {"groups", []string{"staff"}, true},
		"an item with a space":        {"groups", []string{"new york"}, true},
		"a word of an item":           {"groups", []string{"york"}, false},
		"a number among items":        {"groups", []string{"7"}, true},
		"null among items":            {"groups", []string{"null"}, false},
		"what is deeper":              {"groups", []string{"nested"}, false},
		"an item by index":            {"groups.0", []string{"staff"}, true},
		"a path":                      {"user.roles", []string{"editor"}, true},
		"an object":                   {"user", []string{"Ada"}, false},
		"an object as text":           {"user", []string{`\{"roles": ["editor"], "name": "Ada"\}`}, false},
		"nothing in an array":         {"none", []string{"[]"}, false},
		"null":                        {"null", []string{"null"}, false},
		"a field that is not there":   {"missing", []string{"admin"}, false},
		"a path that is not there":    {"role.x", []string{"admin"}, false},
		"true as a word":              {"words", []string{"true"}, false},
		"a number as a word":          {"words", []string{"5"}, false},
		"a word beside these":         {"words", []string{"not"}, true},
		"a space outside ASCII":       {"nbsp", []string{"admin"}, false},
		"any value":                   {"role", nil, true},
		"any value, of true":          {"active", nil, true},
		"any value, of false":         {"no", nil, false},
		"any value, of 0":             {"zero", nil, false},
		"any value, of an empty text": {"empty", nil, false},
		"any value, of an empty list": {"none", nil, false},
		"any value, of {}":            {"nothing", nil, false},
		"any value, of null":          {"null", nil, false},
		"any value, of nothing":       {"missing", nil, false},
		"what gjson would call query": {"groups.#", []string{"6"}, false},
		"what gjson would call glob":  {"rol*", []string{"admin"}, false},
		"what gjson would call pipe":  {"user|name", []string{"Ada"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := Requirement{Field: c.field, Values: c.values}
			require.NoError(t, q.provision())
			require.Equal(t, c.met, q.met(record.Field(q.Field)))
		})
	}
}

func TestRequiredValuesAreReplacedAtLoadTime(t *testing.T) {
	t.Setenv("TEST_ROLE", "admin")
	q := Requirement{Field: "role", Values: []string{"{env.TEST_ROLE}", `\{x\}`}}
	require.NoError(t, q.provision())
	require.Equal(t, []string{"admin", "{x}"}, q.Values)
}

func TestEveryRequirementMustHold(t *testing.T) {
	t.Parallel()
	app, h := session(t, cookieID+`, "require": [{"field": "role", "values": ["admin", "editor"]}, {"field": "active", "values": ["true"]}]`)
	for record, status := range map[string]int{
		`{"role": "admin", "active": true}`:                   200,
		`{"role": ["editor"], "active": true}`:                200,
		`{"role": "admin", "active": false}`:                  403,
		`{"role": "reader", "active": true}`:                  403,
		`{"role": "admin"}`:                                   403,
		`{}`:                                                  403,
		`{"role": "admin", "role": "reader", "active": true}`: 403, // the last one counts
	} {
		app.Put(t, "session:user:abc", record)
		got := lookuptest.Serve(h, lookuptest.Get("/", "Cookie", "session=abc"))
		require.Equal(t, status, got.Status, record)
		require.Equal(t, status == 200, got.Next, record)
	}
}
