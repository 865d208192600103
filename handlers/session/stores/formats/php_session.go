// The formats in which PHP writes a session, session.serialize_handler. That of
// php_serialize is one serialized array.

package formats

import (
	"errors"
	"strings"
)

// PHPSession converts the variables that session.serialize_handler php wrote to
// JSON: name|value, one after the other. As in every PHP since 7.0.10, a '!' in
// front of a name is a part of it.
func PHPSession(data string) (string, error) {
	r := &phpReader{data: data}
	o := &object{}
	for r.at < len(data) {
		end := strings.IndexByte(data[r.at:], '|')
		if end < 0 {
			return "", r.fail("want the name of a variable and '|'")
		}
		name := data[r.at : r.at+end]
		r.at += end + 1
		value, err := r.value(1)
		if err != nil {
			return "", err
		}
		o.add(name, value)
	}
	return toJSON(o, len(data))
}

// PHPBinary converts the variables that session.serialize_handler php_binary wrote
// to JSON: the length of a name in one byte, the name, and its value.
func PHPBinary(data string) (string, error) {
	r := &phpReader{data: data}
	o := &object{}
	for r.at < len(data) {
		length := int(data[r.at] &^ 0x80) // PHP ignores the highest bit
		r.at++
		if length >= len(data)-r.at {
			return "", r.fail("the length before it is wrong")
		}
		name := data[r.at : r.at+length]
		r.at += length
		value, err := r.value(1)
		if err != nil {
			return "", err
		}
		o.add(name, value)
	}
	return toJSON(o, len(data))
}

var errPHPFormats = errors.New("value can be read in several formats of PHP: " +
	"name the session.serialize_handler, like: format php")

// PHPGuessed converts a session in the one format in which it can be read. Visitors
// write parts of a session, and could make it readable in another format, with
// other variables, so a value that can be read in several is an error. A value that
// exceeds a bound in a format could be read in it.
func PHPGuessed(data string) (text string, err error) {
	var broken error
	found := false
	for _, read := range []func(string) (string, error){PHPSession, PHP, PHPBinary} {
		asFormat, inFormat := read(data)
		switch {
		case errors.Is(inFormat, errPHP) || errors.Is(inFormat, errNoMap):
			if broken == nil || strings.HasPrefix(data, "a:") && !found {
				broken = inFormat
			}
			continue
		case found:
			return "", errPHPFormats
		}
		found, text, err = true, asFormat, inFormat
	}
	if !found {
		return "", broken
	}
	return text, err
}
