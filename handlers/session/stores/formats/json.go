// The JSON text that all formats share.

package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// list is an array; object has its members in their order. Both are pointers,
// because some formats refer to one value from several places.
type (
	list   struct{ items []any }
	object struct {
		members  []member
		isUnique bool // no two members have one name
	}
	member struct {
		name  string
		value any
	}
)

func (o *object) add(name string, value any) {
	o.members = append(o.members, member{name, value})
}

// unique drops all members of a name but the last, which counts for the writers
// of all formats. A reader of the JSON might take another one.
func (o *object) unique() {
	if o.isUnique {
		return
	}
	o.isUnique = true
	const few = 16 // compared with one another, without a map
	last := func(i int) bool {
		return !slices.ContainsFunc(o.members[i+1:], func(later member) bool { return later.name == o.members[i].name })
	}
	if len(o.members) > few {
		at := make(map[string]int, len(o.members))
		for i, m := range o.members {
			at[m.name] = i
		}
		last = func(i int) bool { return at[o.members[i].name] == i }
	}
	var kept []member
	for i := range o.members {
		switch isLast := last(i); {
		case !isLast && kept == nil:
			kept = append(make([]member, 0, len(o.members)), o.members[:i]...)
		case isLast && kept != nil:
			kept = append(kept, o.members[i])
		}
	}
	if kept != nil {
		o.members = kept
	}
}

var (
	errDepth  = fmt.Errorf("value has more than %d levels", MaxDepth)
	errValues = fmt.Errorf("value consists of more than %d values", MaxValues)
	errSize   = errors.New("value is much larger as JSON than it is stored, because parts of it occur many times")
	errNoMap  = errors.New("value is not a map of names to values, as a session is")
)

// writer writes JSON text up to a limit.
type writer struct {
	text  []byte
	limit int
	open  []any // the arrays and objects around the next value
}

func newWriter(size int) *writer {
	return &writer{text: make([]byte, 0, size+64), limit: 8*size + 1024}
}

// toJSON is the text of a session, which must be an object. An empty list
// counts as an empty object, because some formats write both alike.
func toJSON(v any, size int) (string, error) {
	switch session := v.(type) {
	case *object:
	case *list:
		if len(session.items) > 0 {
			return "", errNoMap
		}
		v = &object{}
	default:
		return "", errNoMap
	}
	w := newWriter(size)
	if err := w.value(v, 0); err != nil {
		return "", err
	}
	return string(w.text), nil
}

func (w *writer) value(v any, depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	if len(w.text) > w.limit {
		return errSize
	}
	switch v := v.(type) {
	case *object, *list:
		if slices.Contains(w.open, v) { // it contains itself, as no JSON does
			w.text = append(w.text, "null"...)
			return nil
		}
		w.open = append(w.open, v)
		err := w.container(v, depth)
		w.open = w.open[:len(w.open)-1]
		return err
	case string:
		w.string(v)
	case bool:
		w.text = strconv.AppendBool(w.text, v)
	case int64:
		w.text = strconv.AppendInt(w.text, v, 10)
	case uint64:
		w.text = strconv.AppendUint(w.text, v, 10)
	case *big.Int:
		w.text = v.Append(w.text, 10)
	case float64:
		w.float(v)
	default: // nil, and what JSON cannot express
		w.text = append(w.text, "null"...)
	}
	return nil
}

func (w *writer) container(v any, depth int) error {
	if o, ok := v.(*object); ok {
		return w.object(o, depth)
	}
	w.text = append(w.text, '[')
	for i, item := range v.(*list).items {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		if err := w.value(item, depth+1); err != nil {
			return err
		}
	}
	w.text = append(w.text, ']')
	return nil
}

func (w *writer) object(o *object, depth int) error {
	o.unique()
	w.text = append(w.text, '{')
	for i, m := range o.members {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		w.name(m.name)
		if err := w.value(m.value, depth+1); err != nil {
			return err
		}
	}
	w.text = append(w.text, '}')
	return nil
}

// name writes the name of a member. Bytes that are not UTF-8 are replaced: that
// member cannot be looked up, but its neighbors stay readable.
func (w *writer) name(name string) {
	w.string(strings.ToValidUTF8(name, "\uFFFD"))
	w.text = append(w.text, ':')
}

func (w *writer) string(s string) {
	if !utf8.ValidString(s) {
		w.text = append(w.text, "null"...)
		return
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		quoted = []byte("null")
	}
	w.text = append(w.text, quoted...)
}

func (w *writer) float(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.text = append(w.text, "null"...)
		return
	}
	w.text = strconv.AppendFloat(w.text, f, 'g', -1, 64)
}

// counter bounds the number of values.
type counter struct{ values int }

func (c *counter) count() error {
	c.values++
	if c.values > MaxValues {
		return errValues
	}
	return nil
}
