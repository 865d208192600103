package cache_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func decode(t testing.TB, text string) *cache.Record {
	t.Helper()
	r, err := cache.Decode(text, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	return r
}

func TestDecodeTakesObjectsAndNull(t *testing.T) {
	t.Parallel()
	for text, state := range map[string]cache.State{
		`{}`:                     cache.Found,
		` {"a": 1} `:             cache.Found,
		"\t\r\n{\"a\":[{}]}\n":   cache.Found,
		`{"a":"é","b":"\u00e9"}`: cache.Found,
		`null`:                   cache.Absent,
		" null\n":                cache.Absent,
		`{"denied":403}`:         cache.Denied,
		`{"absent":true}`:        cache.Absent,
	} {
		r, err := cache.Decode(text, 100)
		require.NoError(t, err, text)
		require.Equal(t, state, r.State(), text)
		require.Equal(t, text, r.Text())
		require.Equal(t, len(text), r.Size())
	}
}

func TestDecodeRefusesWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":             ``,
		"blanks":              "  \n",
		"an array":            `[{"a":1}]`,
		"a string":            `"secret"`,
		"a number":            `42`,
		"a boolean":           `true`,
		"text":                `secret`,
		"almost null":         `nul`,
		"null and more":       `null null`,
		"an object and more":  `{"a":"secret"}{}`,
		"an open object":      `{"a":"secret"`,
		"a trailing comma":    `{"a":"secret",}`,
		"single quotes":       `{'a':'secret'}`,
		"a bare name":         `{a:"secret"}`,
		"NaN":                 `{"secret":NaN}`,
		"invalid UTF-8":       "{\"secret\":\"\xff\"}",
		"invalid UTF-8 name":  "{\"secret\xc3\":1}",
		"a byte order mark":   "\ufeff{}",
		"a control character": "{\"a\":\"secret\x00\"}",
		"too large":           `{"a":"` + strings.Repeat("secret", 20) + `"}`,
		"hostile nesting":     strings.Repeat(`{"a":`, 20_000) + strings.Repeat(`}`, 20_000),
		"hostile arrays":      `{"a":` + strings.Repeat(`[`, 20_000),
	} {
		limit := 100
		if strings.HasPrefix(name, "hostile") {
			limit = cache.DefaultMaxValueSize
		}
		_, err := cache.Decode(text, limit)
		require.ErrorIs(t, err, cache.ErrInvalidRecord, name)
		require.NotContains(t, err.Error(), "secret", name)
		require.Less(t, len(err.Error()), 200, name)
	}
}

func TestDecodeBoundsTheText(t *testing.T) {
	t.Parallel()
	text := `{"a":12345}`
	_, err := cache.Decode(text, len(text))
	require.NoError(t, err)
	_, err = cache.Decode(text, len(text)-1)
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
}

func TestDeniedFailsClosed(t *testing.T) {
	t.Parallel()
	for text, status := range map[string]int{
		`{"denied":403}`:               403,
		`{"denied":451,"name":"x"}`:    451,
		`{"denied":400}`:               400,
		`{"denied":599}`:               599,
		`{"denied":200}`:               403,
		`{"denied":600}`:               403,
		`{"denied":0}`:                 403,
		`{"denied":-403}`:              403,
		`{"denied":404.5}`:             403,
		`{"denied":1e999}`:             403,
		`{"denied":true}`:              403,
		`{"denied":"451"}`:             403,
		`{"denied":"false"}`:           403,
		`{"denied":"null"}`:            403,
		`{"denied":""}`:                403,
		`{"denied":[]}`:                403,
		`{"denied":{}}`:                403,
		`{"denied":false,"denied":1}`:  403,
		`{"d\u0065nied":410}`:          410,
		`{"denied":false}`:             0,
		`{"denied":null}`:              0,
		`{"denied":403,"denied":null}`: 403,
		`{"Denied":403}`:               403,
		`{"a":{"denied":403}}`:         0,
	} {
		r := decode(t, text)
		require.Equal(t, status, r.DeniedStatus(), text)
		require.Equal(t, status != 0, r.State() == cache.Denied, text)
	}
	require.Equal(t, cache.DeniedRecord(404).Text(), decode(t, `{"denied":404}`).Text())
	require.Equal(t, cache.AbsentRecord().State(), cache.Absent)
}

