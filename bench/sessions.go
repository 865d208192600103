package main

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
)

// sessions are the visitors of one measurement: how many there are, and in
// which order they come.
type sessions struct {
	ids []string
	// visits are indices of ids: few visitors come often, many seldom.
	visits []int
}

// visitCount is how many visits are drawn; after the last, the first follows.
const visitCount = 1 << 16

// zipfExponent is how much oftener the few come: the n-th of them 1/n^1.1 as
// often as the first.
const zipfExponent = 1.1

// newSessions names n sessions that were never used, if the name of the
// set is new. The order is the same in each run.
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

// evenly makes all visitors come equally often.
func (s *sessions) evenly() *sessions {
	random := rand.New(rand.NewSource(int64(len(s.ids))))
	for i := range s.visits {
		s.visits[i] = random.Intn(len(s.ids))
	}
	return s
}

// write writes the visits into a file, one id a line, and returns its name.
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
