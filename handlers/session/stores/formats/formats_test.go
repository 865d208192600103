package formats

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var decoders = map[string]func(string) (string, error){
	"msgpack": Msgpack, "pickle": Pickle, "php": PHPSession, "php_serialize": PHP, "marshal": Marshal,
	"php_binary": PHPBinary, "php_guessed": PHPGuessed,
}

// recorded is what a real writer wrote.
type recorded struct {
	Format, Writer, Name string
	Data                 []byte // base64 in JSON
	Want, Error          string
}

func recordings(t testing.TB) (list []recorded) {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &list))
	require.NotEmpty(t, list)
	return list
}

func TestRecordedValuesAreReadAsTheirWritersMeantThem(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		name := r.Format + ", " + r.Writer + ", " + r.Name
		got, err := decoders[r.Format](string(r.Data))
		if r.Error != "" {
			require.EqualError(t, err, r.Error, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, r.Want, got, name)
		require.True(t, json.Valid([]byte(got)), name)
	}
}

func TestAValueThatWasCutOffIsAnError(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		if r.Error != "" || r.Name == "empty" {
			continue
		}
		for end := range len(r.Data) {
			_, err := decoders[r.Format](string(r.Data[:end]))
			// the variables of these formats stand one after the other
			if r.Format != "php" && r.Format != "php_binary" {
				require.Error(t, err, "%s, %s: the first %d bytes", r.Writer, r.Name, end)
			}
		}
	}
}

func TestErrorsNeverRepeatTheValue(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for format, values := range map[string][]string{
		"pickle": {
			"}X\x01\x00\x00\x00aI" + secret + "\ns.", "}F" + secret + "\n.", "g" + secret + "\n.", "S" + secret + "\n.",
			"c_codecs\nencode\n(X\x07\x00\x00\x00" + secret + "X\x05\x00\x00\x00utf16tR.", "c" + secret + "!\nx\n.",
			"\x8a\xff" + secret, secret,
		},
		"php":           {secret, secret + "|x", "a|s:9:\"" + secret + "\";", "a|i:" + secret + ";", "a|O:7:\"" + secret + "\":"},
		"php_serialize": {secret, "s:7:\"" + secret + "\";", "a:1:{s:7:\"" + secret + "\";d:" + secret + ";}", "E:7:\"" + secret + "\":"},
		"msgpack":       {"\xa7" + secret, "\x81\xa7" + secret + "\xc1", "\x81\xa8" + secret},
		"marshal":       {"\x04\x08\"\x0c" + secret, "\x04\x08{\x06\"\x0c" + secret + "X", "\x04\x08f\x0c" + secret},
	} {
		for _, value := range values {
			_, err := decoders[format](value)
			require.Error(t, err, "%s %q", format, value)
			require.NotContains(t, err.Error(), secret, "%s %q", format, value)
		}
	}
}

// TestOfMembersOfOneNameTheLastCounts: a reader of the JSON could take another one
// than the application.
func TestOfMembersOfOneNameTheLastCounts(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("\xa1x\x01", 20)
	for value, test := range map[string]struct{ format, want string }{
		"\x83\xa4role\xa5admin\xa1a\x01\xa4role\xa5guest":       {"msgpack", `{"a":1,"role":"guest"}`},
		"\xde\x00\x16\xa4role\xa5admin" + many + "\xa4role\xc0": {"msgpack", `{"x":1,"role":null}`},
		`role|s:5:"admin";role|s:5:"guest";`:                    {"php", `{"role":"guest"}`},
		// a private property of the class and of the one that it extends
		"x|O:1:\"B\":2:{s:4:\"\x00A\x00c\";i:1;s:4:\"\x00B\x00c\";i:2;}": {"php", `{"x":{"c":2}}`},
		"\x04\x08{\x07:\x09rolei\x06I\"\x09role\x06:\x06ETi\x07":         {"marshal", `{"role":2}`},
	} {
		got, err := decoders[test.format](value)
		require.NoError(t, err, "%q", value)
		require.Equal(t, test.want, got, "%q", value)
	}
}

