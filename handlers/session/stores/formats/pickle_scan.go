// Checks a pickle before og-rek reads it.
//
// A pickle is a program for a machine with a stack and a memo. og-rek runs it
// without bounds, and misreads some of what Python writes: a list that is
// referred to twice (it remembers the list while it was still empty), the sets
// of protocol 4, and long numbers. So the pickle is first run here, with only
// the kinds of values on the stack. What is not plain data is refused, what
// og-rek would misread is rewritten, and the rest costs og-rek no more than its
// length.

package formats

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// kind of a value on the stack, as far as the scan needs it.
type kind uint8

const (
	kindOther kind = iota
	kindMark
	kindList // slot.at is where it is in the memo, or -1
	kindDict
	kindText // data[slot.at:slot.end]
	kindClass
	kindTuple
	kindEmptyTuple
	kindObject // an object that is rewritten as a list: its class, and its state
	// classes
	kindOrderedDict
	kindDefaultDict
	kindUUID
	kindSafeString
	kindZone
	kindMethodOf   // of a class: getattr
	kindZoneTuple  // a tuple of the class of zones and the name of a method
	kindZoneMethod // what getattr makes of that
)

// grows reports whether og-rek's memo has the value as it was before it was filled.
func (k kind) grows() bool { return k == kindList || k == kindObject }

type slot struct {
	kind    kind
	at, end int
}

// maxInstructions bounds the instructions of a pickle: a value takes one to
// three.
const maxInstructions = 4 * MaxValues

type pickleScan struct {
	data  string
	at    int
	out   []byte
	stack []slot
	memo  map[int]slot
	// read are the lists that were read from the memo. They are complete: only
	// a list that contains itself would grow later.
	read map[int]bool
}

// scanPickle returns an equivalent pickle that is safe to read.
func scanPickle(data string) (string, error) {
	s := &pickleScan{data: data, memo: make(map[int]slot), read: make(map[int]bool)}
	s.out = make([]byte, 0, len(data)+len(data)/8)
	for instructions := 0; ; instructions++ {
		if instructions > maxInstructions {
			return "", errValues
		}
		start := s.at
		op, err := s.take(1)
		if err != nil {
			return "", err
		}
		if op == "." {
			break
		}
		if err := s.run(op[0], start); err != nil {
			return "", err
		}
	}
	if len(s.stack) != 1 || s.at != len(data) {
		return "", s.fail("want one value and nothing after it")
	}
	s.out = append(s.out, '.')
	return string(s.out), nil
}

func (s *pickleScan) fail(reason string) error {
	return fmt.Errorf("%w: at byte %d, %s", errPickle, s.at, reason)
}

func (s *pickleScan) take(n int) (string, error) {
	if n < 0 || n > len(s.data)-s.at {
		return "", s.fail("it ends too early")
	}
	s.at += n
	return s.data[s.at-n : s.at], nil
}

// line takes a line of at most n bytes.
func (s *pickleScan) line(n int) (string, error) {
	end := strings.IndexByte(s.data[s.at:], '\n')
	if end < 0 || end > n {
		return "", s.fail("want a shorter line")
	}
	text, err := s.take(end + 1)
	return strings.TrimSuffix(text, "\n"), err
}

// counted takes data that follows its own length of so many bytes.
func (s *pickleScan) counted(lengthBytes int) (start, end int, err error) {
	b, err := s.take(lengthBytes)
	if err != nil {
		return 0, 0, err
	}
	var little [8]byte
	copy(little[:], b)
	n := binary.LittleEndian.Uint64(little[:])
	if n > uint64(len(s.data)-s.at) {
		return 0, 0, s.fail("it ends too early")
	}
	start = s.at
	s.at += int(n)
	return start, s.at, nil
}

func (s *pickleScan) push(v slot) { s.stack = append(s.stack, v) }

// pop takes n values from the stack, none of which may be a mark.
func (s *pickleScan) pop(n int) error {
	if len(s.stack) < n {
		return s.fail("the stack is empty")
	}
	for _, v := range s.stack[len(s.stack)-n:] {
		if v.kind == kindMark {
			return s.fail("a mark is no value")
		}
	}
	s.stack = s.stack[:len(s.stack)-n]
	return nil
}

// popMark takes all values down to a mark, and the mark.
func (s *pickleScan) popMark() (n int, err error) {
	for i := len(s.stack) - 1; i >= 0; i-- {
		if s.stack[i].kind == kindMark {
			n = len(s.stack) - 1 - i
			s.stack = s.stack[:i]
			return n, nil
		}
	}
	return 0, s.fail("there is no mark")
}

