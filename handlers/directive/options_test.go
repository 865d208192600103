package directive

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

// shelf has an option of each kind.
type shelf struct {
	label  string
	ttl    caddy.Duration
	locked *bool
	tall   bool
	books  []string
}

func (s *shelf) options() Options {
	return Options{
		Text("label", "<text>", &s.label),
		Value("ttl", "<duration>", &s.ttl, Duration),
		Pointer("locked", "[on|off]", &s.locked, OnOff),
		Flag("tall", &s.tall),
		{Name: "book", Args: "<title...>", Repeatable: true, Read: func(d *caddyfile.Dispenser) error {
			s.books = append(s.books, d.RemainingArgs()...)
			return nil
		}},
		{Name: "glass", Refused: "it breaks"},
	}
}

func TestOptionsAreReadIntoTheirFields(t *testing.T) {
	t.Parallel()
	var s shelf
	d := caddyfile.NewTestDispenser("shelf {\nbook a b\nlabel \"to read\"\nttl 1h\nlocked off\ntall\nbook c\n}")
	d.Next()
	require.NoError(t, s.options().UnmarshalBlock(d, "shelf"))
	off := false
	require.Equal(t, shelf{"to read", caddy.Duration(time.Hour), &off, true, []string{"a", "b", "c"}}, s)

	var empty shelf
	d = caddyfile.NewTestDispenser("shelf")
	d.Next()
	require.NoError(t, empty.options().UnmarshalBlock(d, "shelf"))
	require.Equal(t, shelf{}, empty, "a pointer stays nil if its option is not given")
}

func TestWrongOptionsAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	for block, want := range map[string]string{
		"shelf x":                             "unexpected 'x': shelf takes label, ttl, locked, tall and book, at Testfile:1",
		"shelf {\ncolor red\n}":               "unknown option 'color': shelf takes label, ttl, locked, tall and book, at Testfile:2",
		"shelf {\nttl 1s\nlabel a\nttl 2s\n}": "ttl is given twice: give it once, at Testfile:4",
		"shelf {\ntall\ntall\n}":              "tall is given twice",
		"shelf {\ntall very\n}":               "tall takes no argument, but has 'very'",
		"shelf {\nttl soon\n}":                "ttl: 'soon' is not a duration",
		"shelf {\nglass\n}":                   "shelf does not take glass: it breaks",
		"shelf {\nlabel \"\"\n}":              "label has an argument that is empty",
	} {
		t.Run(block, func(t *testing.T) {
			t.Parallel()
			d := caddyfile.NewTestDispenser(block)
			d.Next()
			require.ErrorContains(t, new(shelf).options().UnmarshalBlock(d, "shelf"), want)
		})
	}
}

func TestSyntaxListsOptionsInOrder(t *testing.T) {
	t.Parallel()
	options := new(shelf).options()
	require.Equal(t, []string{"label <text>", "ttl <duration>", "locked [on|off]", "tall", "book <title...>"}, options.Syntax())
	require.Equal(t, []string{"tall", "label <text>"}, options.Pick("tall", "label", "nothing").Syntax())
}
