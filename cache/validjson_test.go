package cache

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var jsonTexts = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-1`, `12`, `1.5`, `1e5`, `1E-5`, `01`, `0.5`, `00`, `-0`, `-`, `1.`, `1e`,
	`{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a" : [1 , {"b":null} ] }`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`, `{a:1}`,
	`"\n"`, "\"\n\"", "\"\x00\"", "\"\x7f\"", `"\ud800"`, `"`, `"a`, `nul`, `nullx`, `true1`, `truefalse`, `{"a":nulll}`, `{"a":0x1}`, `{"a":1}}`, `{"a":1} {`,
	" \t\r\n{\"a\"\t:\r1\n} ", "\v{}", "{\u00a0}", "\ufeff{}", `{"a":tru}`, `[[[[]]]]`, `[}`, `{]`, `{"a":[}`, "\"\xff\"",
}

func TestValidJSONAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range append(jsonTexts,
		strings.Repeat("[", fastDepth)+strings.Repeat("]", fastDepth), strings.Repeat("[", fastDepth-1)+strings.Repeat("]", fastDepth-1),
		strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100), strings.Repeat("[", 100_000), strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000),
	) {
		require.Equal(t, json.Valid([]byte(text)), validJSON(text), "%.100s", text)
	}
}

// The texts of records pass without encoding/json.
func TestTextsOfRecordsAreCheckedFast(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"user_id":"u-1","roles":["reader","żółć"],"n":{"a":null,"b":[true,false,0,17]},"expires_at":4102444800}`: true,
		`{"size": 10, "name": ""}`: true,
		`{"name":"a\nb"}`:          false,
		`{"size":1.5}`:             false,
	} {
		require.Equal(t, want, fastValue(text, 0, fastDepth) == len(text), text)
	}
}

func FuzzValidJSON(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		require.Equal(t, json.Valid([]byte(text)), validJSON(text))
	})
}
