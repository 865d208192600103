package cache

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func pathsOf(texts ...string) *Paths {
	p := new(Paths)
	for _, text := range texts {
		p.Add(text)
	}
	return p
}

// large makes the text of a record large by a field that no test reads.
func large(text string) string {
	return `{"filler":"` + strings.Repeat("x", 2*minIndexed) + `",` + strings.TrimLeft(text, " \n")[1:]
}

func TestFieldsThatAreReadTogetherAreThoseReadAlone(t *testing.T) {
	t.Parallel()
	paths := []string{"a", "b", "b.c", "b.c.1", "b.c.9", "b.c.x", "b.missing", "a.b", `d\.e`, "d.e", "é", "missing", "_source", "_a", "twice",
		"twice.x", "0", "empty.a", "none.0", `back\slash`, "line\nbreak", "headers.X-One", ""}
	for name, text := range map[string]string{
		"flat":      `{"a":1,"b":"x","twice":1,"twice":"2"}`,
		"spaces":    " {\t\"a\" :\n1 , \"b\" : { \"c\" : [ 1 , { } , \"]\" ] , \"d\":null } , \"twice\" : {\"x\":1} } ",
		"names":     `{"d.e":1,"d":{"e":2},"\u00e9":3,"back\\slash":4,"line\nbreak":5,"":6}`,
		"nested":    `{"b":{"c":["\"",{"x":[1,2,{}]},true],"c":[[0],[1]]},"a":{"b":{"c":1}}}`,
		"strings":   `{"a":"` + strings.Repeat("long ", 20) + `\" end","b":"\\","twice":"` + strings.Repeat("x", 40) + `"}`,
		"reserved":  `{"_source":"0123456789abcdef","_a":1,"a":2}`,
		"empty":     `{}`,
		"empties":   `{"empty":{},"none":[],"a":""}`,
		"values":    `{"a":true,"b":null,"twice":-1.5e3,"0":false}`,
		"in a name": `{"headers":{"X-One":"1"},"aa":1,"\u0061":2}`,
		"null":      `null`,
	} {
		texts := map[string]string{"small": text}
		if text != "null" && text != "{}" {
			texts["large"] = large(text)
		}
		for size, text := range texts {
			t.Run(name+", "+size, func(t *testing.T) {
				t.Parallel()
				r, p := decoded(t, text), pathsOf(paths...)
				require.Equal(t, len(paths), p.Len())
				for turn := range 3 {
					raw := make([]string, p.Len())
					raw[0] = "what was there before"
					r.Read(p, raw)
					for i, path := range paths {
						want, _ := r.Field(path)
						require.Equal(t, want.JSON(), raw[i], "%q in turn %d", path, turn)
					}
				}
			})
		}
	}
}

func TestPlacesAreNotTakenOverByARecordWithAnotherText(t *testing.T) {
	t.Parallel()
	text := `{ "_x" : 1 ,  "role" :  "reader"  , "other":"admin", "filler":"` + strings.Repeat("x", 2*minIndexed) + `"  }`
	r, p := decoded(t, text), pathsOf("role", "other")
	raw := make([]string, 2)
	r.Read(p, raw)
	require.NotEmpty(t, r.memory().places)
	r.SetMemo("derived", 7)
	for name, changed := range map[string]*Record{
		"stamped": r.fromSource("0123456789abcdef"),
		"tagged":  r.WithTags(map[string]string{"tag": "version"}),
		"capped":  r.withTTL(1 << 30),
	} {
		changed.Read(p, raw)
		require.Equal(t, []string{`"reader"`, `"admin"`}, raw, name)
		require.Equal(t, "derived", changed.Memo(), name)
	}
}

func TestPathIsAddedOnce(t *testing.T) {
	t.Parallel()
	p := new(Paths)
	require.Equal(t, []int{0, 1, 0}, []int{p.Add("a"), p.Add("b"), p.Add("a")})
	require.Equal(t, 2, p.Len())
}

// Any number of readers with paths of their own take turns.
func TestPlacesOfALargeRecordAreBounded(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(`{"first":0`)
	for i := range 1000 {
		fmt.Fprintf(&text, `,"field%03d":%d`, i, i)
	}
	r := decoded(t, text.String()+"}")
	r.SetMemo("derived", 1)
	readers := make([]*Paths, 500)
	for i := range readers {
		readers[i] = pathsOf("first", fmt.Sprintf("field%03d", i), fmt.Sprintf("field%03d", i+500))
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 3 {
				for i, p := range readers {
					raw := make([]string, 3)
					if r.Read(p, raw); raw[0] != "0" || raw[1] != fmt.Sprint(i) || raw[2] != fmt.Sprint(i+500) {
						t.Errorf("reader %d read %q", i, raw)
						return
					}
				}
			}
		})
	}
	group.Wait()
	kept := len(r.memory().places)
	require.LessOrEqual(t, kept*placeSize, r.Size()/indexShare)
	require.Greater(t, kept*placeSize, r.Size()/indexShare-2*placeSize)
	require.Equal(t, "derived", r.Memo())
	r.SetMemo("derived again", 1)
	require.Len(t, r.memory().places, kept)
}

func TestReadingFieldsAllocatesNothing(t *testing.T) {
	p := pathsOf("user_id", "roles", "user.name", "missing")
	small := `{"user_id":"u-1","roles":["reader"],"user":{"name":"Ada"}}`
	for name, text := range map[string]string{"small": small, "large": large(small)} {
		r, raw := decoded(t, text), make([]string, p.Len())
		r.Read(p, raw)
		require.Zero(t, testing.AllocsPerRun(100, func() { r.Read(p, raw) }), name)
	}
}

// Run: go test ./cache -run '^$' -bench Read -benchmem
func BenchmarkRead(b *testing.B) {
	p := pathsOf("user_id", "roles", "sub", "id")
	for _, size := range []int{100, 250, 500, 1000, 2000, 100_000} {
		var text strings.Builder
		text.WriteString(`{"user_id":"u-1234567","roles":["reader","editor"],"expires_at":4102444800`)
		for i := 0; text.Len() < size; i++ {
			fmt.Fprintf(&text, `,"field%03d":"value %d"`, i, i)
		}
		r, raw := decoded(b, text.String()+"}"), make([]string, p.Len())
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Read(p, raw)
			}
		})
	}
}