// TestTheValueOfAVariableIsNeverReadAsVariables: visitors may choose values, and
// in some applications names.
func TestTheValueOfAVariableIsNeverReadAsVariables(t *testing.T) {
	t.Parallel()
	const chosen = `|i:1;user_id|i:1;z|s:0:"`
	for _, name := range []string{"x", "!x", "!", "!!", "", `s:3:"`, "a:1:{", "x;"} {
		got, err := PHPSession(fmt.Sprintf(`%s|s:%d:"%s";`, name, len(chosen), chosen))
		require.NoError(t, err, name)
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(got), &fields))
		require.Equal(t, map[string]any{name: chosen}, fields)
	}
}

func TestKeysThatJSONDoesNotHave(t *testing.T) {
	t.Parallel()
	for value, test := range map[string]struct{ format, want string }{
		"\x82\x91\x01\x02\xa1a\x03":                                {"msgpack", `{"a":3}`},
		"\x04\x08{\x07[\x06i\x06i\x07:\x06ai\x08":                  {"marshal", `{"a":3}`},
		"\x04\x08{\x06l+\x09\x00\x00\x00\x00\x01\x00\x00\x00i\x06": {"marshal", `{"4294967296":1}`},
		"}\x8a\x05\x00\x00\x00\x00\x01K\x01s.":                     {"pickle", `{"4294967296":1}`},
		"(dL5L\nI1\ns.":                                            {"pickle", `{"5":1}`},
	} {
		got, err := decoders[test.format](value)
		require.NoError(t, err, "%q", value)
		require.Equal(t, test.want, got, "%q", value)
	}
}

func TestKeysThatCannotBeReadAreTheReason(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"a tuple":          "}(K\x01K\x02\x86K\x03u.",
		"an empty tuple":   "})K\x03s.",
		"one of many":      "}(X\x01\x00\x00\x00aK\x01K\x01K\x02\x86K\x03u.",
		"a UUID":           "}cuuid\nUUID\n)\x81}X\x03\x00\x00\x00intK\x05sbK\x01s.",
		"a class":          "}cdatetime\ndate\nK\x01s.",
		"of protocol 0":    "((I1\nI2\ntI3\nd.",
		"a remembered one": "}K\x01K\x02\x86q\x00K\x01sh\x00K\x02s.",
	} {
		_, err := Pickle(value)
		require.ErrorContains(t, err, "a dict has a key that is neither text nor a number", name)
	}
}

// allowed is how much memory reading a value may take, in bytes, with what is
// free again at once.
func allowed(value string) uint64 { return uint64(500*len(value) + 1<<16) }

