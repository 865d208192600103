package metadata

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// replacements is how often the files are replaced in each variant.
const replacements = 100

// While a file and its precompressed files are replaced, each by itself, file_server alone
// sends the tag of one content with another at times. With file_metadata that never
// happens, and what is said of an answer is true of its body.
func TestTagsAreThoseOfTheBodyWhilePrecompressedFilesAreReplaced(t *testing.T) {
	for name, metadata := range map[string]string{
		"plain":           "source file_system {\nrevalidate 2ms\n}",
		"memory":          "source file_system {\nrevalidate 2ms\n}\nmemory 64KiB",
		"hash":            "source file_system {\nrevalidate 2ms\nhash sha256\n}",
		"hash and memory": "source file_system {\nrevalidate 2ms\nhash sha256\n}\nmemory 64KiB",
	} {
		t.Run(name, func(t *testing.T) {
			s := &replacedFile{dir: t.TempDir(), bodies: make(map[string]string), heads: make(map[string]string)}
			s.url, _ = lookuptest.RunCaddy(t, "", "root "+s.dir+"\nfile_metadata {\n"+metadata+"\n}\nfile_server {\nprecompressed br gzip\n}")
			t.Cleanup(s.client.CloseIdleConnections)
			for coding := range replacedSuffixes {
				s.replace(t, coding)
			}
			var replaced atomic.Bool
			var group sync.WaitGroup
			for _, method := range []string{"GET", "GET", "GET", "HEAD"} {
				group.Go(func() {
					for !replaced.Load() {
						s.ask(t, method)
					}
				})
			}
			for range replacements {
				s.replace(t, []string{"", "gzip", "br"}[rand.IntN(3)])
				s.ask(t, "GET") // so that they are replaced no faster than they are read
			}
			replaced.Store(true)
			group.Wait()
			require.Eventually(t, func() bool {
				s.ask(t, "GET")
				return len(s.bodies) > 0
			}, 10*time.Second, time.Millisecond, "no answer has a tag")
			for tag, length := range s.heads {
				if body, ok := s.bodies[tag]; ok {
					require.Equal(t, strconv.Itoa(len(body)), length, "HEAD with the tag of %.20s", body)
				}
			}
		})
	}
}

var replacedSuffixes = map[string]string{"": "", "gzip": ".gz", "br": ".br"}

type replacedFile struct {
	dir, url string
	client   http.Transport
	version  atomic.Int64

	mu     sync.Mutex
	bodies map[string]string // by their tags
	heads  map[string]string // the lengths by the tags
}

// replace replaces one of the files. No two contents have the same size.
func (s *replacedFile) replace(t *testing.T, coding string) {
	version := s.version.Add(1)
	text := fmt.Sprintf("%s %d ", coding, version)
	text += strings.Repeat("x", 100+int(version)-len(text))
	path := filepath.Join(s.dir, "a.css"+replacedSuffixes[coding])
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

func (s *replacedFile) ask(t *testing.T, method string) {
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+"/a.css", nil)
	if !assert.NoError(t, err) {
		return
	}
	accept := []string{"identity", "gzip", "br", "gzip, br;q=0.5"}[rand.IntN(4)]
	r.Header.Set("Accept-Encoding", accept)
	resp, err := s.client.RoundTrip(r)
	if !assert.NoError(t, err) {
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	tag, coding := resp.Header.Get("Etag"), resp.Header.Get("Content-Encoding")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "Accept-Encoding", resp.Header.Get("Vary"))
	assert.True(t, coding == "" || strings.Contains(accept, coding), "%s for %s", coding, accept)
	if method == "GET" && err == nil {
		of, _, _ := strings.Cut(string(body), " ")
		assert.Equal(t, coding, of, "Content-Encoding")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case tag == "":
	case method == "HEAD":
		s.heads[tag] = resp.Header.Get("Content-Length")
	case err == nil: // else file_server had set the length of the file before
		if was, ok := s.bodies[tag]; ok {
			assert.Equal(t, was, string(body), tag)
		}
		s.bodies[tag] = string(body)
	}
}
