// Reading the same fields of many records, as each hit does.

package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// Paths are the paths of fields that one reader wants of each record. They are
// as in [Record.Field]. All fields are read in one pass.
//
// Small records are scanned at each read. Records of at least [minIndexed] bytes
// keep an index of the places of the values. The index depends on the paths alone,
// so that all readers of a record share it.
type Paths struct {
	paths []path
}

type path struct {
	text string
	id   uint64 // a hash of text
	name string // the first name, without escapes
	rest string // what follows it
	deep bool   // whether there is a rest
}

// Add adds a path, unless it was added before, and returns its index. It must
// not be called once records are read.
func (p *Paths) Add(text string) (index int) {
	for i := range p.paths {
		if p.paths[i].text == text {
			return i
		}
	}
	sum := sha256.Sum256([]byte(text))
	added := path{text: text, id: binary.BigEndian.Uint64(sum[:])}
	added.name, added.rest, added.deep = cutPath(text)
	p.paths = append(p.paths, added)
	return len(p.paths) - 1
}

// Len is the number of paths.
func (p *Paths) Len() int { return len(p.paths) }

// Read sets raw[i] to the JSON text of the field at the path with the index i,
// or to "" where there is none; see [ParseValue]. raw must be as long as [Paths.Len].
// It allocates nothing but the index of a large record, once for each path.
func (r *Record) Read(p *Paths, raw []string) {
	if text := r.Text(); len(text) >= minIndexed {
		r.readIndexed(p, text, raw)
	} else {
		r.scan(p, text, raw)
	}
}

// scan finds the values in the text.
func (r *Record) scan(p *Paths, text string, raw []string) {
	clear(raw)
	at := skipBlanks(text, 0)
	if at == len(text) || text[at] != '{' {
		return
	}
	escaped := strings.IndexByte(text, '\\') >= 0
	for at = skipBlanks(text, at+1); text[at] == '"'; {
		start := at
		nameEnd, value, end, next := nextField(text, at)
		at = next
		name := text[start+1 : nameEnd-1]
		if escaped {
			name = unquoted(text[start:nameEnd])
		}
		for i := range p.paths {
			if p.paths[i].name == name {
				raw[i] = text[value:end]
			}
		}
	}
	for i := range p.paths {
		switch w := &p.paths[i]; {
		case r.origin != originDecoded && strings.HasPrefix(w.text, ReservedPrefix):
			raw[i] = ""
		case w.deep && raw[i] != "":
			raw[i] = descend(raw[i], w.rest)
		}
	}
}

// descend returns the JSON text at a path below a value, or "".
func descend(value, path string) string {
	for name, more := "", true; more && value != ""; {
		name, path, more = cutPath(path)
		switch value[0] {
		case '{':
			value = fieldIn(value, name)
		case '[':
			value = itemIn(value, name)
		default:
			return ""
		}
	}
	return value
}

// topField is a field of a record's text.
func topField(text, name string) gjson.Result {
	return gjson.Parse(fieldIn(text[skipBlanks(text, 0):], name))
}

// fieldIn returns the JSON text of an object's field, or "". If the name occurs more
// than once, the last one counts.
func fieldIn(object, name string) (found string) {
	for at := skipBlanks(object, 1); object[at] == '"'; {
		start := at
		var nameEnd, value, end int
		nameEnd, value, end, at = nextField(object, at)
		if unquoted(object[start:nameEnd]) == name {
			found = object[value:end]
		}
	}
	return found
}

// itemIn returns the JSON text of an array's item, or "".
func itemIn(array, index string) string {
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 {
		return ""
	}
	for at := skipBlanks(array, 1); array[at] != ']'; n-- {
		end := skipValue(array, at)
		if n == 0 {
			return array[at:end]
		}
		if at = skipBlanks(array, end); array[at] == ',' {
			at = skipBlanks(array, at+1)
		}
	}
	return ""
}

// ParseValue reads a JSON text that [Record.Read] has found. ok is false for "".
func ParseValue(raw string) (v Value, ok bool) {
	if raw == "" {
		return Value{}, false
	}
	return Value{gjson.Parse(raw)}, true
}

// Field is the value at a path below this one; see [Record.Field].
func (v Value) Field(path string) (Value, bool) { return ParseValue(descend(v.v.Raw, path)) }

// FoldedField is the field of an object whose name is equal to name, ignoring case.
func (v Value) FoldedField(name string) (found Value, ok bool) {
	raw := ""
	eachField(v.v.Raw, func(f objectField) {
		if strings.EqualFold(f.name(), name) {
			raw = f.value
		}
	})
	return ParseValue(raw)
}

const (
	// minIndexed is the size in bytes from which a record keeps an index: scanning it
	// takes longer than searching the index.
	minIndexed = 512
	// indexShare is the part of a record's size, an eighth, that its index may take.
	// Paths for which there is no room are scanned for at each read.
	indexShare = 8
)

// place is where the value of a path is in a record's text. An absent one has no
// length.
type place struct {
	id         uint64 // of the path
	start, end uint32
}

const placeSize = int(unsafe.Sizeof(place{}))

// readIndexed is Read for a record with an index.
func (r *Record) readIndexed(p *Paths, text string, raw []string) {
	m := r.memory()
	if m.find(text, p, raw) {
		return
	}
	r.scan(p, text, raw)
	for i := range p.paths {
		m = r.memory()
		if id := p.paths[i].id; m.place(id) == nil && m.hasRoom(text) {
			start := offsetIn(text, raw[i])
			r.setMemo(m, func(m *memo) {
				m.places = append(slices.Clip(m.places), place{id, uint32(start), uint32(start + len(raw[i]))})
			})
		}
	}
}

// hasRoom reports whether the index has room for one more place.
func (m *memo) hasRoom(text string) bool {
	return m == nil || (len(m.places)+1)*placeSize <= len(text)/indexShare
}

// find sets raw to the values at the paths. ok is false if a path is not in the
// index.
func (m *memo) find(text string, p *Paths, raw []string) (ok bool) {
	if m == nil {
		return false
	}
	for i := range p.paths {
		at := m.place(p.paths[i].id)
		if at == nil {
			return false
		}
		raw[i] = text[at.start:at.end]
	}
	return true
}

func (m *memo) place(id uint64) *place {
	if m == nil {
		return nil
	}
	for i := range m.places {
		if m.places[i].id == id {
			return &m.places[i]
		}
	}
	return nil
}

// offsetIn is where a part of a text begins; 0 for an empty one.
func offsetIn(text, part string) int {
	if part == "" {
		return 0
	}
	return int(uintptr(unsafe.Pointer(unsafe.StringData(part))) - uintptr(unsafe.Pointer(unsafe.StringData(text))))
}