func TestHostileValuesAreRefused(t *testing.T) { // not in parallel: it measures memory
	deep := func(opening, inner, closing string) string {
		return strings.Repeat(opening, 100_000) + inner + strings.Repeat(closing, 100_000)
	}
	// lists of lists of the same list: a billion values
	pickled, serialized, marshaled := "](Ne", `a:1:{i:0;N;}`, "[\x060"
	for level := range 30 {
		index := string(rune(level))
		pickled = "](" + strings.Replace(pickled, "]", "]q"+index, 1) + strings.Repeat("h"+index, 10) + "e"
		serialized = fmt.Sprintf(`a:2:{i:0;%s;i:1;R:%d;}`, strings.TrimSuffix(serialized, ";"), 32-level)
		marshaled = "[\x07" + marshaled + "@" + string(rune(5+31-level))
	}
	serialized = strings.ReplaceAll(serialized, "};", "}")
	for name, test := range map[string]struct {
		format, value string
		want          error
	}{
		"deep pickle":                     {"pickle", "}X\x01\x00\x00\x00x" + deep("](", "N", "e") + "s.", errDepth},
		"deep tuples":                     {"pickle", "}X\x01\x00\x00\x00xN" + strings.Repeat("\x85", 100_000) + "s.", errDepth},
		"deep msgpack":                    {"msgpack", "\x81\xa1x" + deep("\x91", "\xc0", ""), errDepth},
		"deep php":                        {"php_serialize", deep("a:1:{i:0;", "N;", "}"), errDepth},
		"deep variables":                  {"php", "x|" + deep("a:1:{i:0;", "N;", "}"), errDepth},
		"deep marshal":                    {"marshal", "\x04\x08{\x06:\x06x" + deep("[\x06", "0", ""), errDepth},
		"deep class":                      {"marshal", "\x04\x08" + strings.Repeat("C:\x06x", 100_000), errDepth},
		"deep variables of strings":       {"marshal", "\x04\x08" + strings.Repeat("I", 100_000), errDepth},
		"shared lists":                    {"pickle", "}X\x01\x00\x00\x00x" + pickled + "s.", errSize},
		"shared arrays":                   {"php_serialize", `a:1:{s:1:"x";` + serialized + `}`, errSize},
		"shared arrays of ruby":           {"marshal", "\x04\x08{\x06:\x06x" + marshaled, errSize},
		"a promise of a long array":       {"msgpack", "\xdd\xff\xff\xff\xff", errMsgpack},
		"a promise of a long map":         {"msgpack", "\xdf\xff\xff\xff\xff", errMsgpack},
		"a promise of a long text":        {"msgpack", "\x81\xa1x\xdb\xff\xff\xff\xff", errMsgpack},
		"a promise of a long extension":   {"msgpack", "\x81\xa1x\xc9\xff\xff\xff\xff\x05", errMsgpack},
		"a promise of a long string":      {"php_serialize", `a:1:{s:2147483647:"x";N;}`, errPHP},
		"a promise of many members":       {"php_serialize", `a:2147483647:{}`, errPHP},
		"a negative length":               {"php_serialize", `a:1:{s:-1:"";N;}`, errPHP},
		"a promise of long bytes":         {"pickle", "}B\xff\xff\xff\xff.", errPickle},
		"a promise of a long bytearray":   {"pickle", "}\x96\xff\xff\xff\xff\xff\xff\xff\xff.", errPickle},
		"a long number":                   {"pickle", "}X\x01\x00\x00\x00xL" + strings.Repeat("9", 1<<20) + "L\ns.", errPickle},
		"many values":                     {"msgpack", "\x81\xa1x\xdd\x00\x0f\x00\x00" + strings.Repeat("\xc0", 0xf0000), errValues},
		"many values of ruby":             {"marshal", "\x04\x08{\x06:\x06x[\x03\x00\x00\x0f" + strings.Repeat("0", 0xf0000), errValues},
		"a persistent id":                 {"pickle", "}X\x01\x00\x00\x00xPid\ns.", errPickle},
		"a persistent id from the stack":  {"pickle", "}X\x01\x00\x00\x00xNQs.", errPickle},
		"a call of the system":            {"pickle", "cos\nsystem\n(S'true'\ntR.", errPickle},
		"a class made of the memo":        {"pickle", "\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x04true\x85R.", errPickle},
		"a class that hides in its name":  {"pickle", "cdatetime.datetime.x\ny\n)R.", errPickle},
		"an instance":                     {"pickle", "(idatetime\ndate\n.", errPickle},
		"a new object":                    {"pickle", "}X\x01\x00\x00\x00xcdatetime\ndate\n)\x81s.", errPickle},
		"a state":                         {"pickle", "}X\x01\x00\x00\x00xcdatetime\ndate\n)R}bs.", errPickle},
		"a UUID without its state":        {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)\x81s.", errPickle},
		"a UUID of two states":            {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)\x81}b}bs.", errPickle},
		"a UUID of no number":             {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)\x81}X\x03\x00\x00\x00intNsbs.", errPickle},
		"a UUID below 0":                  {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)\x81}X\x03\x00\x00\x00intI-1\nsbs.", errPickle},
		"a UUID that is its own state":    {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)\x81q\x00h\x00bs.", errPickle},
		"a UUID that takes items":         {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)\x81Nas.", errPickle},
		"a list that takes a state":       {"pickle", "}X\x01\x00\x00\x00x]}bs.", errPickle},
		"a call of a UUID":                {"pickle", "}X\x01\x00\x00\x00xcuuid\nUUID\n)Rs.", errPickle},
		"a safe string of a number":       {"pickle", "}X\x01\x00\x00\x00xcdjango.utils.safestring\nSafeString\nK\x01\x85\x81s.", errPickle},
		"a counter of a list":             {"pickle", "}X\x01\x00\x00\x00xccollections\nCounter\n]\x85Rs.", errPickle},
		"a maker of values on its own":    {"pickle", "}X\x01\x00\x00\x00xcbuiltins\nlist\ns.", errPickle},
		"a call of a maker of values":     {"pickle", "}X\x01\x00\x00\x00xcbuiltins\nlist\n]\x85Rs.", errPickle},
		"an extension code":               {"pickle", "}X\x01\x00\x00\x00x\x82\x01s.", errPickle},
		"a buffer out of band":            {"pickle", "}X\x01\x00\x00\x00x\x97s.", errPickle},
		"a class instead of a value":      {"pickle", "}X\x01\x00\x00\x00xcdatetime\ndate\ns.", errPickle},
		"a method of another class":       {"pickle", "}X\x01\x00\x00\x00xcbuiltins\ngetattr\ncdatetime\ndate\nX\x01\x00\x00\x00y\x86Rs.", errPickle},
		"a method as a value":             {"pickle", "}X\x01\x00\x00\x00xcbuiltins\ngetattr\nczoneinfo\nZoneInfo\nX\x01\x00\x00\x00y\x86Rs.", errPickle},
		"a method of a zone's text":       {"pickle", "}X\x01\x00\x00\x00xcbuiltins\ngetattr\nX\x08\x00\x00\x00ZoneInfoX\x01\x00\x00\x00y\x86Rs.", errPickle},
		"a call of the class of zones":    {"pickle", "}X\x01\x00\x00\x00xczoneinfo\nZoneInfo\nX\x01\x00\x00\x00y\x85Rs.", errPickle},
		"a call of a zone":                {"pickle", "}X\x01\x00\x00\x00xcbuiltins\ngetattr\nczoneinfo\nZoneInfo\nX\x01\x00\x00\x00y\x86RX\x01\x00\x00\x00z\x85R)Rs.", errPickle},
		"a class of zones as an argument": {"pickle", "}X\x01\x00\x00\x00xcdatetime\ndatetime\nC\x0a0123456789czoneinfo\nZoneInfo\n\x86Rs.", errPickle},
		"a call of what a call gave":      {"pickle", "}X\x01\x00\x00\x00xcbuiltins\nset\n)R)Rs.", errPickle},
		"a set of a set's class":          {"pickle", "}X\x01\x00\x00\x00xcbuiltins\nset\ncbuiltins\nset\n\x85Rs.", errPickle},
		"a mark as a value":               {"pickle", "}X\x01\x00\x00\x00x(s.", errPickle},
		"a list that grows after reading": {"pickle", "}X\x01\x00\x00\x00x]q\x00h\x00Na0s.", errPickle},
		"a reference to nowhere":          {"php_serialize", `a:1:{i:0;R:7;}`, errPHP},
		"a link to nowhere":               {"marshal", "\x04\x08{\x06:\x06x@\x0c", errMarshal},
		"a symbol from nowhere":           {"marshal", "\x04\x08{\x06;\x06T", errMarshal},
		"two values":                      {"php_serialize", `a:0:{}a:0:{}`, errPHP},
		"two values of python":            {"pickle", "}}.", errPickle},
		"more after the end":              {"pickle", "}.}", errPickle},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decoders[test.format](test.value)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, test.want, name)
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, allowed(test.value), name)
	}
}

