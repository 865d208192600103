package cache

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRead compares the fields that a rule reads with those of encoding/json.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`{"a":1}`, `{"role":"user","role":"admin"}`, `{"r\u006fle":"admin"}`, `{"a":{"b":["x",{"c":"}"}]}}`, "{ \"a\"\t:\n[ ] , \"b\" : \"\\\"\" }",
		`{"a":"` + strings.Repeat("long", 10) + `\\","b":"\"a\":2"}`, `{"_a":1,"":2,"a.b":3}`, `{"a":[[],[1,2]],"b":-0.1e+5}`, `{"a":null,"b":true}`,
	} {
		for _, path := range []string{"a", "role", "a.b", "a.b.1.c", "b", "", "_a", `a\.b`, "a.1.0"} {
			f.Add(text, path)
		}
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		r, err := Decode(text, DefaultMaxValueSize)
		if err != nil || strings.HasPrefix(path, "filler") || strings.TrimLeft(text, blanks)[0] == 'n' {
			return
		}
		p := new(Paths)
		p.Add("a")
		at := p.Add(path)
		want := oracleField(text, path)
		filled := withField(text, "filler", `"`+strings.Repeat("x", 2*minIndexed)+`"`)
		for _, r := range []*Record{r, decoded(t, filled)} {
			for range 2 {
				raw := make([]string, p.Len())
				r.Read(p, raw)
				require.Equal(t, want, compacted(raw[at]), "%q of %s", path, text)
			}
			v, _ := r.Field(path)
			require.Equal(t, want, compacted(v.JSON()), "%q of %s", path, text)
		}
	})
}

// oracleField finds a field by encoding/json alone.
func oracleField(text, path string) string {
	if strings.HasPrefix(path, ReservedPrefix) {
		return ""
	}
	value := []byte(text)
	for name, more := "", true; more; {
		name, path, more = cutPath(path)
		var object map[string]json.RawMessage
		var array []json.RawMessage
		switch {
		case json.Unmarshal(value, &object) == nil && object != nil:
			if value = object[name]; value == nil {
				return ""
			}
		case json.Unmarshal(value, &array) == nil && array != nil:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(array) {
				return ""
			}
			value = array[i]
		default:
			return ""
		}
	}
	return compacted(string(value))
}

func compacted(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return ""
	}
	return b.String()
}
