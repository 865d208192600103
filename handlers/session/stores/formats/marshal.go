package formats

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

var errMarshal = errors.New("value is not what Ruby's Marshal writes")

// Marshal converts a hash that Ruby's Marshal wrote to JSON. Symbols and the
// names of classes become strings; objects and structs become their variables.
// Values that a class serialized in a format of its own, such as a Time, become null.
func Marshal(data string) (string, error) {
	if len(data) < 2 || data[0] != 4 || data[1] > 8 {
		return "", fmt.Errorf("%w: it is not of version 4.8", errMarshal)
	}
	r := &marshalReader{data: data, at: 2}
	v, err := r.value(0)
	if err != nil {
		return "", err
	}
	if r.at < len(data) {
		return "", r.fail("there is more after its end")
	}
	return toJSON(v, len(data))
}

type marshalReader struct {
	counter
	data    string
	at      int
	symbols []string
	objects []any // the objects that links refer to, by number
}

func (r *marshalReader) fail(reason string) error {
	return fmt.Errorf("%w: at byte %d, %s", errMarshal, r.at, reason)
}

func (r *marshalReader) byte() (byte, error) {
	if r.at >= len(r.data) {
		return 0, r.fail("it ends too early")
	}
	r.at++
	return r.data[r.at-1], nil
}

// int reads a number of one to five bytes, as Marshal packs it.
func (r *marshalReader) int() (int, error) {
	c, err := r.byte()
	if err != nil {
		return 0, err
	}
	switch n := int(int8(c)); {
	case n == 0:
		return 0, nil
	case n > 4:
		return n - 5, nil
	case n < -4:
		return n + 5, nil
	default:
		v := 0
		if n < 0 {
			v = -1
		}
		for i := range max(n, -n) {
			b, err := r.byte()
			if err != nil {
				return 0, err
			}
			v = v&^(0xff<<(8*i)) | int(b)<<(8*i)
		}
		return v, nil
	}
}

// length reads the length of what follows, which is at most the rest of the
// data.
func (r *marshalReader) length() (int, error) {
	n, err := r.int()
	if err == nil && (n < 0 || n > len(r.data)-r.at) {
		err = r.fail("the length before it is wrong")
	}
	return n, err
}

func (r *marshalReader) bytes() (string, error) {
	n, err := r.length()
	if err != nil {
		return "", err
	}
	r.at += n
	return r.data[r.at-n : r.at], nil
}

func (r *marshalReader) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errDepth
	}
	if err := r.count(); err != nil {
		return nil, err
	}
	kind, err := r.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '0':
		return nil, nil
	case 'T', 'F':
		return kind == 'T', nil
	case 'i':
		n, err := r.int()
		return int64(n), err
	case ':', ';':
		r.at--
		return r.symbol()
	case '@':
		return r.link()
	case 'I':
		return r.withVariables(depth)
	case '"', 'f', 'c', 'm', 'M', '/':
		return r.text(kind)
	case 'l':
		return r.bignum()
	case '[':
		return r.array(depth)
	case '{', '}':
		return r.hash(kind == '}', depth)
	case 'o', 'S':
		return r.instance(depth)
	case 'u':
		return r.userDefined(false, depth)
	case 'U':
		return r.userMarshaled(depth)
	case 'C', 'e':
		// a string, array or hash of a subclass, or extended by a module
		if _, err := r.symbol(); err != nil {
			return nil, err
		}
		return r.value(depth + 1)
	}
	r.at--
	return nil, r.fail("there is no such type")
}

