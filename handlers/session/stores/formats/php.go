// PHP's serialize. The maintained library for it (elliotchance/phpserialize)
// changes strings with a backslash, knows no references, and panics on a wrong
// length, so the format is read here.

package formats

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

var errPHP = errors.New("value is not what PHP's serialize writes")

// PHP converts an array that PHP's serialize wrote to JSON, as
// session.serialize_handler php_serialize does. Objects become their
// properties; what classes serialized in a format of their own becomes null.
func PHP(data string) (string, error) {
	r := &phpReader{data: data}
	v, err := r.value(0)
	if err != nil {
		return "", err
	}
	if r.at < len(data) {
		return "", r.fail("there is more after its end")
	}
	return toJSON(v, len(data))
}

// PHPString returns the string that PHP's serialize wrote.
func PHPString(data string) (string, error) {
	r := &phpReader{data: data}
	v, err := r.value(0)
	if err != nil {
		return "", err
	}
	text, ok := v.(string)
	if !ok || r.at < len(data) {
		return "", fmt.Errorf("%w: it is not a string", errPHP)
	}
	return text, nil
}

type phpReader struct {
	counter
	data string
	at   int
	// slots are the values that references can refer to, by number.
	slots []any
	// certain is how many of them have a certain number. Values that a class serialized
	// in its own format may have numbers as well, and only that class knows how many.
	certain   int
	uncertain bool
}

func (r *phpReader) fail(reason string) error {
	return fmt.Errorf("%w: at byte %d, %s", errPHP, r.at, reason)
}

// value reads a value and gives it a slot, so that references can refer to it.
func (r *phpReader) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errDepth
	}
	if err := r.count(); err != nil {
		return nil, err
	}
	if len(r.data)-r.at < 2 {
		return nil, r.fail("it ends too early")
	}
	kind := r.data[r.at]
	r.at++
	if kind == 'N' {
		return r.slot(nil), r.expect(";")
	}
	if err := r.expect(":"); err != nil {
		return nil, err
	}
	switch kind {
	case 'b', 'i', 'd':
		v, err := r.scalar(kind)
		return r.slot(v), err
	case 's', 'S':
		text, err := r.text(kind == 'S', ";")
		return r.slot(text), err
	case 'a':
		return r.array(depth)
	case 'O':
		return r.object(depth)
	case 'C':
		return r.custom()
	case 'E':
		text, err := r.text(false, ";")
		return r.slot(text), err
	case 'R', 'r':
		return r.reference(kind == 'r')
	}
	r.at -= 2
	return nil, r.fail("there is no such type")
}

// slot records a value that references can refer to.
func (r *phpReader) slot(v any) any {
	r.slots = append(r.slots, v)
	return v
}

func (r *phpReader) expect(text string) error {
	if !strings.HasPrefix(r.data[r.at:], text) {
		return r.fail("want " + strconv.Quote(text))
	}
	r.at += len(text)
	return nil
}

// until reads up to a byte, which must follow within the length of the longest
// number.
func (r *phpReader) until(end byte) (string, error) {
	const most = 400 // the longest number
	rest := r.data[r.at:]
	n := strings.IndexByte(rest[:min(most, len(rest))], end)
	if n < 0 {
		return "", r.fail("want a number and " + strconv.QuoteRune(rune(end)))
	}
	r.at += n + 1
	return rest[:n], nil
}

func (r *phpReader) scalar(kind byte) (any, error) {
	text, err := r.until(';')
	if err != nil {
		return nil, err
	}
	switch kind {
	case 'b':
		if text == "0" || text == "1" {
			return text == "1", nil
		}
	case 'i':
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if n, ok := new(big.Int).SetString(text, 10); ok {
			return n, nil
		}
	case 'd':
		switch text {
		case "INF", "-INF", "NAN":
			return math.NaN(), nil
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f, nil
		}
	}
	return nil, r.fail("the value before it is not valid")
}

// length reads a number of bytes or members, which cannot be more than follow.
func (r *phpReader) length() (int, error) {
	text, err := r.until(':')
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || int(n) > len(r.data)-r.at {
		return 0, r.fail("the length before it is wrong")
	}
	return int(n), nil
}

