// Run with: go test ./cache/memory -run '^$' -bench . -cpu 1,16

package memory_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/memory"
)

// What a revocation costs: the sync of a line to the disk, which those that
// come at once share.
func BenchmarkRevocation(b *testing.B) {
	for name, options := range map[string]memory.Options{
		"journal":    {File: filepath.Join(b.TempDir(), "records"), SaveInterval: time.Hour},
		"no journal": {File: filepath.Join(b.TempDir(), "records"), SaveInterval: time.Hour, NoJournal: true},
	} {
		b.Run(name, func(b *testing.B) {
			options.File += fmt.Sprint(b.N)
			s := open(b, options)
			require.NoError(b, s.Set(b.Context(), "a", decode(b, `{}`), time.Hour))
			s.Save()
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := s.Delete(b.Context(), key(int(n.Add(1)))); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
