package redis

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/near"
)

// repeated reads the same bytes over and over.
type repeated struct {
	text []byte
	at   int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := copy(b, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// BenchmarkPushes is what a node pays for reports of writes to records that it
// has no copies of: reading, decoding, and finding that there is nothing to drop.
// One operation is one key. Other records are copied meanwhile.
func BenchmarkPushes(b *testing.B) {
	for _, keys := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			sink := near.New[cache.Record](near.Options{MaxSize: 1 << 30})
			sink.SetTrust(near.Coherent)
			defer sink.SetTrust(near.None)
			for i := range 10_000 {
				sink.Begin(fmt.Sprintf("session:user:own%d", i), true).Keep(near.Copy[cache.Record]{Record: versioned(int64(i))}, time.Now())
			}
			var text bytes.Buffer
			for i := range 100 {
				fmt.Fprintf(&text, ">2\r\n$10\r\ninvalidate\r\n*%d\r\n", keys)
				for j := range keys {
					key := fmt.Sprintf("session:user:%032d", i*keys+j)
					fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(key), key)
				}
			}
			tr := newTracker(nil, "", nil, newCanary(nil, "canary", nil))
			tr.written = func(keys []string) { sink.Invalidate(keys...) }
			pushes := pushReader{reader: bufio.NewReaderSize(&repeated{text: text.Bytes()}, trackerBuffer), written: tr.report}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += keys {
				if err := pushes.read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