func TestAValueInsideItselfIsNull(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ format, value, want string }{
		"an array":            {"php_serialize", `a:2:{s:1:"x";R:1;s:1:"i";i:7;}`, `{"x":null,"i":7}`},
		"an object":           {"php", `o|O:1:"A":2:{s:4:"self";r:1;s:2:"id";i:7;}`, `{"o":{"self":null,"id":7}}`},
		"objects in a ring":   {"php", `o|O:1:"A":1:{s:1:"b";O:1:"B":1:{s:1:"a";r:1;}}`, `{"o":{"b":{"a":null}}}`},
		"one object twice":    {"php", `o|O:1:"A":1:{s:2:"id";i:7;}p|r:1;`, `{"o":{"id":7},"p":{"id":7}}`},
		"a hash":              {"marshal", "\x04\x08{\x07:\x06a@\x00:\x06bi\x0c", `{"a":null,"b":7}`},
		"a list of a hash":    {"marshal", "\x04\x08{\x06:\x06a[\x07@\x06i\x0c", `{"a":[null,7]}`},
		"a dict":              {"pickle", "}q\x00(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bK\x07u.", `{"a":null,"b":7}`},
		"one dict twice":      {"pickle", "}(X\x01\x00\x00\x00a}q\x00X\x01\x00\x00\x00bh\x00u.", `{"a":{},"b":{}}`},
		"deep, around a dict": {"pickle", "}q\x00X\x01\x00\x00\x00a](h\x00K\x07es.", `{"a":[null,7]}`},
	} {
		got, err := decoders[test.format](test.value)
		require.NoError(t, err, name)
		require.Equal(t, test.want, got, name)
	}
}