// text reads a string with its length. escaped reports that it contains
// hexadecimal escapes.
func (r *phpReader) text(escaped bool, end string) (string, error) {
	n, err := r.length()
	if err != nil {
		return "", err
	}
	if err := r.expect(`"`); err != nil {
		return "", err
	}
	var text string
	if escaped {
		if text, err = r.unescape(n); err != nil {
			return "", err
		}
	} else {
		if n > len(r.data)-r.at {
			return "", r.fail("the length before it is wrong")
		}
		text = r.data[r.at : r.at+n]
		r.at += n
	}
	return text, r.expect(`"` + end)
}

func (r *phpReader) unescape(n int) (string, error) {
	var b strings.Builder
	for range n {
		if r.at >= len(r.data) {
			return "", r.fail("it ends too early")
		}
		c := r.data[r.at]
		r.at++
		if c == '\\' {
			if len(r.data)-r.at < 2 {
				return "", r.fail("it ends too early")
			}
			code, err := strconv.ParseUint(r.data[r.at:r.at+2], 16, 8)
			if err != nil {
				return "", r.fail("want two hexadecimal digits")
			}
			c = byte(code)
			r.at += 2
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// array reads an array: a list where its keys are 0, 1, 2 and so on.
func (r *phpReader) array(depth int) (any, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	// a reference to the array that is being read finds it, as an object
	o := &object{}
	slot := len(r.slots)
	r.slot(o)
	isList, err := r.members(o, n, depth)
	if err != nil || !isList {
		return o, err
	}
	l := &list{items: make([]any, len(o.members))}
	for i, m := range o.members {
		l.items[i] = m.value
	}
	r.slots[slot] = l
	return l, nil
}

func (r *phpReader) object(depth int) (any, error) {
	if _, err := r.text(false, ":"); err != nil { // its class
		return nil, err
	}
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	o := &object{}
	r.slot(o)
	_, err = r.members(o, n, depth)
	for i := range o.members {
		// "\0Class\0name" and "\0*\0name" are private and protected
		if name := o.members[i].name; strings.HasPrefix(name, "\x00") {
			o.members[i].name = name[strings.LastIndexByte(name, 0)+1:]
		}
	}
	return o, err
}

// members reads n keys and values into an object, and reports whether they form
// a list.
func (r *phpReader) members(o *object, n, depth int) (isList bool, err error) {
	if err := r.expect("{"); err != nil {
		return false, err
	}
	isList = true
	for i := range n {
		name, index, err := r.key()
		if err != nil {
			return false, err
		}
		isList = isList && index == i
		value, err := r.value(depth + 1)
		if err != nil {
			return false, err
		}
		o.add(name, value)
	}
	return isList, r.expect("}")
}

// key reads the key of a member; index is -1 unless it is a number that a list
// may have.
func (r *phpReader) key() (name string, index int, err error) {
	switch {
	case strings.HasPrefix(r.data[r.at:], "i:"):
		r.at += 2
		text, err := r.until(';')
		if err != nil {
			return "", 0, err
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", 0, r.fail("the number before it is not valid")
		}
		if n < 0 || n > MaxValues {
			return strconv.FormatInt(n, 10), -1, nil
		}
		return strconv.FormatInt(n, 10), int(n), nil
	case strings.HasPrefix(r.data[r.at:], "s:"), strings.HasPrefix(r.data[r.at:], "S:"):
		escaped := r.data[r.at] == 'S'
		r.at += 2
		name, err := r.text(escaped, ";")
		return name, -1, err
	}
	return "", 0, r.fail("want a key")
}

// custom skips what a class serialized in a format of its own, which only PHP
// with that class can read.
func (r *phpReader) custom() (any, error) {
	if _, err := r.text(false, ":"); err != nil { // its class
		return nil, err
	}
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	if err := r.expect("{"); err != nil {
		return nil, err
	}
	if n > len(r.data)-r.at {
		return nil, r.fail("the length before it is wrong")
	}
	r.at += n
	r.slot(nil)
	if !r.uncertain {
		r.certain, r.uncertain = len(r.slots), true
	}
	return nil, r.expect("}")
}

// reference reads a reference to a slot. A reference to an object gets a slot
// of its own. One to an uncertain slot becomes null.
func (r *phpReader) reference(own bool) (any, error) {
	text, err := r.until(';')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(text)
	isUncertain := r.uncertain && n > r.certain
	if err != nil || n < 1 || n > len(r.slots) && !isUncertain {
		return nil, r.fail("the reference before it refers to no value")
	}
	var v any
	if !isUncertain {
		v = r.slots[n-1]
	}
	if own {
		r.slot(v)
	}
	return v, nil
}
