package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	ogorek "github.com/kisielk/og-rek"
)

var errPickle = errors.New("value is not a pickle that can be read safely")

// Pickle converts a dict that Python's pickle wrote, in any protocol, to JSON.
// Tuples and sets become arrays, dates and times ISO 8601, a timedelta its
// seconds, a Decimal a string. Objects of any other class are refused: they are
// calls, and nothing is called here.
func Pickle(data string) (text string, err error) {
	checked, err := scanPickle(data)
	if err != nil {
		return "", err
	}
	defer func() {
		// the scan refuses what makes the library panic; recover covers what it
		// misses
		if recover() != nil {
			text, err = "", errPickle
		}
	}()
	decoder := ogorek.NewDecoderWithConfig(strings.NewReader(checked), &ogorek.DecoderConfig{})
	v, err := decoder.Decode()
	if err != nil {
		return "", errPickle // the library's text may repeat the value
	}
	c := &pythonConverter{most: 4*len(data) + 16}
	converted, err := c.value(v, 0)
	if err != nil {
		return "", err
	}
	return toJSON(converted, len(data))
}

// pythonConverter converts values of og-rek to values of this package. It
// counts a value each time that it occurs, so that shared values cannot
// multiply.
type pythonConverter struct {
	counter
	most int
	open []uintptr // the dicts around the next value
}

func (c *pythonConverter) value(v any, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errDepth
	}
	if err := c.count(); err != nil {
		return nil, err
	}
	if c.values > c.most {
		return nil, errSize
	}
	switch v := v.(type) {
	case ogorek.None:
		return nil, nil
	case bool, int64, float64, string, *big.Int:
		return v, nil
	case ogorek.Bytes:
		return string(v), nil
	case []byte:
		return string(v), nil
	case []any:
		if len(v) == 2 && v[0] == (ogorek.Class{Module: "uuid", Name: "UUID"}) {
			return uuidText(v[1])
		}
		return c.list(v, depth)
	case ogorek.Tuple:
		return c.list(v, depth)
	case map[any]any:
		return c.dict(v, depth)
	case ogorek.Call:
		return c.call(v, depth)
	}
	return nil, fmt.Errorf("%w: it contains an object", errPickle)
}

