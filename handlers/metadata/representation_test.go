package metadata

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

func recordOf(t testing.TB, text string) *cache.Record {
	t.Helper()
	record, err := cache.Decode(text, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	return record
}

func TestRecordsMakeEntityTags(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"etag": "abc"}`:                               `"abc"`,
		`{"etag": "\"abc\""}`:                           `"abc"`,
		`{"etag": "W/\"abc\""}`:                         `W/"abc"`,
		`{"sha256": "0a"}`:                              `"0a"`,
		`{"hash": "h", "sha256": "s"}`:                  `"s"`,
		`{"hash": "h", "etag": "e"}`:                    `"e"`,
		`{"etag": "with space", "hash": "h"}`:           `"h"`,
		`{"etag": "a\"b"}`:                              "",
		`{"etag": "\"a\", \"b\""}`:                      "",
		`{"etag": "a\r\nSet-Cookie: x"}`:                "",
		`{"etag": ""}`:                                  "",
		`{"etag": null, "hash": 42}`:                    `"42"`,
		`{"etag": ["a"]}`:                               "",
		`{"etag": "` + strings.Repeat("a", 5000) + `"}`: "",
		`{}`: "",
	} {
		require.Equal(t, want, newRepresentation(recordOf(t, text)).etag, text)
	}
}

func TestRecordsHaveDates(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for text, ok := range map[string]bool{
		`{"modified": "2026-03-04T05:06:07Z"}`:          true,
		`{"modified": "2026-03-04T06:06:07.5+01:00"}`:   true,
		`{"modified": "Wed, 04 Mar 2026 05:06:07 GMT"}`: true,
		`{"modified": 1772600767}`:                      true,
		`{"modified": 1772600767.25}`:                   true,
		`{"modified": "1772600767"}`:                    true,
		`{"modified": 0}`:                               false,
		`{"modified": 1}`:                               false,
		`{"modified": "yesterday"}`:                     false,
		`{"modified": 1e300}`:                           false,
		`{"modified": null}`:                            false,
		`{"modified": {"a": 1}}`:                        false,
		`{}`:                                            false,
	} {
		rep := newRepresentation(recordOf(t, text))
		if !ok {
			require.True(t, rep.modified.IsZero(), text)
			require.Empty(t, rep.lastModified, text)
			continue
		}
		require.Equal(t, want.Unix(), rep.modified.Unix(), text)
		require.Equal(t, "Wed, 04 Mar 2026 05:06:07 GMT", rep.lastModified, text)
	}
}

func TestRecordsHaveContentTypes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"content_type": "application/pdf", "name": "a.txt"}`: "application/pdf",
		`{"mime_type": "application/pdf"}`:                     "application/pdf",
		`{"name": "a.html"}`:                                   "text/html; charset=utf-8",
		`{"path": "x/a.css"}`:                                  "text/css; charset=utf-8",
		`{"name": "a", "path": "x/a.css"}`:                     "",
		`{"name": "a.unknown-extension"}`:                      "",
		`{"content_type": "text/x\r\nA: b"}`:                   "",
		`{}`:                                                   "",
	} {
		require.Equal(t, want, newRepresentation(recordOf(t, text)).contentType, text)
	}
}

func TestRecordsHaveSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		`{"size": 1024000}`: 1024000, `{"size": 0}`: 0, `{"size": -1}`: -1, `{"size": "12"}`: -1, `{"size": 1.5}`: -1, `{}`: -1,
	} {
		require.Equal(t, want, newRepresentation(recordOf(t, text)).size, text)
	}
}

func TestRepresentationIsDerivedOnce(t *testing.T) {
	t.Parallel()
	record := recordOf(t, `{"etag": "a"}`)
	require.Same(t, representationOf(record), representationOf(record))
}

func FuzzRepresentation(f *testing.F) {
	for _, seed := range []string{`{"etag": "a\nb", "modified": -1e10, "size": 1e3}`, `{"name": "\u0000", "cache_control": "\r\n", "content_type": "\u007f"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		record, err := cache.Decode(text, 1<<16)
		if err != nil || record.State() != cache.Found {
			return
		}
		rep := newRepresentation(record)
		for _, value := range []string{rep.etag, rep.lastModified, rep.contentType, rep.cacheControl, rep.dispositionParams} {
			require.Negative(t, strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }), "%q", value)
		}
		if rep.etag != "" {
			tag, rest := scanTag(rep.etag)
			require.Equal(t, rep.etag, tag)
			require.Empty(t, rest)
		}
		if rep.lastModified != "" {
			at, err := http.ParseTime(rep.lastModified)
			require.NoError(t, err)
			require.Equal(t, rep.modified.Unix(), at.Unix())
		}
	})
}
