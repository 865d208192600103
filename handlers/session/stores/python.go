// The formats that Python applications may use.

package stores

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores/formats"
)

var errPython = errors.New("value is none of JSON, msgpack and a pickle, plain or compressed by zlib")

// readPython reads a session in the format that its first bytes show.
func readPython(raw cache.Raw) (Session, error) {
	if raw.Fields != nil {
		return Session{}, errNoString
	}
	text := raw.Text
	if isZlib(text) {
		var err error
		if text, err = inflate(text); err != nil {
			return Session{}, err
		}
	}
	if text == "" {
		return Session{}, errPython
	}
	var json string
	var err error
	switch c := text[0]; {
	case c == '{':
		return readJSON(cache.Raw{Text: formats.PythonJSON(text)})
	case isPickle(text):
		json, err = formats.Pickle(text)
	case c >= 0x80 && c <= 0x8f, c == 0xde, c == 0xdf: // a map
		json, err = formats.Msgpack(text)
	default:
		err = errPython
	}
	return Session{JSON: json}, err
}

// isPickle reports whether a text is a pickle and not msgpack, in which 0x80 is
// an empty map: it begins with a protocol or, in old protocols, with a dict.
func isPickle(text string) bool {
	switch {
	case text[0] == 0x80:
		return len(text) > 1
	case text[0] == '(', text[0] == '}', strings.HasPrefix(text, "c"):
		return text[len(text)-1] == '.'
	}
	return false
}

// isZlib reports whether a text has a zlib header, which is a multiple of 31.
func isZlib(text string) bool {
	return len(text) > 2 && text[0] == 0x78 && (int(text[0])<<8|int(text[1]))%31 == 0
}

var errInflate = errors.New("value is not what zlib writes, or much larger than it is stored")

// inflate decompresses a value to at most 32 times its size, or 64 KiB.
func inflate(text string) (string, error) {
	most := min(cache.DefaultMaxValueSize, max(32*len(text), 64<<10))
	r, err := zlib.NewReader(strings.NewReader(text))
	if err != nil {
		return "", errInflate
	}
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(r, int64(most)+1)); err != nil || n > int64(most) {
		return "", errInflate
	}
	return b.String(), nil
}
