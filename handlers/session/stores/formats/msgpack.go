package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

var errMsgpack = errors.New("value is not valid msgpack")

// Msgpack converts a map in msgpack to JSON. Timestamps become RFC 3339, other
// extensions null.
//
// It walks the value itself and lets the library read single items: the
// library's decoding of whole values does not bound their depth, and allocates
// by a length before the data is there.
func Msgpack(data string) (string, error) {
	r := &msgpackReader{source: bytes.NewReader([]byte(data))}
	r.decoder = msgpack.NewDecoder(r.source)
	v, err := r.value(0)
	if err != nil {
		return "", err
	}
	if r.source.Len() > 0 {
		return "", fmt.Errorf("%w: there is more after its end", errMsgpack)
	}
	return toJSON(v, len(data))
}

type msgpackReader struct {
	counter
	source  *bytes.Reader // the decoder reads it without another buffer
	decoder *msgpack.Decoder
}

func (r *msgpackReader) value(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errDepth
	}
	if err := r.count(); err != nil {
		return nil, err
	}
	code, err := r.decoder.PeekCode()
	if err != nil {
		return nil, errMsgpack
	}
	switch {
	case code == msgpcode.Nil:
		err = r.decoder.DecodeNil()
		return nil, r.wrap(err)
	case code == msgpcode.True, code == msgpcode.False:
		v, err := r.decoder.DecodeBool()
		return v, r.wrap(err)
	case code == msgpcode.Float, code == msgpcode.Double:
		v, err := r.decoder.DecodeFloat64()
		return v, r.wrap(err)
	case code == msgpcode.Uint64:
		v, err := r.decoder.DecodeUint64()
		return v, r.wrap(err)
	case msgpcode.IsFixedNum(code), code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		v, err := r.decoder.DecodeInt64()
		return v, r.wrap(err)
	case msgpcode.IsString(code), msgpcode.IsBin(code):
		return r.string()
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return r.object(depth)
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return r.list(depth)
	case msgpcode.IsExt(code):
		return r.extension()
	}
	return nil, errMsgpack
}

// wrap reports a broken item without the library's text, which may repeat the
// data.
func (r *msgpackReader) wrap(err error) error {
	if err != nil {
		return errMsgpack
	}
	return nil
}

func (r *msgpackReader) string() (any, error) {
	n, err := r.decoder.DecodeBytesLen()
	if err != nil {
		return nil, errMsgpack
	}
	text, err := r.bytes(n)
	return string(text), err
}

// bytes reads n bytes, or fails where fewer are left.
func (r *msgpackReader) bytes(n int) ([]byte, error) {
	if n < 0 || n > r.source.Len() {
		return nil, errMsgpack
	}
	b := make([]byte, n)
	return b, r.wrap(r.decoder.ReadFull(b))
}

func (r *msgpackReader) list(depth int) (any, error) {
	n, err := r.decoder.DecodeArrayLen()
	if err != nil || n > r.source.Len() {
		return nil, errMsgpack
	}
	l := &list{}
	for range n {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, item)
	}
	return l, nil
}

func (r *msgpackReader) object(depth int) (any, error) {
	n, err := r.decoder.DecodeMapLen()
	if err != nil || n > r.source.Len()/2 {
		return nil, errMsgpack
	}
	o := &object{}
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
	return o, nil
}

// nameOf is a key as the name of a member, written as JSON of Python and
// JavaScript write it. ok is false for a key that cannot be a name, such as a
// list: its member is left out.
func nameOf(key any) (name string, ok bool) {
	switch key := key.(type) {
	case string:
		return key, true
	case int64:
		return strconv.FormatInt(key, 10), true
	case uint64:
		return strconv.FormatUint(key, 10), true
	case *big.Int:
		return key.String(), true
	case bool:
		return strconv.FormatBool(key), true
	case float64:
		return strconv.FormatFloat(key, 'g', -1, 64), true
	case nil:
		return "null", true
	}
	return "", false
}

// timestamp is msgpack's extension type for points in time.
const timestamp = -1

func (r *msgpackReader) extension() (any, error) {
	id, n, err := r.decoder.DecodeExtHeader()
	if err != nil {
		return nil, errMsgpack
	}
	data, err := r.bytes(n)
	if err != nil || id != timestamp {
		return nil, err
	}
	var seconds int64
	var nanos uint32
	switch n {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(data))
	case 8:
		both := binary.BigEndian.Uint64(data)
		seconds, nanos = int64(both&(1<<34-1)), uint32(both>>34)
	case 12:
		seconds, nanos = int64(binary.BigEndian.Uint64(data[4:])), binary.BigEndian.Uint32(data)
	default:
		return nil, errMsgpack
	}
	return rfc3339(seconds, int64(nanos)), nil
}

// rfc3339 is a point in time as text, or nil outside of the years 1 to 9999.
func rfc3339(seconds, nanos int64) any {
	const first, last = -62135596800, 253402300799 // years 1 and 9999
	if seconds < first || seconds > last || nanos < 0 || nanos > math.MaxUint32 {
		return nil
	}
	return time.Unix(seconds, nanos).UTC().Format(time.RFC3339Nano)
}
