// Reports of writes, as they arrive on the connection of a tracker. With many
// writers and many nodes, most reports name keys of which this node has no copy,
// so they are decoded into buffers that are used again, and long ones in parts.

package redis

import "bufio"

const (
	// A part of a report ends after this many keys or bytes of keys.
	pushKeys  = 256
	pushBytes = 4 << 10
	// pushBufferMax is the size of a buffer that is used again.
	pushBufferMax = 64 << 10
)

// pushReader reads the pushes of a server.
type pushReader struct {
	reader *bufio.Reader
	// written is called with the keys that were written, or with nil for all keys.
	// It must not retain the slice.
	written func(keys []string)

	count int // of pushes

	text []byte // the keys of a part, one behind the other
	ends []int  // of the keys in text
	keys []string
}

// read reads a push, whose first byte was peeked at. Of ["invalidate", [key, …]]
// it reports the keys, and all keys where null, or anything else, is in their
// place. Other pushes are skipped.
func (p *pushReader) read() error {
	p.count++
	n, err := p.size()
	if err != nil || n < 1 {
		return err
	}
	isName, err := p.string()
	if err != nil {
		return err
	}
	isReport := isName && string(p.text) == "invalidate"
	p.text = p.text[:0]
	if n--; isReport {
		if n > 0 {
			n--
			err = p.report()
		} else {
			p.written(nil)
		}
	}
	for ; n > 0 && err == nil; n-- {
		_, err = readNested(p.reader, 1)
	}
	return err
}

// report reads the keys of a report.
func (p *pushReader) report() error {
	kind, err := p.kind()
	if err != nil {
		return err
	}
	if kind != '*' {
		if _, err := readNested(p.reader, 1); err != nil {
			return err
		}
		p.written(nil)
		return nil
	}
	n, err := p.size()
	if err != nil {
		return err
	}
	if n < 0 {
		p.written(nil)
	}
	for ; n > 0; n-- {
		ok, err := p.string()
		switch {
		case err != nil:
			return err
		case !ok:
			p.written(nil)
			continue
		}
		if p.ends = append(p.ends, len(p.text)); len(p.ends) >= pushKeys || len(p.text) >= pushBytes {
			p.part()
		}
	}
	p.part()
	return nil
}

// part reports the keys that were read. They share one allocation.
func (p *pushReader) part() {
	if len(p.ends) == 0 {
		return
	}
	text, begin := string(p.text), 0
	for _, end := range p.ends {
		p.keys = append(p.keys, text[begin:end])
		begin = end
	}
	p.written(p.keys)
	clear(p.keys)
	p.text, p.ends, p.keys = p.text[:0], p.ends[:0], p.keys[:0]
	if cap(p.text) > pushBufferMax {
		p.text = nil
	}
}

// kind is the first byte of what comes next.
func (p *pushReader) kind() (byte, error) {
	first, err := p.reader.Peek(1)
	if err != nil {
		return 0, err
	}
	return first[0], nil
}

// size reads the first line of what has a size.
func (p *pushReader) size() (int, error) {
	line, err := readLine(p.reader)
	if err != nil {
		return 0, err
	}
	return parseSize(line[1:])
}

// string appends a string to p.text. ok is false for anything else, which is
// skipped.
func (p *pushReader) string() (ok bool, err error) {
	kind, err := p.kind()
	if err != nil {
		return false, err
	}
	switch kind {
	case '+':
		line, err := readLine(p.reader)
		if err != nil {
			return false, err
		}
		p.text = append(p.text, line[1:]...)
		return true, nil
	case '$':
		n, err := p.size()
		if err != nil || n < 0 {
			return false, err
		}
		return true, p.bulk(n)
	}
	_, err = readNested(p.reader, 2)
	return false, err
}

// bulk appends n bytes and skips the end of the line behind them. The buffer
// grows with what arrives, not with what is announced.
func (p *pushReader) bulk(n int) error {
	for n > 0 {
		some, err := p.reader.Peek(min(n, p.reader.Size()))
		if err != nil {
			return err
		}
		p.text = append(p.text, some...)
		n -= len(some)
		_, _ = p.reader.Discard(len(some)) // it is buffered
	}
	end, err := p.reader.Peek(2)
	if err != nil {
		return err
	}
	if end[0] != '\r' || end[1] != '\n' {
		return errMalformed
	}
	_, err = p.reader.Discard(2)
	return err
}
