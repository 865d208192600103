package metadata

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var testModified = time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC)

const (
	testDate  = "Wed, 04 Mar 2026 05:06:07 GMT"
	dayBefore = "Tue, 03 Mar 2026 05:06:07 GMT"
	dayAfter  = "Thu, 05 Mar 2026 05:06:07 GMT"
)

func TestPreconditionsAreDecided(t *testing.T) {
	t.Parallel()
	both := validators{etag: `"a"`, modified: testModified}
	tagOnly := validators{etag: `"a"`}
	dateOnly := validators{modified: testModified}
	for name, c := range map[string]struct {
		validators
		header http.Header
		want   decision
	}{
		"none":                             {validators{}, nil, proceed},
		"tag matches":                      {both, http.Header{"If-None-Match": {`"a"`}}, notModified},
		"tag matches weakly":               {both, http.Header{"If-None-Match": {`W/"a"`}}, notModified},
		"tag in a list":                    {both, http.Header{"If-None-Match": {`"b", "a"`}}, notModified},
		"tag in the second line":           {both, http.Header{"If-None-Match": {`"b"`, `"a"`}}, notModified},
		"another tag":                      {both, http.Header{"If-None-Match": {`"b"`}}, proceed},
		"any tag":                          {both, http.Header{"If-None-Match": {"*"}}, notModified},
		"malformed tag":                    {both, http.Header{"If-None-Match": {"a"}}, proceed},
		"another tag outweighs date":       {both, http.Header{"If-None-Match": {`"b"`}, "If-Modified-Since": {testDate}}, proceed},
		"not modified since":               {both, http.Header{"If-Modified-Since": {testDate}}, notModified},
		"modified since":                   {both, http.Header{"If-Modified-Since": {dayBefore}}, proceed},
		"malformed date":                   {both, http.Header{"If-Modified-Since": {"yesterday"}}, proceed},
		"wanted tag":                       {both, http.Header{"If-Match": {`"a"`}}, proceed},
		"wanted tag, weak":                 {both, http.Header{"If-Match": {`W/"a"`}}, failed},
		"wanted tag in the second line":    {both, http.Header{"If-Match": {`"b"`, `"a"`}}, proceed},
		"wanted another tag":               {both, http.Header{"If-Match": {`"b"`}}, failed},
		"wanted any":                       {validators{}, http.Header{"If-Match": {"*"}}, proceed},
		"wanted and known":                 {both, http.Header{"If-Match": {`"a"`}, "If-None-Match": {`"a"`}}, notModified},
		"unmodified since":                 {both, http.Header{"If-Unmodified-Since": {testDate}}, proceed},
		"not unmodified since":             {both, http.Header{"If-Unmodified-Since": {dayBefore}}, failed},
		"tag outweighs unmodified since":   {both, http.Header{"If-Match": {`"a"`}, "If-Unmodified-Since": {dayBefore}}, proceed},
		"tag not known":                    {dateOnly, http.Header{"If-None-Match": {`"a"`}}, undecided},
		"tag not known, date is":           {dateOnly, http.Header{"If-None-Match": {`"a"`}, "If-Modified-Since": {testDate}}, undecided},
		"wanted tag not known":             {dateOnly, http.Header{"If-Match": {`"a"`}}, undecided},
		"date not known":                   {tagOnly, http.Header{"If-Modified-Since": {testDate}}, undecided},
		"unmodified since, date not known": {tagOnly, http.Header{"If-Unmodified-Since": {testDate}}, undecided},
		"weak record":                      {validators{etag: `W/"a"`}, http.Header{"If-None-Match": {`"a"`}}, notModified},
		"weak record is not wanted":        {validators{etag: `W/"a"`}, http.Header{"If-Match": {`W/"a"`}}, failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.check(c.header))
		})
	}
}

func TestDecidedConditionsAreNotDecidedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ifRange, wantRange, wantIfRange string }{
		"tag matches":       {`"a"`, "bytes=0-1", ""},
		"tag is weak":       {`W/"a"`, "", ""},
		"another tag":       {`"b"`, "", ""},
		"date matches":      {testDate, "bytes=0-1", ""},
		"another date":      {dayAfter, "", ""},
		"neither":           {"x", "", ""},
		"there is no If-R.": {"", "bytes=0-1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"If-Match": {`"a"`}, "If-Unmodified-Since": {testDate}, "If-None-Match": {`"b"`},
				"If-Modified-Since": {testDate}, "Range": {"bytes=0-1"}}
			if c.ifRange != "" {
				h.Set("If-Range", c.ifRange)
			}
			stripDecided(h)
			(&validators{etag: `"a"`, modified: testModified}).stripRange(h)
			want := http.Header{}
			if c.wantRange != "" {
				want.Set("Range", c.wantRange)
			}
			require.Equal(t, want, h)
		})
	}
	t.Run("unknown validator", func(t *testing.T) {
		t.Parallel()
		h := http.Header{"Range": {"bytes=0-1"}, "If-Range": {`"a"`}}
		(&validators{modified: testModified}).stripRange(h)
		require.Len(t, h, 2)
		(&validators{etag: `"a"`}).stripRange(h)
		require.Equal(t, http.Header{"Range": {"bytes=0-1"}}, h)
	})
}

// FuzzPreconditions compares with http.ServeContent.
func FuzzPreconditions(f *testing.F) {
	for _, seed := range [][5]string{
		{`"a"`, "", "", "", ""}, {"", testDate, "", "", ""}, {"", "", `W/"a", "b"`, "", ""}, {"", "", "", testDate, ""},
		{"*", dayBefore, "*", dayAfter, `"a"`}, {`"b" ,,"a"`, "x", `"`, "x", testDate}, {"", "", "", "", `W/"a"`}, {",", "", ",", "", "x"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], `"a"`)
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], `W/"a"`)
	}
	f.Fuzz(func(t *testing.T, match, unmodified, noneMatch, modified, ifRange, etag string) {
		if tag, rest := scanTag(etag); tag == "" || tag != etag || rest != "" {
			t.Skip("not a tag of ours")
		}
		h := http.Header{"Range": {"bytes=0-0"}}
		for name, value := range map[string]string{
			"If-Match": match, "If-Unmodified-Since": unmodified, "If-None-Match": noneMatch,
			"If-Modified-Since": modified, "If-Range": ifRange,
		} {
			if value = strings.TrimSpace(value); value != "" {
				h.Set(name, value)
			}
		}
		v := validators{etag: etag, modified: testModified}
		w := httptest.NewRecorder()
		w.Header().Set("Etag", etag)
		w.Header().Set("Content-Type", "text/plain")
		http.ServeContent(w, &http.Request{Method: http.MethodGet, Header: h}, "", testModified, strings.NewReader("content"))
		switch v.check(h) {
		case notModified:
			require.Equal(t, http.StatusNotModified, w.Code)
		case failed:
			require.Equal(t, http.StatusPreconditionFailed, w.Code)
		case proceed:
			stripDecided(h)
			v.stripRange(h)
			if h.Get("Range") != "" {
				require.Equal(t, http.StatusPartialContent, w.Code)
			} else {
				require.Equal(t, http.StatusOK, w.Code)
			}
		default:
			t.Fatal("both validators are known")
		}
	})
}
