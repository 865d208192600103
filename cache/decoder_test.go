package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// rawStore has one raw value under every key.
type rawStore struct {
	cache.Store
	value *cache.Raw
	reads atomic.Int32
}

func (s *rawStore) GetRaw(context.Context, string) (*cache.Raw, error) {
	s.reads.Add(1)
	return s.value, nil
}

func (s *rawStore) Watch(_ string, sink near.Sink) { sink.SetTrust(near.Coherent) }

// upper decodes what is written in capitals.
type upper struct {
	id      string
	expires time.Time
}

func (u upper) ID() string { return u.id }

func (u upper) Decode(raw cache.Raw) (string, time.Time, error) {
	if raw.Text == "BROKEN" {
		return "", time.Time{}, errExpected
	}
	if !utf8.ValidString(raw.Text) {
		return raw.Text, u.expires, nil // ToLower would repair it
	}
	return strings.ToLower(raw.Text), u.expires, nil
}

func found(text string) *cache.Raw {
	return &cache.Raw{Text: text, Expires: time.Now().Add(time.Hour).UnixNano()}
}

// Applications have fields like "_user_id" in their sessions.
func TestNoFieldOfAnotherFormatIsReserved(t *testing.T) {
	t.Parallel()
	c := newCache(t, &rawStore{Store: newStore(t), value: found(`{"_SOURCE":"x","_USER_ID":"ANNA"}`)})
	r := newLookup(t, c, cache.LookupOptions{Decoder: upper{id: "a"}}).Find(t.Context(), reqA)
	require.True(t, r.OK())
	user, ok := r.Record.Field("_user_id")
	require.True(t, ok)
	require.Equal(t, "anna", user.Text())
}

func TestValuesOfAnotherFormatAreDecodedAndCopied(t *testing.T) {
	t.Parallel()
	store := &rawStore{Store: newStore(t), value: found(`{"USER":"ANNA"}`)}
	c := newCache(t, store)
	c.EnableNear(near.Options{})
	lookup := newLookup(t, c, cache.LookupOptions{Decoder: upper{id: "a"}, Strict: true})
	for range 3 {
		r := lookup.Find(t.Context(), reqA)
		require.True(t, r.OK())
		require.Equal(t, `{"user":"anna"}`, r.Record.Text())
	}
	require.EqualValues(t, 1, store.reads.Load(), "copies are of what was decoded")

	other := newLookup(t, c, cache.LookupOptions{Decoder: upper{id: "b"}, Strict: true})
	require.Equal(t, cache.OutcomeHit, other.Find(t.Context(), reqA).Outcome)
	require.EqualValues(t, 2, store.reads.Load(), "what was decoded in another way is no copy")

	plain := newLookup(t, c, cache.LookupOptions{Strict: true})
	require.Equal(t, cache.OutcomeAbsent, plain.Find(t.Context(), reqA).Outcome, "nor a record of those who decode nothing")
}

func TestNothingInADecodedRecordHasAMeaningForLookups(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"denied":403}`, `{"absent":true}`, `{"expires_at":1}`, `{"_source":"0123456789abcdef"}`, `{"_tags":{"a":"b"}}`} {
		c := newCache(t, &rawStore{Store: newStore(t), value: found(text)})
		lookup := newLookup(t, c, cache.LookupOptions{Decoder: upper{id: "a"}, ExpiresAt: true})
		require.Equal(t, cache.OutcomeHit, lookup.Find(t.Context(), reqA).Outcome, text)
	}
}

func TestADecodedRecordEndsAtTheTimeOfItsDecoder(t *testing.T) {
	t.Parallel()
	for expires, want := range map[time.Time]cache.Outcome{
		{}:                           cache.OutcomeHit,
		time.Now().Add(time.Hour):    cache.OutcomeHit,
		time.Now().Add(-time.Second): cache.OutcomeAbsent,
		time.Unix(0, 0):              cache.OutcomeAbsent,
		time.Unix(-1<<40, 0):         cache.OutcomeAbsent,
		time.Unix(1<<40, 0):          cache.OutcomeHit,
	} {
		c := newCache(t, &rawStore{Store: newStore(t), value: found("{}")})
		lookup := newLookup(t, c, cache.LookupOptions{Decoder: upper{"a", expires}, ExpiresAt: true})
		require.Equal(t, want, lookup.Find(t.Context(), reqA).Outcome, expires)
	}
}

func TestAValueThatCannotBeDecodedIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"BROKEN", "", "[]", "NULL", `{"A":`, "{\"A\":\"\xff\"}"} {
		c := newCache(t, &rawStore{Store: newStore(t), value: found(text)})
		r := newLookup(t, c, cache.LookupOptions{Decoder: upper{id: "a"}}).Find(t.Context(), reqA)
		require.Equal(t, cache.OutcomeError, r.Outcome, text)
		require.ErrorIs(t, r.Err, cache.ErrInvalidRecord, text)
		if text == "BROKEN" {
			require.ErrorIs(t, r.Err, errExpected)
			require.NotContains(t, r.Err.Error(), "BROKEN")
		}
	}
}

func TestADecoderThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	raw := &rawStore{Store: newStore(t)}
	for name, test := range map[string]struct {
		store   cache.Store
		options cache.LookupOptions
		want    string
	}{
		"over the embedded store": {newStore(t), cache.LookupOptions{Decoder: upper{id: "a"}}, "memory store"},
		"with a source":           {raw, cache.LookupOptions{Decoder: upper{id: "a"}, Source: answering(cache.Loaded{}, errors.New(""))}, "source"},
		"without an ID":           {raw, cache.LookupOptions{Decoder: upper{}}, "no ID"},
	} {
		test.options.Name, test.options.TTL = "lookup", time.Hour
		_, err := newCache(t, test.store).NewLookup(test.options)
		require.ErrorContains(t, err, test.want, name)
	}
}
