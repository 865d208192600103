package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func newStore(t testing.TB, options Options) *Store {
	t.Helper()
	s, err := New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func record(t testing.TB, text string) *cache.Record {
	t.Helper()
	r, err := cache.Decode(text, len(text))
	require.NoError(t, err)
	return r
}

// saved is what a file would hold of the records.
func saved(t testing.TB, records ...savedRecord) []byte {
	t.Helper()
	var file bytes.Buffer
	e := newEncoder(&file)
	require.NoError(t, e.put(savedHeader{formatName, formatVersion, 1, savedAt{}}))
	for _, r := range records {
		require.NoError(t, e.put(r))
	}
	n := int64(len(records))
	require.NoError(t, e.put(savedEnd{&n}))
	return file.Bytes()
}

func some(n int) (records []savedRecord) {
	for i := range n {
		records = append(records, savedRecord{
			Key: fmt.Append(nil, "key", i), Expires: time.Now().Add(time.Hour).UnixNano(), Value: fmt.Sprintf(`{"n":%d,"_tags":{"tag":"v1"}}`, i),
		})
	}
	return records
}

func TestRecordsThatExpiredOrAreTooLargeAreNotRestored(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(time.Hour).UnixNano()
	large := `{"a":"` + strings.Repeat("x", 2<<20) + `"}` // a longer line than is kept
	file := saved(t,
		savedRecord{Key: []byte("expired"), Expires: time.Now().UnixNano(), Value: `{}`},
		savedRecord{Key: []byte("never"), Value: `{}`},
		savedRecord{Key: []byte("large"), Expires: later, Value: large},
		savedRecord{Key: []byte("a bit large"), Expires: later, Value: `{"a":"` + strings.Repeat("x", 100) + `"}`},
		savedRecord{Key: []byte("no record"), Expires: later, Value: `[]`},
		savedRecord{Key: []byte("sound"), Expires: later, Value: `{}`},
	)
	s := newStore(t, Options{MaxValueSize: 100})
	n, err := s.readRecords(t.Context(), bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, counts{kept: 1, expired: 2, dropped: 3}, n)
	entry, ok := s.Peek("sound", time.Now())
	require.True(t, ok)
	require.Equal(t, later, entry.Expires)
	require.Equal(t, 1, s.records.EstimatedSize())
}

// Without the tag that it has borne, a record would outlive the tag's drop.
func TestRecordsWhoseTagsAreNotCurrentAreNotRestored(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(time.Hour).UnixNano()
	file := saved(t,
		savedRecord{Key: []byte("one"), Expires: later, Value: `{"_tags":{"tag":"v1"}}`},
		savedRecord{Key: []byte("two"), Expires: later, Value: `{"_tags":{"tag":"v1","other":"v1"}}`},
		savedRecord{Key: []byte("another version"), Expires: later, Value: `{"_tags":{"tag":"v2"}}`},
		savedRecord{Key: []byte("no version"), Expires: later, Value: `{"_tags":{"tag":null}}`},
		savedRecord{Key: []byte("former format"), Expires: later, Value: `{}`, Tags: json.RawMessage(`[{"tag":"YQ==","until":1}]`)},
	)
	s := newStore(t, Options{})
	n, err := s.readRecords(t.Context(), bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, counts{kept: 2, dropped: 3}, n)
	s.state.Store(opened)
	require.NoError(t, s.DropTag(t.Context(), "other"))
	_, ok := s.Peek("two", time.Now())
	require.False(t, ok)
	_, ok = s.Peek("one", time.Now())
	require.True(t, ok)
}

// A version is forgotten with the last record that bears it.
func TestTagsTakeNoRoomWithoutRecords(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	fill := func(key, tag string) {
		token, _, err := s.Acquire(t.Context(), key, nil, time.Hour, true)
		require.NoError(t, err)
		filled, err := s.Fill(t.Context(), key, token, nil, record(t, `{}`), []string{tag}, time.Hour)
		require.NoError(t, err)
		require.True(t, filled)
	}
	fill("kept", "kept")
	for i := range 1000 {
		fill("k", fmt.Sprint("tag", i))
		_, err := s.Delete(t.Context(), "k")
		require.NoError(t, err)
	}
	s.records.CleanUp()
	require.Eventually(t, func() bool {
		runtime.GC()
		s.tags.mu.Lock()
		defer s.tags.mu.Unlock()
		return len(s.tags.current) < 10
	}, 10*time.Second, time.Millisecond)
	_, ok := s.Peek("kept", time.Now())
	require.True(t, ok)
	require.NoError(t, s.DropTag(t.Context(), "kept"))
	_, ok = s.Peek("kept", time.Now())
	require.False(t, ok)
}

// Whatever byte is wrong or missing, what is read is what was written, up to
// the damage.
func TestDamageIsFoundWhereverItIs(t *testing.T) {
	t.Parallel()
	records := some(3)
	file := saved(t, records...)
	check := func(what string, damaged []byte) {
		s := newStore(t, Options{})
		n, err := s.readRecords(t.Context(), bytes.NewReader(damaged))
		require.ErrorIs(t, err, errDamaged, what)
		for i, r := range records {
			entry, ok := s.Peek(string(r.Key), time.Now())
			require.Equal(t, int64(i) < n.kept, ok, what)
			if ok {
				require.Equal(t, r.Value, entry.Record.Text(), what)
				require.Equal(t, r.Expires, entry.Expires, what)
			}
		}
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	for i := range file {
		check(fmt.Sprint("cut after ", i), file[:i])
		flipped := bytes.Clone(file)
		flipped[i] ^= 0x10
		if strings.EqualFold(string(flipped), string(file)) {
			continue // a digit of a checksum in capitals
		}
		check(fmt.Sprint("wrong at ", i), flipped)
	}
	check("a line is missing", bytes.Join([][]byte{lines[0], lines[1], lines[3], lines[4]}, nil))
	check("two lines are swapped", bytes.Join([][]byte{lines[0], lines[2], lines[1], lines[3], lines[4]}, nil))
	check("goes on", append(bytes.Clone(file), '\n'))
	check("twice", append(bytes.Clone(file), file...))
	check("zeros", make([]byte, 1<<20))
	check("text", []byte("127.0.0.1 localhost\n"))

	s := newStore(t, Options{})
	n, err := s.readRecords(t.Context(), bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, counts{kept: 3}, n)
}

func TestFileOfAnotherVersionIsNotRead(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	require.NoError(t, newEncoder(&file).put(savedHeader{formatName, formatVersion + 1, 1, savedAt{}}))
	_, err := newStore(t, Options{}).readRecords(t.Context(), &file)
	require.ErrorContains(t, err, "version 2 is not known, want 1")
}

// Records and tags may change while a save waits for the disk; a record that
// is saved has its tags all the same, for else it would outlive their drop.
func TestLookupsAndWritesDoNotWaitForASave(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	ctx := t.Context()
	write := func(key string) {
		token, _, err := s.Acquire(ctx, key, nil, time.Hour, true)
		require.NoError(t, err)
		_, err = s.Fill(ctx, key, token, nil, record(t, `{"a":1}`), []string{"tag of " + key}, time.Hour)
		require.NoError(t, err)
	}
	for i := range 200 {
		write(fmt.Sprint("old", i))
	}
	r, w := io.Pipe()
	over := make(chan error, 1)
	go func() {
		_, err := s.writeRecords(ctx, w, savedAt{})
		_ = w.Close()
		over <- err
	}()
	var file bytes.Buffer
	_, err := io.CopyN(&file, r, 100) // the save is under way, and waits
	require.NoError(t, err)
	for i := range 2000 {
		write(fmt.Sprint("new", i))
		_, ok := s.Peek(fmt.Sprint("old", i%200), time.Now())
		require.True(t, ok)
	}
	require.NoError(t, s.DropTag(ctx, "tag of new0"))
	_, err = s.DeletePrefix(ctx, "new1")
	require.NoError(t, err)
	_, err = io.Copy(&file, r)
	require.NoError(t, err)
	require.NoError(t, <-over)

	early := 0
	for i, line := range strings.Split(strings.TrimSpace(file.String()), "\n") {
		var r savedRecord
		require.NoError(t, json.Unmarshal([]byte(line[sumLen:]), &r))
		if r.Key == nil {
			continue
		}
		require.Equal(t, "tag of "+string(r.Key), record(t, r.Value).Tags()[0].Name, i)
		if strings.HasPrefix(string(r.Key), "new") {
			early++
		}
	}
	require.Positive(t, early, "no record was written during the save")
}

func TestSaveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	require.NoError(t, s.Set(t.Context(), "a", record(t, `{}`), time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "records")
	f := &file{path: path}
	defer f.leave()
	_, err := s.writeFile(ctx, f, false)
	require.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, entry := range entries {
		require.NotContains(t, entry.Name(), savingInfix, "something is left of it")
	}
	s.journal.detach()
}

// A store reads a file that may have been changed by others.
func FuzzReadRecords(f *testing.F) {
	f.Add(saved(f, some(3)...), true)
	f.Add(saved(f), true)
	f.Add([]byte("00000000 {}\n"), true)
	f.Add([]byte(`{"key":"YQ==","expires":9223372036854775807,"value":"{}"}`), false)
	f.Add([]byte(`{"key":"YQ==","expires":9223372036854775807,"value":"null","tags":[{"tag":"","until":-1}]}`), false)
	f.Add([]byte(`{"end":-1}`), false)
	f.Fuzz(func(t *testing.T, file []byte, asItIs bool) {
		if !asItIs { // lines with sound checksums, so that what they say is looked at
			var sound bytes.Buffer
			e := newEncoder(&sound)
			require.NoError(t, e.put(savedHeader{formatName, formatVersion, 1, savedAt{}}))
			for line := range bytes.SplitSeq(file, []byte("\n")) {
				if json.Valid(line) {
					require.NoError(t, e.put(json.RawMessage(line)))
				}
			}
			file = sound.Bytes()
		}
		s, err := New(Options{MaxValueSize: 1000})
		require.NoError(t, err)
		defer s.Close()
		n, _ := s.readRecords(t.Context(), bytes.NewReader(file))
		for key, entry := range s.records.All() {
			require.LessOrEqual(t, entry.Record.Size(), 1000)
			require.True(t, live(entry))
			n.kept--
			_, err := s.Get(t.Context(), key)
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, n.kept, int64(0), "more than was read")
	})
}

func TestCallsWaitForTheFileUntilTheirDeadline(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{File: filepath.Join(t.TempDir(), "records")})
	s.saver.start(func(ctx context.Context) { // in place of a file that takes long to read
		<-ctx.Done()
		close(s.saver.read)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := s.Get(ctx, "a")
	require.ErrorIs(t, err, cache.ErrUnavailable)
	require.ErrorIs(t, s.Set(ctx, "a", record(t, `{}`), time.Hour), cache.ErrUnavailable)
	_, ok := s.Peek("a", time.Now())
	require.False(t, ok)
	waiting := make(chan error)
	go func() { waiting <- s.Ping(t.Context()) }()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-waiting, cache.ErrClosed)
	require.ErrorIs(t, s.Ping(t.Context()), cache.ErrClosed)
}
