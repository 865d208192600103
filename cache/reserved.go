// Reserved fields: what the cache notes in a record beside the record's own
// fields. They are spliced into the text, so that the record's own fields keep
// their order and their numbers.

package cache

import (
	"encoding/json"
	"strconv"
	"strings"
)

// ReservedPrefix begins the names of reserved fields, at the top level of a
// record. Only the cache reads and writes them. Inside nested objects the
// prefix has no meaning.
const ReservedPrefix = "_"

// sourceField holds the fingerprint of the question that the source answered
// with this record; see [LookupOptions.SourceID].
const sourceField = "_source"

// sourceIDLength is the number of hex digits of a fingerprint.
const sourceIDLength = 16

// origin says which lookups may use a record.
type origin uint8

const (
	// originApplication: the record has no fingerprint; the application wrote it.
	originApplication origin = iota
	// originSource: the record is a source's answer to the question
	// Record.sourceID.
	originSource
	// originDecoded: a [Decoder] made the record, whose ID has the hash
	// Record.sourceID.
	originDecoded
	// originUnknown: the fingerprint cannot be read. No lookup uses the record.
	originUnknown
)

// parseSourceID reads a fingerprint: exactly 16 lower-case hex digits.
func parseSourceID(text string) (id uint64, ok bool) {
	if len(text) != sourceIDLength || strings.ToLower(text) != text {
		return 0, false
	}
	id, err := strconv.ParseUint(text, 16, 64)
	return id, err == nil
}

// readOrigin finds the fingerprint in the text of a JSON object. Two different
// fingerprints count as one that cannot be read.
func readOrigin(text string) (o origin, id uint64) {
	eachField(text, func(f objectField) {
		if f.name() != sourceField {
			return
		}
		next, ok := parseSourceID(strings.Trim(f.value, `"`))
		ok = ok && len(f.value) == sourceIDLength+2
		if !ok || o == originUnknown || o == originSource && next != id {
			o = originUnknown
			return
		}
		o, id = originSource, next
	})
	return o, id
}

// fromSource returns the record that a source answered, without reserved fields
// but with the fingerprint of the question, unless that is "".
func (r *Record) fromSource(sourceID string) *Record {
	text := withoutReserved(r.Text())
	if sourceID != "" {
		if r.verdict == verdictAbsent && !strings.HasSuffix(strings.TrimRight(text, blanks), "}") {
			text = `{"absent":true}`
		}
		text = withField(text, sourceField, `"`+sourceID+`"`)
	}
	if text == r.Text() {
		return r
	}
	stamped := r.withText(text)
	stamped.origin, stamped.sourceID, stamped.ttl = originApplication, 0, 0
	stamped.setTags(nil)
	if sourceID != "" {
		stamped.origin = originSource
		stamped.sourceID, _ = parseSourceID(sourceID)
	}
	return stamped
}

// withField appends a field to the text of a JSON object that has no field of
// that name. name and value are JSON already, the name without its quotes.
func withField(text, name, value string) string {
	end := strings.LastIndexByte(text, '}')
	head := strings.TrimRight(text[:end], blanks)
	comma := ","
	if strings.HasSuffix(head, "{") { // an object that ends so is {}
		comma = ""
	}
	return text[:end] + comma + `"` + name + `":` + value + text[end:]
}

// withoutReserved removes the reserved fields from the text of a record and
// leaves the text of all other fields as it is.
func withoutReserved(text string) string {
	if !mayHaveReserved(text) {
		return text
	}
	var kept []string
	found := false
	eachField(text, func(f objectField) {
		if isReserved(f.quoted) {
			found = true
			return
		}
		kept = append(kept, f.text)
	})
	if !found {
		return text
	}
	return "{" + strings.Join(kept, ",") + "}"
}

// mayHaveReserved returns false only where the text has no reserved field.
func mayHaveReserved(text string) bool {
	return strings.Contains(text, `"`+ReservedPrefix) || strings.Contains(text, `"\u005`)
}