// popItems takes the keys and values of a dict down to a mark, and the mark.
func (s *pickleScan) popItems() error {
	n, err := s.popMark()
	if err != nil {
		return err
	}
	return s.checkItems(s.stack[len(s.stack)+1 : len(s.stack)+1+n])
}

// checkItems refuses keys that og-rek cannot store.
func (s *pickleScan) checkItems(items []slot) error {
	if len(items)%2 != 0 {
		return s.fail("a dict has a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		switch items[i].kind {
		case kindOther, kindText:
		default:
			return s.fail("a dict has a key that is neither text nor a number")
		}
	}
	return nil
}

// the longest lines with numbers: decimal integers take long to convert
const (
	integerLine = 400
	floatLine   = 100
)

// run runs an instruction, which begins at start and whose argument is next, and appends
// it to the output, copied or rewritten.
func (s *pickleScan) run(op byte, start int) error {
	if known, err := s.runRewritten(op); known {
		return err
	}
	v, known, err := s.scalar(op)
	if !known {
		v, known, err = s.container(op)
	}
	if known && err == nil {
		s.push(v)
	}
	if !known {
		known, err = s.runCopied(op)
	}
	switch {
	case !known:
		s.at--
		return s.fail("there is an instruction that is not one of plain data")
	case err == nil:
		s.out = append(s.out, s.data[start:s.at]...)
	}
	return err
}

// scalar runs the instructions that push None, a truth value, a number or a text.
func (s *pickleScan) scalar(op byte) (v slot, known bool, err error) {
	switch op {
	case 'N', '\x88', '\x89': // NONE, NEWTRUE, NEWFALSE
	case 'K': // BININT1
		_, err = s.take(1)
	case 'M': // BININT2
		_, err = s.take(2)
	case 'J': // BININT
		_, err = s.take(4)
	case 'G': // BINFLOAT
		_, err = s.take(8)
	case 'I', 'L': // INT, LONG
		_, err = s.line(integerLine)
	case 'F': // FLOAT
		_, err = s.line(floatLine)
	case '\x8a': // LONG1
		start, end, lengthErr := s.counted(1)
		if err = lengthErr; err == nil && end-start > 127 {
			err = s.fail("there is a number that is too long")
		}
	case 'S', 'V': // STRING, UNICODE
		_, err = s.line(len(s.data))
	case '\x8c': // SHORT_BINUNICODE
		v.kind = kindText
		v.at, v.end, err = s.counted(1)
	case 'X': // BINUNICODE
		v.kind = kindText
		v.at, v.end, err = s.counted(4)
	case 'U', 'C': // SHORT_BINSTRING, SHORT_BINBYTES
		_, _, err = s.counted(1)
	case 'T', 'B': // BINSTRING, BINBYTES
		_, _, err = s.counted(4)
	case '\x96': // BYTEARRAY8
		_, _, err = s.counted(8)
	default:
		return slot{}, false, nil
	}
	return v, true, err
}

// container runs the instructions that push a tuple, an empty list, a dict, or a class.
func (s *pickleScan) container(op byte) (v slot, known bool, err error) {
	switch op {
	case ')': // EMPTY_TUPLE
		v.kind = kindEmptyTuple
	case '\x85', '\x86', '\x87': // TUPLE1 to TUPLE3
		n := int(op - '\x84')
		if err = s.pop(n); err == nil {
			v.kind = tupleOf(s.stack[len(s.stack) : len(s.stack)+n])
		}
	case 't': // TUPLE
		var n int
		if n, err = s.popMark(); err == nil {
			v.kind = tupleOf(s.stack[len(s.stack)+1 : len(s.stack)+1+n])
		}
	case ']': // EMPTY_LIST
		v = slot{kind: kindList, at: -1}
	case '}': // EMPTY_DICT
		v.kind = kindDict
	case 'd': // DICT
		v.kind = kindDict
		err = s.popItems()
	case 'c', '\x93': // GLOBAL, STACK_GLOBAL
		v.kind, err = s.class(op)
	default:
		return slot{}, false, nil
	}
	return v, true, err
}

// runCopied runs the other instructions that are copied: those of the protocol, the mark,
// those that fill a dict, and those of the memo.
func (s *pickleScan) runCopied(op byte) (known bool, err error) {
	switch op {
	case '\x80': // PROTO
		_, err = s.take(1)
	case '\x95': // FRAME
		_, err = s.take(8)
	case '(': // MARK
		s.push(slot{kind: kindMark})
	case 's': // SETITEM
		if err = s.pop(2); err == nil {
			err = s.checkItems(s.stack[len(s.stack) : len(s.stack)+2])
		}
		err = s.wantTop(err, kindDict)
	case 'u': // SETITEMS
		err = s.wantTop(s.popItems(), kindDict)
	default:
		return s.runMemo(op)
	}
	return true, err
}

