package cache

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const testSourceID = "0123456789abcdef"

func decoded(t testing.TB, text string) *Record {
	t.Helper()
	r, err := Decode(text, DefaultMaxValueSize)
	require.NoError(t, err, text)
	return r
}

func TestTheFingerprintOfARecordIsReadStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]origin{
		`null`:                            originApplication,
		`{}`:                              originApplication,
		`{"a":"_source"}`:                 originApplication,
		`{"a":{"_source":"x"}}`:           originApplication,
		`{"_Source":"0123456789abcdef"}`:  originApplication,
		`{"_sources":"0123456789abcdef"}`: originApplication,
		`{"_source":"0123456789abcdef"}`:  originSource,
		` { "a" : [1] , "_source" : "0123456789abcdef" } `:                          originSource,
		`{"_source":"0123456789abcdef","a":{"_source":"x"}}`:                        originSource,
		`{"\u005fsource":"0123456789abcdef"}`:                                       originSource,
		`{"_source":"0123456789abcdef","_source":"0123456789abcdef"}`:               originSource,
		`{"_source":"0123456789abcdef","_source":"0123456789abcdee"}`:               originUnknown,
		`{"_source":"0123456789abcdee","_source":"0123456789abcdef"}`:               originUnknown,
		`{"_source":"0123456789abcdef","\u005Fsource":null}`:                        originUnknown,
		`{"_source":"x","_source":"0123456789abcdef","_source":"0123456789abcdef"}`: originUnknown,
		`{"_source":null}`:                        originUnknown,
		`{"_source":false}`:                       originUnknown,
		`{"_source":1234567890123456}`:            originUnknown,
		`{"_source":123456789012345678}`:          originUnknown,
		`{"_source":""}`:                          originUnknown,
		`{"_source":"0123456789abcde"}`:           originUnknown,
		`{"_source":"0123456789abcdef0"}`:         originUnknown,
		`{"_source":"0123456789ABCDEF"}`:          originUnknown,
		`{"_source":"+123456789abcdef"}`:          originUnknown,
		`{"_source":"0123456789abcdeg"}`:          originUnknown,
		`{"_source":"\u0030123456789abcdef"}`:     originUnknown,
		`{"_source":["0123456789abcdef"]}`:        originUnknown,
		`{"_source":{"0123456789abcdef":"1234"}}`: originUnknown,
	} {
		r := decoded(t, text)
		require.Equal(t, want, r.origin, text)
		if want == originSource {
			require.EqualValues(t, uint64(0x0123456789abcdef), r.sourceID, text)
		}
	}
}

func TestAnswersOfSourcesAreStamped(t *testing.T) {
	t.Parallel()
	const stamp = `"_source":"` + testSourceID + `"`
	for text, want := range map[string]struct{ stamped, bare string }{
		`null`:                             {`{"absent":true,` + stamp + `}`, `null`},
		" null ":                           {`{"absent":true,` + stamp + `}`, " null "},
		`{}`:                               {`{` + stamp + `}`, `{}`},
		" {\n} ":                           {" {\n" + stamp + "} ", " {\n} "},
		`{"denied":403}`:                   {`{"denied":403,` + stamp + `}`, `{"denied":403}`},
		`{"absent":true}`:                  {`{"absent":true,` + stamp + `}`, `{"absent":true}`},
		`{"b":1.50,"a":1e400}`:             {`{"b":1.50,"a":1e400,` + stamp + `}`, `{"b":1.50,"a":1e400}`},
		`{"a":"{","b":{"_c":[{},"}"]} }`:   {`{"a":"{","b":{"_c":[{},"}"]} ,` + stamp + `}`, `{"a":"{","b":{"_c":[{},"}"]} }`},
		`{"_source":"fedcba9876543210"}`:   {`{` + stamp + `}`, `{}`},
		`{"_x":[1,{"a":"]}"}] , "a" : 2 }`: {`{"a" : 2,` + stamp + `}`, `{"a" : 2}`},
		`{"a":1,"_":0,"\u005Ftags":{"t":"1"},"b":"_","c":"\"_x"}`: {
			`{"a":1,"b":"_","c":"\"_x",` + stamp + `}`, `{"a":1,"b":"_","c":"\"_x"}`},
		`{"a":"\\","_b":"\\\"","c":3}`: {`{"a":"\\","c":3,` + stamp + `}`, `{"a":"\\","c":3}`},
	} {
		r := decoded(t, text)
		require.Equal(t, want.stamped, r.fromSource(testSourceID).Text(), text)
		require.Equal(t, want.bare, r.fromSource("").Text(), text)
	}
	r := decoded(t, `{"a":1}`)
	r.SetMemo("derived", 1)
	stamped := r.fromSource(testSourceID)
	require.Equal(t, "derived", stamped.Memo(), "what readers have derived holds for the stamped record too")
	require.Same(t, stamped, stamped.fromSource(testSourceID))
	require.Same(t, r, r.fromSource(""))
}

// FuzzFromSource holds the splicing of reserved fields against encoding/json.
func FuzzFromSource(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"denied":403}`, `{"_source":"x"}`, ` { "a" : 1 , "\u005fb":[{"_c":"}"}], "d":"\\\"" } `,
		`{"_a":1,"_b":2}`, `{"a":1,"a":2,"_a":3}`, `{"absent":true}`, `{"_source":"0123456789abcdef","expires_at":1}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Decode(text, 1<<16)
		if err != nil {
			return
		}
		var fields, got map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(text), &fields))
		origins := 0
		eachField(text, func(f objectField) {
			if f.name() == sourceField {
				origins++
			}
		})
		require.Equal(t, origins == 0, r.origin == originApplication)

		stamped := r.fromSource(testSourceID)
		require.Equal(t, decoded(t, stamped.Text()), stamped, "what is stored is read again as it was kept here")
		require.Equal(t, originSource, stamped.origin)
		require.Equal(t, r.State(), stamped.State())
		require.NoError(t, json.Unmarshal([]byte(stamped.Text()), &got))
		require.Equal(t, `"`+testSourceID+`"`, string(got[sourceField]))
		delete(got, sourceField)
		for name := range fields {
			if strings.HasPrefix(name, ReservedPrefix) {
				delete(fields, name)
			}
		}
		if fields == nil {
			fields = map[string]json.RawMessage{"absent": json.RawMessage("true")}
		}
		require.Equal(t, fields, got)
		require.Equal(t, originApplication, stamped.fromSource("").origin)
	})
}