// PHP gives a number to each value in the text of a class that serializes itself, if the
// class calls serialize for it. A visitor may write some of that text.
func TestAReferenceBehindAClassesOwnFormatIsNotGuessed(t *testing.T) {
	t.Parallel()
	const value = `s:1:"b";O:8:"stdClass":1:{s:1:"i";i:1;}s:1:"x";s:5:"admin";`
	for name, test := range map[string]struct{ value, want string }{
		"its values have numbers": {`a:5:{s:1:"a";C:3:"Old":28:{a:3:{i:0;i:1;i:1;i:5;i:2;N;}}` + value + `s:1:"c";r:7;s:1:"d";R:9;}`,
			`{"a":null,"b":{"i":1},"x":"admin","c":null,"d":null}`},
		"it is text": {`a:4:{s:1:"a";C:3:"Txt":9:{just text}` + value + `s:1:"c";r:3;}`,
			`{"a":null,"b":{"i":1},"x":"admin","c":null}`},
		"to what stands before it, and to itself": {`a:4:{s:1:"o";O:8:"stdClass":1:{s:1:"i";i:1;}s:1:"a";C:3:"Txt":1:{x}s:1:"c";r:2;s:1:"d";r:4;}`,
			`{"o":{"i":1},"a":null,"c":{"i":1},"d":null}`},
		"beside two": {`a:4:{s:1:"a";C:1:"T":1:{x}s:1:"b";i:7;s:1:"c";C:1:"T":1:{x}s:1:"d";R:3;}`,
			`{"a":null,"b":7,"c":null,"d":null}`},
	} {
		got, err := PHP(test.value)
		require.NoError(t, err, name)
		require.Equal(t, test.want, got, name)
	}
	_, err := PHP(`a:2:{s:1:"a";C:1:"T":1:{x}s:1:"b";R:0;}`)
	require.ErrorIs(t, err, errPHP)
}

