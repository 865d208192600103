// Settings that the source takes over from the file_servers behind its lookup.

package filesource

import "slices"

// defaultIndex are the default index files of file_server.
var defaultIndex = []string{"index.html", "index.txt"}

// HideAlso also hides the patterns of a file_server behind the lookup. It must
// be called before the first request.
func (s *Source) HideAlso(patterns []string) {
	for _, pattern := range patterns {
		if !slices.Contains(s.Hide, pattern) {
			s.Hide = append(s.Hide, pattern)
		}
	}
	s.hidden = newHideList(s.Hide)
}

// SetIndex sets the index files to those of the file_servers behind the lookup;
// a nil list stands for the default. If the lists differ from each other or
// from the source's own, directories are left to the next handler. It must be
// called before the first request.
func (s *Source) SetIndex(lists ...[]string) {
	want := s.Index
	for _, list := range lists {
		if list == nil {
			list = defaultIndex
		}
		if want == nil {
			want = list
		}
		if !slices.Equal(list, want) {
			s.Index = nil
			return
		}
	}
	if want == nil {
		want = defaultIndex
	}
	s.Index = want
}
