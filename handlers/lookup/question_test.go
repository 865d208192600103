package lookup

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// One key, one question: lookups whose keys can be equal ask the same, or the
// configuration is refused.
func TestLookupsThatShareKeysAskTheSame(t *testing.T) {
	t.Parallel()
	none, app := question{parts: 1}, question{sourceID: "app", parts: 1}
	upload := question{parts: 1, family: cache.UploadProgress}
	for name, c := range map[string]struct {
		keyA, keyB string
		a, b       question
		why        string // "": no conflict
		signed     bool   // b
	}{
		"the same twice, as imported snippets":    {"s:{id}", "s:{id}", app, app, "", false},
		"another source":                          {"s:{id}", "s:{id}", app, question{sourceID: "other", parts: 1}, "different sources", false},
		"only one has a source":                   {"s:{id}", "s:{id}", none, app, "only one of them has a source", false},
		"only one hashes":                         {"s:{id}", "s:{id}", none, question{parts: 1, hash: true}, "only one of them hashes", false},
		"another format":                          {"s:{id}", "s:{id}", none, question{parts: 1, decoding: "php"}, "different formats", false},
		"other parts":                             {"s:{id}", "s:{id}", none, question{parts: 2}, "different numbers of parts", false},
		"another family":                          {"s:{id}", "s:{id}", none, question{parts: 1, family: "file_meta"}, "records of different kinds", false},
		"an upload beside a session":              {"s:{id}", "s:{id}", upload, question{parts: 1, family: "session"}, "records of different kinds", false},
		"an upload beside signed identities":      {"s:{id}", "s:{id}", upload, question{parts: 1, family: "session", decoding: "express"}, "", true},
		"an upload beside ids of clients":         {"s:{id}", "s:{id}", upload, question{parts: 1, family: "session", decoding: "php"}, "records of different kinds", false},
		"keys that signed identities cannot name": {"file:meta:{id}", "{id}", app, question{parts: 1, family: "session", decoding: "koa"}, "", true},
		"keys that ids of clients can name":       {"file:meta:{id}", "{id}", app, question{parts: 1, family: "session", decoding: "php"}, "only one of them has a source", false},
		"signed identities of any key":            {"{id}", "{id}", none, question{parts: 1, decoding: "koa"}, "different formats", true},
		"signed identities of longer keys":        {"s:{id}", "s:x:{id}", none, question{parts: 1, decoding: "koa"}, "different formats", true},
		"sources that one hashes for":             {"s:{id}", "s:{id}", app, question{sourceID: "hashed app", parts: 1, hash: true}, "only one of them hashes", false},
		"sources for other parts":                 {"s:{id}", "s:{id}", app, question{sourceID: "app of parts", parts: 2}, "different numbers of parts", false},
		"keys of their own":                       {"s:{id}", "t:{id}", none, app, "", false},
		"one key begins like the other":           {"s:{id}", "s:x:{id}", none, app, "only one", false},
		"an end keeps them apart":                 {"s:{id}:a", "s:{id}:b", none, app, "", false},
		"one ends like the other":                 {"s:{id}", "s:{id}:b", none, app, "only one", false},
		"a placeholder can be anything":           {"s:{http.request.host}:{id}", "s:a:{id}", none, app, "only one", false},
		"texts cross":                             {"{id}:b", "a:{id}", none, app, "only one", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asks := func(place, key string, q question) *asked {
				k, err := newKeyTemplate("", key, 1, q.hash)
				require.NoError(t, err)
				return &asked{place: "session_lookup '" + place + "'", key: k, question: q}
			}
			a, b := asks("first", c.keyA, c.a), asks("second", c.keyB, c.b)
			b.signed = c.signed
			for _, err := range []error{a.conflict(b), b.conflict(a)} {
				if c.why == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, c.why)
				require.ErrorContains(t, err, "'first'")
				require.ErrorContains(t, err, "'second'")
				require.ErrorContains(t, err, "give one of them keys of its own")
			}
		})
	}
}