func TestAbsentFailsClosed(t *testing.T) {
	t.Parallel()
	for text, state := range map[string]cache.State{
		`{"absent": true}`:                  cache.Absent,
		`{"absent":true,"_source":"x"}`:     cache.Absent,
		`{"absent":1}`:                      cache.Absent,
		`{"absent":0}`:                      cache.Absent,
		`{"absent":"false"}`:                cache.Absent,
		`{"absent":""}`:                     cache.Absent,
		`{"absent":[]}`:                     cache.Absent,
		`{"absent":{}}`:                     cache.Absent,
		`{"\u0061bsent":true}`:              cache.Absent,
		`{"absent":false,"absent":true}`:    cache.Absent,
		`{"absent":false}`:                  cache.Found,
		`{"absent":null}`:                   cache.Found,
		`{"absent":true,"absent":false}`:    cache.Absent,
		`{"Absent":true}`:                   cache.Absent, // in any case
		`{"days":{"absent":true}}`:          cache.Found,
		`{"absent":true,"denied":403}`:      cache.Denied,
		`{"denied":false,"absent":true}`:    cache.Absent,
		`{"absent":false,"denied":true}`:    cache.Denied,
		`{"denied":"absent","reason":null}`: cache.Denied,
	} {
		require.Equal(t, state, decode(t, text).State(), text)
	}
}

func TestReservedFieldsCannotBeRead(t *testing.T) {
	t.Parallel()
	r := decode(t, `{"_source":"0123456789abcdef","_tags":{"a":"1"},"_":1,"a":{"_b":2},"x_":3}`)
	for _, path := range []string{"_source", "_tags", "_tags.a", "_", "_none"} {
		_, ok := r.Field(path)
		require.False(t, ok, path)
	}
	for path, want := range map[string]string{"a._b": "2", "x_": "3"} {
		v, ok := r.Field(path)
		require.True(t, ok, path)
		require.Equal(t, want, v.Text())
	}
}

