package main

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
)

// sessions are the visitors of a load, and the order of their requests.
type sessions struct {
	ids []string
	// visits are indices of ids, in the order of requests. By default, a few
	// visitors send most of them.
	visits []int
}

// visitCount is the length of visits; after the last one, a load begins again.
const visitCount = 1 << 16

// zipfExponent is that of Zipf's law: the n-th visitor comes 1/n^1.1 times as often
// as the first.
const zipfExponent = 1.1

// newSessions makes the identities of n sessions, which are new if the name of the
// set is. The order of visits is the same in each run.
func newSessions(set string, n int) *sessions {
	s := &sessions{ids: make([]string, n), visits: make([]int, visitCount)}
	for i := range s.ids {
		s.ids[i] = fmt.Sprintf("%s-%08d", set, i)
	}
	random := rand.New(rand.NewSource(int64(n)))
	zipf := rand.NewZipf(random, zipfExponent, 1, uint64(n-1))
	for i := range s.visits {
		s.visits[i] = int(zipf.Uint64())
	}
	return s
}

// evenly lets all visitors come equally often.
func (s *sessions) evenly() *sessions {
	random := rand.New(rand.NewSource(int64(len(s.ids))))
	for i := range s.visits {
		s.visits[i] = random.Intn(len(s.ids))
	}
	return s
}

// write writes the identities into a file, one for each visit, and returns its
// path.
func (s *sessions) write(dir string) (string, error) {
	var text strings.Builder
	for _, i := range s.visits {
		text.WriteString(s.ids[i])
		text.WriteByte('\n')
	}
	file, err := os.CreateTemp(dir, "visits")
	if err != nil {
		return "", fmt.Errorf("writing visits: %w", err)
	}
	if _, err := file.WriteString(text.String()); err != nil {
		return "", fmt.Errorf("writing visits: %w", err)
	}
	path, err := filepath.Abs(file.Name())
	if err != nil {
		return "", fmt.Errorf("writing visits: %w", err)
	}
	return path, file.Close()
}
