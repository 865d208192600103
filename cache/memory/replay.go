// How journals are read: when a store begins, after the file that they belong to.

package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// journals returns the numbers of the journals beside a file, in ascending
// order.
func journals(dir directory, name string) (numbers []uint64, err error) {
	files, err := dir.names()
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if rest, ok := strings.CutPrefix(file, name+journalInfix); ok {
			if number, err := strconv.ParseUint(rest, 10, 64); err == nil {
				numbers = append(numbers, number)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// replay repeats the changes in the journals of a file and returns their
// number.
func (s *Store) replay(ctx context.Context, f *file, at savedAt, numbers []uint64) (changed int64, err error) {
	if at.Journal == 0 {
		return 0, nil
	}
	s.journal.numbered.Store(at.Change)
	keys := make(map[string]change) // the latest change of each
	var prefixes []change
	for _, number := range numbers {
		if number < at.Journal {
			continue // of a save before this one
		}
		err := readJournal(ctx, f.dir, f.name+journalInfix+strconv.FormatUint(number, 10), number, func(c change) {
			if c.Number <= at.Change {
				return // the journal has it late: the save has it already
			}
			changed++
			s.journal.numbered.Store(max(s.journal.numbered.Load(), c.Number))
			switch c.Kind {
			case keyDropped, keySet:
				if before, ok := keys[string(c.Name)]; !ok || c.Number > before.Number {
					keys[string(c.Name)] = c
				}
			case tagDropped:
				s.tags.drop(string(c.Name))
			case prefixDropped:
				prefixes = append(prefixes, c)
			}
		})
		if err != nil {
			return changed, fmt.Errorf("reading journal %d: %w", number, err)
		}
	}
	s.dropPrefixes(prefixes)
	s.applyLatest(keys, prefixes)
	return changed, nil
}

// applyLatest applies the latest change of each key. dropped are the prefixes that were
// dropped: a record is stored only if it was set after that.
func (s *Store) applyLatest(keys map[string]change, dropped []change) {
	for key, c := range keys {
		s.remove(key)
		later := func(p change) bool { return p.Number > c.Number && strings.HasPrefix(key, string(p.Name)) }
		if c.Kind == keySet && c.Expires > time.Now().UnixNano() && !slices.ContainsFunc(dropped, later) {
			s.put(key, c.Value, c.Expires)
		}
	}
}

// dropPrefixes drops the records whose keys begin with one of the prefixes.
func (s *Store) dropPrefixes(dropped []change) {
	var prefixes []string
	for _, c := range dropped {
		prefixes = append(prefixes, string(c.Name))
	}
	slices.Sort(prefixes)
	// a prefix that begins with another one is covered by it
	prefixes = slices.CompactFunc(prefixes, func(a, b string) bool { return strings.HasPrefix(b, a) })
	if len(prefixes) == 0 {
		return
	}
	var keys []string
	for key := range s.records.All() {
		// only the last prefix that does not come after the key can match
		at, found := slices.BinarySearch(prefixes, key)
		if found || at > 0 && strings.HasPrefix(key, prefixes[at-1]) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		s.remove(key)
	}
}

// maxJournalLine is far longer than any line, in bytes.
const maxJournalLine = 1 << 30

// readJournal reads the lines of a journal. The last line may be cut off by a
// crash: its revocation was not answered yet. Any other damage is an error,
// because it hides what was revoked.
func readJournal(ctx context.Context, dir directory, file string, number uint64, yield func(change)) error {
	f, err := dir.open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	d := newDecoder(f)
	for lines := 0; ; lines++ {
		line, err := d.next(ctx, maxJournalLine)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errCutOff):
			return nil
		case err != nil:
			return err
		case line == nil:
			return fmt.Errorf("%w: line %d is too long", errDamaged, lines+1)
		}
		if lines == 0 {
			var h journalHeader
			if json.Unmarshal(line, &h) != nil || h.Format != journalFormat || h.Number != number {
				return fmt.Errorf("%w: its first line is not that of this journal", errDamaged)
			}
			if h.Version != formatVersion {
				return fmt.Errorf("format version %d is not known, want %d", h.Version, formatVersion)
			}
			continue
		}
		var c change
		if json.Unmarshal(line, &c) != nil || !slices.Contains([]string{keyDropped, keySet, prefixDropped, tagDropped}, c.Kind) {
			return fmt.Errorf("%w: line %d is not a change", errDamaged, lines+1)
		}
		yield(c)
	}
}