func TestASessionThatSeveralFormatsOfPHPCouldMeanIsRefused(t *testing.T) {
	t.Parallel()
	text := func(s string) string { return fmt.Sprintf(`s:%d:"%s";`, len(s), s) }
	deep := strings.Repeat("a:1:{i:0;", MaxDepth+1) + "N;" + strings.Repeat("}", MaxDepth+1)
	variable := func(name, value string) string { return string(rune(len(name))) + name + value }
	long := strings.Repeat("n", 'u')
	for name, test := range map[string]struct {
		value, want string
		err         error
	}{
		"php":                                {value: `user|` + text("anna"), want: `{"user":"anna"}`},
		"php_serialize":                      {value: `a:1:{s:4:"user";` + text("anna") + `}`, want: `{"user":"anna"}`},
		"php_binary":                         {value: variable("user", text("anna")), want: `{"user":"anna"}`},
		"empty":                              {value: "a:0:{}", want: "{}"},
		"none":                               {value: "user", err: errPHP},
		"text of a visitor that is harmless": {value: `a:1:{s:4:"name";` + text("|b:1;") + `}`, want: `{"name":"|b:1;"}`},
		// the quote and the semicolon behind what the visitor wrote belong to an empty text
		"variables in a text of php_binary": {
			value: variable("name", text(`|b:1;user|s:5:"admin";z|s:0:"`)), err: errPHPFormats},
		"variables of php_binary in one of php": {
			value: "user|" + text(strings.Repeat("n", 'u'-len(`ser|s:137:"`))+`s:1:"x";`+variable("admin", `b:1;`)+variable("z", `s:0:"`)), err: errPHPFormats},
		// what exceeds a bound could be read, by PHP
		"variables in a text beside a deep array": {
			value: `a:2:{s:1:"d";` + deep + `s:4:"name";` + text(`|b:1;user|s:5:"admin";z|C:1:"x":2:{`) + `}`, err: errPHPFormats},
		"a deep array":                    {value: `a:1:{s:1:"d";` + deep + `}`, err: errDepth},
		"a name that looks like an array": {value: `a:1:{s:1:"x|i:1;`, want: `{"a:1:{s:1:\"x":1}`},
		"a long name":                     {value: long + "|i:1;", want: `{"` + long + `":1}`},
	} {
		got, err := PHPGuessed(test.value)
		require.ErrorIs(t, err, test.err, name)
		require.Equal(t, test.want, got, name)
	}
}

func TestNumbersThatOnlyPythonsJSONHasAreNull(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a":NaN,"b":[Infinity,-Infinity,-1]}`:            `{"a":null,"b":[null,null,-1]}`,
		`{"a":"NaN","b":"\\","c":NaN,"\"NaN":"-Infinity"}`: `{"a":"NaN","b":"\\","c":null,"\"NaN":"-Infinity"}`,
		`{"a":1}`:    `{"a":1}`,
		`{"a":Nan}`:  `{"a":Nan}`,
		`{"a":"NaN`:  `{"a":"NaN`,
		`{"a":"NaN\`: `{"a":"NaN\`,
		`{"a":-}`:    `{"a":-}`,
	} {
		require.Equal(t, want, PythonJSON(text))
	}
}

// Fuzz targets. A decoder must not panic, must give JSON or an error, and must
// not take memory beyond a small multiple of what it reads.

func fuzz(f *testing.F, format string) {
	for _, r := range recordings(f) {
		if r.Format == format {
			f.Add(r.Data)
		}
	}
	decode := decoders[format]
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 16
		if len(data) > most {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		text, err := decode(string(data))
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > allowed(string(data)) {
			t.Fatalf("%d bytes took %d bytes of memory", len(data), allocated)
		}
		if err == nil && (!strings.HasPrefix(text, "{") || !json.Valid([]byte(text))) {
			t.Fatalf("%q is not a JSON object", text)
		}
		again, err2 := decode(string(data))
		if text != again || (err == nil) != (err2 == nil) {
			t.Fatalf("it is read as %q and as %q", text, again)
		}
	})
}

func FuzzMsgpack(f *testing.F)      { fuzz(f, "msgpack") }
func FuzzPickle(f *testing.F)       { fuzz(f, "pickle") }
func FuzzPHP(f *testing.F)          { fuzz(f, "php") }
func FuzzPHPSerialize(f *testing.F) { fuzz(f, "php_serialize") }
func FuzzPHPBinary(f *testing.F)    { fuzz(f, "php_binary") }
func FuzzPHPGuessed(f *testing.F)   { fuzz(f, "php_guessed") }
func FuzzMarshal(f *testing.F)      { fuzz(f, "marshal") }

func FuzzPHPString(f *testing.F) {
	f.Add(`s:3:"abc";`)
	f.Add(`S:3:"a\62c";`)
	f.Fuzz(func(t *testing.T, data string) {
		text, err := PHPString(data)
		if err == nil && len(text) > len(data) {
			t.Fatalf("%q gives %q", data, text)
		}
	})
}