func TestFieldDescendsByDots(t *testing.T) {
	t.Parallel()
	r := decode(t, `{"a":1,"user":{"id":"u1","roles":["x",{"name":"y"}],"user":{"id":"u2"}},
		"a.b":"dotted","twice":1,"twice":{"in":1,"in":2},"":"empty","\u00e9":"accent","n":null,"*":"star","#":"hash","@this":"at"}`)
	for path, want := range map[string]string{
		"a":                 `1`,
		"user.id":           `"u1"`,
		"user.roles.0":      `"x"`,
		"user.roles.1.name": `"y"`,
		"user.user.id":      `"u2"`,
		"twice.in":          `2`,
		"é":                 `"accent"`,
		"n":                 `null`,
		"*":                 `"star"`,
		"#":                 `"hash"`,
		"@this":             `"at"`,
		`a\.b`:              `"dotted"`,
	} {
		v, ok := r.Field(path)
		require.True(t, ok, path)
		require.Equal(t, want, v.JSON(), path)
	}
	for _, path := range []string{
		"b", "A", "a.b", "a.0", "user.", ".user", "user..id", "user.roles.2", "user.roles.-1", "user.roles.x",
		"user.roles.00x", "user.*", "user.roles.#", "user.@keys", "us*", "user|id", "twice.0", "n.x",
		`a\.b.x`, `\.`, `a\`, `user\.id`,
	} {
		_, ok := r.Field(path)
		require.False(t, ok, path)
	}
}

func TestValuesAreFormattedForReading(t *testing.T) {
	t.Parallel()
	r := decode(t, `{"s":"a b","n":1.50,"i":-7,"big":123456789012345678901,"t":true,"z":null,"l":["x",1,null,{"a":1},false,["y"]],"o":{"k":"v"}}`)
	for _, test := range []struct {
		path, text string
		words      []string
		scalar     bool
	}{
		{"s", "a b", []string{"a", "b"}, true},
		{"n", "1.50", []string{"1.50"}, true},
		{"i", "-7", []string{"-7"}, true},
		{"big", "123456789012345678901", []string{"123456789012345678901"}, true},
		{"t", "true", []string{"true"}, true},
		{"z", "", nil, false},
		{"l", `["x",1,null,{"a":1},false,["y"]]`, []string{"x", "1", "false"}, false},
		{"o", `{"k":"v"}`, nil, false},
	} {
		v, ok := r.Field(test.path)
		require.True(t, ok)
		require.Equal(t, test.text, v.Text(), test.path)
		require.Equal(t, test.words, v.Strings(), test.path)
		require.Equal(t, test.scalar, v.IsScalar(), test.path)
	}
	for path, want := range map[string]int64{"i": -7} {
		v, _ := r.Field(path)
		n, ok := v.Int()
		require.True(t, ok)
		require.Equal(t, want, n)
	}
	for _, path := range []string{"s", "n", "big", "t", "z", "l"} {
		v, _ := r.Field(path)
		_, ok := v.Int()
		require.False(t, ok, path)
	}
}

func TestEncodeMakesRecords(t *testing.T) {
	t.Parallel()
	r, err := cache.Encode(map[string]any{"name": "x", "denied": 451}, 100)
	require.NoError(t, err)
	require.Equal(t, 451, r.DeniedStatus())
	r, err = cache.Encode(nil, 100)
	require.NoError(t, err)
	require.Equal(t, cache.Absent, r.State())
	_, err = cache.Encode([]int{1}, 100)
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
	_, err = cache.Encode(func() {}, 100)
	require.Error(t, err)
	_, err = cache.Encode(map[string]string{"a": strings.Repeat("x", 100)}, 100)
	require.ErrorIs(t, err, cache.ErrInvalidRecord)
}

func TestMemoIsKeptWithTheRecord(t *testing.T) {
	t.Parallel()
	r := decode(t, `{"a":1}`)
	require.Nil(t, r.Memo())
	r.SetMemo("derived", 1)
	require.Equal(t, "derived", r.Memo())
	require.Nil(t, decode(t, `{"a":1}`).Memo())
}

// refusals reports whether a JSON object has fields that refuse, in any case and
// however often.
func refusals(t *testing.T, text string) (denied, absent bool) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return false, false
	}
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
		on := string(value) != "false" && string(value) != "null"
		denied = denied || on && strings.EqualFold(name.(string), "denied")
		absent = absent || on && strings.EqualFold(name.(string), "absent")
	}
	return denied, absent
}

// FuzzDecode holds Decode against encoding/json: the same texts are records,
// and top-level fields read the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"denied":403}`, `{"a":{"b":[1,2,{"c":null}]}}`, `{"expires_at":"2030-05-06T07:08:09Z"}`,
		`{"a":1,"a":2}`, `{"\ud83d":1}`, ` {"a" : 1e5 } `, `[`, "\xff", `{"a.b":1}`, `{"absent":true}`, `{"_a":1}`, `{"":0}`, `nullx`, `{"a":49e99990}`,
		`{"denied":true,"denied":false}`, `{"Denied":true}`, `{"\u0044ENIED":1}`, `{"Absent":true,"absent":null}`, `{"ab\u017fent":true}`, `{"abſent":true}`,
	} {
		f.Add(seed, "a.b")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		const limit = 1 << 16
		r, err := cache.Decode(text, limit)
		var want map[string]json.RawMessage
		valid := len(text) <= limit && utf8.ValidString(text) && json.Unmarshal([]byte(text), &want) == nil
		require.Equal(t, valid, err == nil)
		if err != nil {
			require.ErrorIs(t, err, cache.ErrInvalidRecord)
			return
		}
		require.Equal(t, text, r.Text())
		denied, absent := refusals(t, text)
		require.Equal(t, denied, r.State() == cache.Denied)
		require.Equal(t, !denied && (want == nil || absent), r.State() == cache.Absent)
		require.Equal(t, r.State() == cache.Denied, r.DeniedStatus() >= 400)
		r.Field(path)
		for name, value := range want {
			if name == "" || strings.ContainsAny(name, `.\`) {
				continue
			}
			v, ok := r.Field(name)
			require.Equal(t, !strings.HasPrefix(name, cache.ReservedPrefix), ok, "%q", name)
			if !ok {
				continue
			}
			require.Equal(t, string(value), v.JSON())
			v.Text()
			v.Strings()
			v.Time()
		}
	})
}