// isReserved reports whether a quoted name is that of a reserved field.
func isReserved(quoted string) bool {
	const escaped = `"\u005f`
	return strings.HasPrefix(quoted, `"`+ReservedPrefix) ||
		len(quoted) >= len(escaped) && strings.EqualFold(quoted[:len(escaped)], escaped)
}

// blanks are the characters that JSON allows between tokens.
const blanks = " \t\r\n"

// objectField is a field of a JSON object.
type objectField struct {
	text   string // the name, the value and what stands between them
	quoted string // the name with its quotes, as it is written
	value  string // the value, as it is written
}

// name is the name without quotes and escapes.
func (f objectField) name() string { return unquoted(f.quoted) }

// unquoted is a JSON string without quotes and escapes.
func unquoted(quoted string) string {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	return unescaped(quoted)
}

func unescaped(quoted string) string {
	var text string
	_ = json.Unmarshal([]byte(quoted), &text) // it is valid, since the whole text is
	return text
}

// eachField calls yield for the fields of a JSON object, in order. The text
// must be valid JSON; if it is not an object, there are no fields.
func eachField(text string, yield func(objectField)) {
	at := skipBlanks(text, 0)
	if at == len(text) || text[at] != '{' {
		return
	}
	at = skipBlanks(text, at+1)
	for text[at] == '"' {
		start := at
		nameEnd, value, end, next := nextField(text, at)
		yield(objectField{text: text[start:end], quoted: text[start:nameEnd], value: text[value:end]})
		at = next
	}
}

// nextField reads the field of an object that begins at a quote: the end of its
// name, where its value begins and ends, and where the next field or the end of
// the object is.
func nextField(text string, at int) (nameEnd, value, end, next int) {
	nameEnd = skipString(text, at)
	if value = nameEnd; text[value] != ':' {
		value = skipBlanks(text, value)
	}
	if value++; text[value] <= ' ' {
		value = skipBlanks(text, value)
	}
	end = skipValue(text, value)
	if next = end; text[next] <= ' ' {
		next = skipBlanks(text, next)
	}
	if text[next] == ',' {
		if next++; text[next] <= ' ' {
			next = skipBlanks(text, next)
		}
	}
	return nameEnd, value, end, next
}

func skipBlanks(text string, at int) int {
	for at < len(text) && isBlank(text[at]) {
		at++
	}
	return at
}

func isBlank(c byte) bool { return c <= ' ' && (c == ' ' || c == '\n' || c == '\t' || c == '\r') }

// shortString is the length up to which a loop finds a quote sooner than
// strings.IndexByte does.
const shortString = 16

// skipString returns the end of the string that begins at a quote.
func skipString(text string, at int) int {
	at++
	for short := min(at+shortString, len(text)); at < short; at++ {
		if c := text[at]; c == '"' {
			return at + 1
		} else if c == '\\' {
			return skipEscaped(text, at)
		}
	}
	quote := at + strings.IndexByte(text[at:], '"')
	if escape := strings.IndexByte(text[at:quote], '\\'); escape >= 0 {
		return skipEscaped(text, at+escape)
	}
	return quote + 1
}

// skipEscaped is skipString from a place within the string.
func skipEscaped(text string, at int) int {
	for ; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// skipValue returns the end of the value that begins at at.
func skipValue(text string, at int) int {
	switch text[at] {
	case '"':
		return skipString(text, at)
	case '{', '[':
		return skipNested(text, at)
	}
	for at < len(text) && text[at] != ',' && text[at] != '}' && text[at] != ']' && !isBlank(text[at]) {
		at++
	}
	return at
}

// skipNested is skipValue for an object or an array.
func skipNested(text string, at int) int {
	for depth := 0; ; {
		switch text[at] {
		case '"':
			at = skipString(text, at)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
		at++
	}
}