// What can be changed in the Caddyfile alone is what the error suggests.
func TestConflictsSuggestWhatCanBeChanged(t *testing.T) {
	t.Parallel()
	asks := func(place, decoding string) *asked {
		k, err := newKeyTemplate("", "s:{id}", 1, false)
		require.NoError(t, err)
		return &asked{place: "session_lookup '" + place + "'", key: k, question: question{parts: 1, decoding: decoding}}
	}
	own, php, django := asks("own", ""), asks("php", "php"), asks("django", "django")
	require.ErrorContains(t, own.conflict(php), "like: key own:{id}")
	require.ErrorContains(t, php.conflict(own), "like: key own:{id}")
	require.ErrorContains(t, php.conflict(django), "like: key php:{id}, and its application the same prefix")
}

// Whatever a question holds is compared: a field that is left out would let
// one lookup use the records of another.
func TestEachFieldOfAQuestionIsCompared(t *testing.T) {
	t.Parallel()
	base := question{sourceID: "app", family: "session", parts: 1, decoding: "php"}
	changes := map[string]func(*question){
		"sourceID": func(q *question) { q.sourceID = "another" },
		"family":   func(q *question) { q.family = "another" },
		"hash":     func(q *question) { q.hash = true },
		"parts":    func(q *question) { q.parts = 2 },
		"decoding": func(q *question) { q.decoding = "another" },
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[question]()) {
		change := changes[field.Name]
		require.NotNil(t, change, "a new field: %s", field.Name)
		other := base
		change(&other)
		require.NotEmpty(t, base.differsFrom(other), field.Name)
		require.Equal(t, base.differsFrom(other), other.differsFrom(base), field.Name)
	}
	require.Empty(t, base.differsFrom(base))
}

// No two lists of parts make one identity, and none is taken apart differently.
func TestPartsOfIdentitiesStayApart(t *testing.T) {
	t.Parallel()
	l := &Lookup{identity: newIdentityReader(Identity{"{a}", "{b}"}, true, template.New)}
	for written, parts := range map[string][]string{
		"a:b":       {"a", "b"},
		"a%3Ab:c":   {"a:b", "c"},
		"a:b%3Ac":   {"a", "b:c"},
		"a%253Ab:c": {"a%3Ab", "c"},
		":b":        {"", "b"},
		"a":         nil,
		"a:b:c":     nil,
		"a%3ab:c":   nil, // written in another way, so that one identity has one text
		"a%zz:b":    nil,
	} {
		id, err := l.ParseIdentity(written)
		if parts == nil {
			require.Error(t, err, written)
			continue
		}
		require.NoError(t, err, written)
		require.Equal(t, parts, id.Parts)
	}
}

// In a lookup that hashes identities, which are secrets then, tags hold the hash.
func TestTagsOfHashedLookupsHoldNoIdentity(t *testing.T) {
	t.Parallel()
	for hash, want := range map[bool]string{false: "session:s3cret", true: "session:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"} {
		tagger, err := newTagger([]string{"session:{id}"}, SessionPrefix, hash)
		require.NoError(t, err)
		require.Equal(t, []string{want}, tagger.tags(cache.Request{ID: "s3cret"}, nil))
	}
}

func TestLookupsThatStoreSharedAnswersDifferentlyAreDetected(t *testing.T) {
	t.Parallel()
	ask := func(key, source string, ttl time.Duration) *asked {
		template, err := newKeyTemplate("", key, 1, true)
		require.NoError(t, err)
		return &asked{key: template, question: question{sourceID: source, family: "session", parts: 1}, keeping: keeping{ttl: ttl}}
	}
	day := ask("session:user:{id}", "a", 24*time.Hour)
	require.Equal(t, []string{"ttl"}, ask("session:user:{id}", "a", time.Minute).differsInKeeping(day))
	require.Empty(t, ask("session:user:{id}", "a", 24*time.Hour).differsInKeeping(day), "the same time")
	require.Empty(t, ask("session:brief:{id}", "a", time.Minute).differsInKeeping(day), "keys of its own")
	require.Empty(t, ask("session:user:{id}", "", time.Minute).differsInKeeping(ask("session:user:{id}", "", time.Hour)), "the application keeps them")
	other := ask("session:user:{id}", "a", 24*time.Hour)
	other.keeping.cacheControl, other.keeping.tags = "ignore", "user:{id}"
	require.Equal(t, []string{"cache_control", "tag"}, other.differsInKeeping(day))
}