// instance reads an object or a struct: its class, and its variables.
func (r *marshalReader) instance(depth int) (any, error) {
	if _, err := r.symbol(); err != nil {
		return nil, err
	}
	o := &object{}
	r.object(o)
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	for range n {
		name, err := r.symbol()
		if err != nil {
			return nil, err
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.add(strings.TrimPrefix(name, "@"), value)
	}
	return o, nil
}

// userDefined skips what a class serialized as a string.
func (r *marshalReader) userDefined(withVariables bool, depth int) (any, error) {
	if _, err := r.symbol(); err != nil {
		return nil, err
	}
	if _, err := r.bytes(); err != nil {
		return nil, err
	}
	if withVariables {
		if err := r.variables(depth); err != nil {
			return nil, err
		}
	}
	return r.object(nil), nil
}

// userMarshaled reads what a class serialized as another value: its class, then
// that value.
func (r *marshalReader) userMarshaled(depth int) (any, error) {
	if _, err := r.symbol(); err != nil {
		return nil, err
	}
	slot := len(r.objects)
	r.object(nil)
	v, err := r.value(depth + 1)
	if err != nil {
		return nil, err
	}
	r.objects[slot] = v
	return v, nil
}

// object records an object that links can refer to.
func (r *marshalReader) object(v any) any {
	r.objects = append(r.objects, v)
	return v
}

func (r *marshalReader) link() (any, error) {
	n, err := r.int()
	if err != nil {
		return nil, err
	}
	if n < 0 || n >= len(r.objects) {
		return nil, r.fail("the link before it refers to no object")
	}
	return r.objects[n], nil
}

// symbol reads a symbol, or a reference to an earlier one.
func (r *marshalReader) symbol() (string, error) {
	kind, err := r.byte()
	if err != nil {
		return "", err
	}
	encoded := kind == 'I' // its encoding follows
	if encoded {
		if kind, err = r.byte(); err != nil {
			return "", err
		}
	}
	switch {
	case kind == ':':
		name, err := r.bytes()
		if err != nil {
			return "", err
		}
		r.symbols = append(r.symbols, name)
		if encoded {
			err = r.variables(0)
		}
		return name, err
	case kind == ';' && !encoded:
		n, err := r.int()
		if err != nil {
			return "", err
		}
		if n < 0 || n >= len(r.symbols) {
			return "", r.fail("the link before it refers to no symbol")
		}
		return r.symbols[n], nil
	}
	return "", r.fail("want a symbol")
}

// withVariables reads a value and skips its instance variables, which hold no
// more than the encoding of a string.
func (r *marshalReader) withVariables(depth int) (any, error) {
	if r.at < len(r.data) && r.data[r.at] == ':' {
		r.at-- // the symbol has its own
		return r.symbol()
	}
	if r.at < len(r.data) && r.data[r.at] == 'u' {
		r.at++
		return r.userDefined(true, depth)
	}
	v, err := r.value(depth + 1)
	if err != nil {
		return nil, err
	}
	return v, r.variables(depth)
}

func (r *marshalReader) variables(depth int) error {
	n, err := r.length()
	if err != nil {
		return err
	}
	for range n {
		if _, err := r.symbol(); err != nil {
			return err
		}
		if _, err := r.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (r *marshalReader) text(kind byte) (any, error) {
	text, err := r.bytes()
	if err != nil {
		return nil, err
	}
	switch kind {
	case 'f':
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			if text != "inf" && text != "-inf" && text != "nan" {
				return nil, r.fail("the number before it is not valid")
			}
			f = math.NaN()
		}
		return r.object(f), nil
	case '/': // a regular expression has options
		if _, err := r.byte(); err != nil {
			return nil, err
		}
	}
	return r.object(text), nil
}

func (r *marshalReader) bignum() (any, error) {
	sign, err := r.byte()
	if err != nil {
		return nil, err
	}
	words, err := r.length()
	if err != nil {
		return nil, err
	}
	// longer numbers would take long to convert to decimal
	if words > 64 || 2*words > len(r.data)-r.at {
		return nil, r.fail("there is a number that is too long")
	}
	little := []byte(r.data[r.at : r.at+2*words])
	r.at += 2 * words
	slices.Reverse(little)
	n := new(big.Int).SetBytes(little)
	if sign == '-' {
		n.Neg(n)
	}
	return r.object(n), nil
}

func (r *marshalReader) array(depth int) (any, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	l := &list{}
	r.object(l)
	for range n {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, item)
	}
	return l, nil
}

func (r *marshalReader) hash(withDefault bool, depth int) (any, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	o := &object{}
	r.object(o)
	for range n {
		key, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if name, ok := nameOf(key); ok {
			o.add(name, value)
		}
	}
	if withDefault {
		_, err = r.value(depth + 1)
	}
	return o, err
}