// runRewritten runs the instructions that are rewritten for og-rek: those of objects,
// and those that make and fill lists and sets.
func (s *pickleScan) runRewritten(op byte) (known bool, err error) {
	switch op {
	case 'R': // REDUCE
		return true, s.reduce()
	case '\x81': // NEWOBJ
		return true, s.newObject()
	case 'b': // BUILD
		err := s.wantTop(s.pop(1), kindObject)
		return true, s.filled(err, 'a')
	}
	return s.runList(op)
}

// wantTop requires a value of that kind on top of the stack.
func (s *pickleScan) wantTop(err error, kind kind) error {
	if err == nil && (len(s.stack) == 0 || s.stack[len(s.stack)-1].kind != kind) {
		err = s.fail("an item is added to a value that is no list or dict")
	}
	return err
}

// runList runs the instructions that make and fill lists and sets. Sets become
// lists, because og-rek does not know the instructions of sets.
func (s *pickleScan) runList(op byte) (known bool, err error) {
	switch op {
	case '\x8f': // EMPTY_SET
		s.push(slot{kind: kindList, at: -1})
		s.out = append(s.out, ']')
		return true, nil
	case 'l', '\x91': // LIST, FROZENSET
		if _, err := s.popMark(); err != nil {
			return true, err
		}
		s.push(slot{kind: kindList, at: -1})
		s.out = append(s.out, 'l')
		return true, nil
	case 'a': // APPEND
		err = s.pop(1)
	case 'e', '\x90': // APPENDS, ADDITEMS
		op = 'e'
		_, err = s.popMark()
	default:
		return false, nil
	}
	return true, s.filled(s.wantTop(err, kindList), op)
}

// filled writes an instruction that adds to the list on top of the stack.
func (s *pickleScan) filled(err error, op byte) error {
	if err != nil {
		return err
	}
	s.out = append(s.out, op)
	if at := s.stack[len(s.stack)-1].at; at >= 0 {
		if s.read[at] {
			return s.fail("a list contains itself")
		}
		// og-rek's memo has the list as it was: store the list again
		s.out = binary.LittleEndian.AppendUint32(append(s.out, 'r'), uint32(at))
	}
	return nil
}

// runMemo runs the instructions of the memo.
func (s *pickleScan) runMemo(op byte) (known bool, err error) {
	var index int
	switch op {
	case '\x94': // MEMOIZE
		index = len(s.memo)
	case 'q', 'h': // BINPUT, BINGET
		b, err := s.take(1)
		if err != nil {
			return true, err
		}
		index = int(b[0])
	case 'r', 'j': // LONG_BINPUT, LONG_BINGET
		b, err := s.take(4)
		if err != nil {
			return true, err
		}
		index = int(binary.LittleEndian.Uint32([]byte(b)))
	case 'p', 'g': // PUT, GET
		text, err := s.line(integerLine)
		if err != nil {
			return true, err
		}
		if index, err = strconv.Atoi(text); err != nil || strconv.Itoa(index) != text {
			return true, s.fail("the number of a memo is not valid")
		}
	default:
		return false, nil
	}
	switch op {
	case 'h', 'j', 'g':
		v, ok := s.memo[index]
		if !ok {
			return true, s.fail("the memo has no such value")
		}
		if v.kind.grows() {
			s.read[index] = true
		}
		s.push(v)
	default:
		if err := s.memoize(index); err != nil {
			return true, err
		}
	}
	return true, nil
}

func (s *pickleScan) memoize(index int) error {
	if len(s.stack) == 0 {
		return s.fail("the stack is empty")
	}
	if index < 0 || index > 1<<31-1 {
		return s.fail("the number of a memo is too large")
	}
	top := &s.stack[len(s.stack)-1]
	switch {
	case top.kind == kindMark:
		return s.fail("a mark is no value")
	case top.kind.grows() && top.at >= 0:
		return s.fail("a list is remembered twice")
	case top.kind.grows():
		if _, taken := s.memo[index]; taken {
			return s.fail("the memo has another value there")
		}
		top.at = index
	}
	if old, taken := s.memo[index]; taken && old.kind.grows() {
		return s.fail("the memo has another value there")
	}
	s.memo[index] = *top
	return nil
}