func (c *pythonConverter) list(items []any, depth int) (any, error) {
	l := &list{items: make([]any, 0, len(items))}
	for _, item := range items {
		v, err := c.value(item, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	return l, nil
}

// dict reads a dict in the order of its names, because og-rek keeps no order.
// Where two keys have one name, the string wins.
func (c *pythonConverter) dict(m map[any]any, depth int) (any, error) {
	at := reflect.ValueOf(m).Pointer()
	if slices.Contains(c.open, at) { // it contains itself, as no JSON does
		return nil, nil
	}
	c.open = append(c.open, at)
	defer func() { c.open = c.open[:len(c.open)-1] }()
	o := &object{members: make([]member, 0, len(m))}
	for key, item := range m {
		name, err := pythonName(key)
		if err != nil {
			return nil, err
		}
		if _, text := key.(string); !text {
			if _, twice := m[name]; twice {
				continue
			}
		}
		v, err := c.value(item, depth+1)
		if err != nil {
			return nil, err
		}
		o.add(name, v)
	}
	sort.Slice(o.members, func(i, j int) bool { return o.members[i].name < o.members[j].name })
	return o, nil
}

// items reads a dict that is a list of its keys and values.
func (c *pythonConverter) items(items []any, depth int) (any, error) {
	o := &object{}
	for _, item := range items {
		pair, _ := item.([]any)
		if tuple, ok := item.(ogorek.Tuple); ok {
			pair = tuple
		}
		if len(pair) != 2 {
			return nil, fmt.Errorf("%w: OrderedDict has arguments that it does not take", errPickle)
		}
		name, err := pythonName(pair[0])
		if err != nil {
			return nil, err
		}
		v, err := c.value(pair[1], depth+1)
		if err != nil {
			return nil, err
		}
		o.add(name, v)
	}
	return o, nil
}

// pythonName is a key of a dict as the name of a member.
func pythonName(key any) (string, error) {
	switch k := key.(type) {
	case ogorek.None:
		key = nil
	case ogorek.Bytes:
		key = string(k)
	}
	name, ok := nameOf(key)
	if !ok {
		return "", fmt.Errorf("%w: the key of a dict is neither text nor a number", errPickle)
	}
	return name, nil
}

// call reads an object of a harmless class from the arguments of its call.
func (c *pythonConverter) call(v ogorek.Call, depth int) (any, error) {
	arg := func(i int) any {
		if i < len(v.Args) {
			return v.Args[i]
		}
		return nil
	}
	switch v.Callable.Name {
	case "set", "frozenset":
		if items, ok := arg(0).([]any); ok {
			return c.list(items, depth)
		}
		if len(v.Args) == 0 {
			return &list{}, nil
		}
	case "OrderedDict":
		if items, ok := arg(0).([]any); ok {
			return c.items(items, depth)
		}
	case "Counter":
		if counts, ok := arg(0).(map[any]any); ok {
			return c.dict(counts, depth)
		}
	case "SafeString", "SafeText", "Markup":
		if text, ok := arg(0).(string); ok {
			return text, nil
		}
	case "timezone", "_UTC", "_p", "ZoneInfo": // a zone on its own
		name, _ := arg(0).(string)
		return name, nil
	case "Decimal":
		if text, ok := arg(0).(string); ok {
			return text, nil
		}
	case "datetime", "date", "time":
		if text, ok := isoTime(v.Callable.Name, packed(arg(0)), arg(1)); ok {
			return text, nil
		}
	case "timedelta":
		if d, ok := seconds(v); ok {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%w: the arguments of %s are not valid", errPickle, v.Callable.Name)
}

// uuidText is a UUID in its usual form, from the state of its object.
func uuidText(state any) (any, error) {
	fields, _ := state.(map[any]any)
	var number big.Int
	switch n := fields["int"].(type) {
	case int64:
		number.SetInt64(n)
	case *big.Int:
		number.Set(n)
	default:
		return nil, fmt.Errorf("%w: UUID has a state that it does not take", errPickle)
	}
	if number.Sign() < 0 || number.BitLen() > 128 {
		return nil, fmt.Errorf("%w: UUID has a state that it does not take", errPickle)
	}
	b := number.FillBytes(make([]byte, 16))
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// packed returns the bytes in which Python packs dates and times.
func packed(v any) string {
	switch v := v.(type) {
	case ogorek.Bytes:
		return string(v)
	case string: // written by Python 2
		return v
	}
	return ""
}

// isoTime unpacks a date or time, and the offset of its zone, if it has one.
func isoTime(class, b string, zone any) (string, bool) {
	year, month, day := 1, 1, 1
	switch class {
	case "datetime", "date":
		if len(b) < 4 {
			return "", false
		}
		year, month, day = int(binary.BigEndian.Uint16([]byte(b))), int(b[2]&0x7f), int(b[3])
		b = b[4:]
	}
	if class == "date" {
		if b != "" || zone != nil {
			return "", false
		}
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), true
	}
	if len(b) != 6 {
		return "", false
	}
	micros := int(b[3])<<16 | int(b[4])<<8 | int(b[5])
	layout, location := "2006-01-02T15:04:05.999999", time.UTC
	if zone != nil {
		offset, known, ok := zoneOffset(zone)
		if !ok {
			return "", false
		}
		if known {
			layout, location = time.RFC3339Nano, time.FixedZone("", offset)
		}
	}
	if class == "time" {
		layout = layout[len("2006-01-02T"):]
	}
	at := time.Date(year, time.Month(month), day, int(b[0]&0x7f), int(b[1]), int(b[2]), micros*1000, location)
	return at.Format(layout), true
}

// zoneOffset is the offset of a zone in seconds. known is false for a zone of
// zoneinfo or pytz that has only a name: it would take a database to know its offset.
func zoneOffset(zone any) (offset int, known, ok bool) {
	call, ok := zone.(ogorek.Call)
	if !ok {
		return 0, false, false
	}
	switch args := call.Args; call.Callable.Name {
	case "ZoneInfo":
		return 0, false, true
	case "_UTC":
		return 0, true, true
	case "_p": // its name, offset, daylight saving time, and abbreviation
		if len(args) == 4 {
			if s, is := args[1].(int64); is {
				return boundedOffset(float64(s))
			}
		}
		return 0, false, true
	case "timezone":
		if len(args) == 0 {
			return 0, false, false
		}
		if delta, is := args[0].(ogorek.Call); is && delta.Callable.Name == "timedelta" {
			if s, is := seconds(delta); is {
				return boundedOffset(s)
			}
		}
	}
	return 0, false, false
}

func boundedOffset(seconds float64) (offset int, known, ok bool) {
	const day = 86400
	if seconds <= -day || seconds >= day {
		return 0, false, false
	}
	return int(seconds), true, true
}

// seconds is the length of timedelta(days, seconds, microseconds).
func seconds(call ogorek.Call) (float64, bool) {
	if len(call.Args) != 3 {
		return 0, false
	}
	var parts [3]float64
	for i, part := range call.Args {
		switch n := part.(type) {
		case int64:
			parts[i] = float64(n)
		case *big.Int: // as old protocols write every number
			parts[i], _ = n.Float64()
		default:
			return 0, false
		}
	}
	return parts[0]*86400 + parts[1] + parts[2]/1e6, true
}
