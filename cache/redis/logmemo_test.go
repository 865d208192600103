package redis

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// logMemo is a log that remembers level and message of each line.
type logMemo struct {
	mu    sync.Mutex
	lines []string
}

func (l *logMemo) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// count is how often a line was written.
func (l *logMemo) count(line string) (n int) {
	for _, written := range l.all() {
		if written == line {
			n++
		}
	}
	return n
}

func (l *logMemo) Enabled(context.Context, slog.Level) bool { return true }

func (l *logMemo) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.ToLower(r.Level.String())+" "+r.Message)
	return nil
}

func (l *logMemo) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logMemo) WithGroup(string) slog.Handler      { return l }
