// Package stores has the configuration of where records are kept: Redis, the
// copies of its records in this process, or this process alone.
package stores

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache/memory"
)

// Memory limits the embedded store, and keeps it over a restart.
type Memory struct {
	// Bytes of records and keys. Default 256MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// The file that keeps the records over a restart; a relative name is one in
	// the working directory. Default: they end with the process.
	Persist string `json:"persist,omitempty"`
	// How often changes are saved, beside the save at the end. Default 1m.
	PersistInterval caddy.Duration `json:"persist_interval,omitempty"`
	// Whether each revocation is written to a journal beside the file before it
	// is answered, so that a crash brings nothing back that was revoked.
	// Default true.
	PersistJournal *bool `json:"persist_journal,omitempty"`
}

// MinPersistInterval is the least time between saves: each writes everything.
const MinPersistInterval = time.Second

// Options puts environment and the like into what is configured.
func (m *Memory) Options(maxValueSize int, logger *slog.Logger) (o memory.Options, err error) {
	o = memory.Options{MaxValueSize: maxValueSize, Logger: logger}
	if m == nil {
		return o, nil
	}
	o.MaxSize, o.SaveInterval = m.MaxSize, time.Duration(m.PersistInterval)
	o.NoJournal = m.PersistJournal != nil && !*m.PersistJournal
	if m.Persist == "" {
		return o, nil
	}
	if o.File, err = Replaced("memory persist", m.Persist); err != nil {
		return o, err
	}
	if o.File == "" {
		return o, errors.New("memory persist: the name of the file is empty once placeholders are replaced")
	}
	o.File, err = filepath.Abs(o.File)
	return o, err
}

// NearCache limits the copies of shared records in this process, which answer
// without Redis and which Redis keeps true.
type NearCache struct {
	// Keep none.
	Off bool `json:"off,omitempty"`
	// Bytes of records and keys. Default 64MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// The longest a copy lives. Default 30s.
	TTL caddy.Duration `json:"ttl,omitempty"`
}

// Replaced puts environment, files and the like into a configured value. The
// error names the setting and not the value, which may be a secret.
func Replaced(setting, value string) (string, error) {
	value, err := caddy.NewReplacer().ReplaceOrErr(value, false, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return value, nil
}
