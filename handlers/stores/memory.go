// Package stores has the configuration of the stores: Redis with the near cache, and the
// embedded store.
package stores

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// Memory configures the embedded store: the memory of this process, and the file that keeps
// its records across a restart.
type Memory struct {
	// The size of all records and keys, in bytes. Default: 256MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// The file that keeps the records across a restart; a relative name is one
	// in the working directory. Default: none, records end with the process.
	Persist string `json:"persist,omitempty"`
	// How often changes are saved, as a duration, in addition to the save at
	// the end. Default: 1m.
	PersistInterval caddy.Duration `json:"persist_interval,omitempty"`
	// Whether each revocation is written to a journal beside the file before it
	// is answered, so that a revoked record does not return after a crash.
	// Default: true.
	PersistJournal *bool `json:"persist_journal,omitempty"`
}

// MinPersistInterval is the shortest persist_interval: each save writes all
// records.
const MinPersistInterval = time.Second

// Options resolves the placeholders of the configuration.
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
		return o, errors.New("memory persist: the name of the file is empty: its placeholders have no value")
	}
	o.File, err = filepath.Abs(o.File)
	return o, err
}

// NearCache configures the near cache: copies of Redis' records in this process, which
// Redis invalidates.
type NearCache struct {
	// Whether there is no near cache. Default: false.
	Off bool `json:"off,omitempty"`
	// The size of all copies and their keys, in bytes. Default: 64MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// How long a copy is used, as a duration. Default: 30s.
	TTL caddy.Duration `json:"ttl,omitempty"`
}

// Replaced resolves the placeholders of a configured value. The error names the
// setting and not the value, which may be a secret.
func Replaced(setting, value string) (string, error) {
	err := template.CheckDollar(value)
	if err == nil {
		value, err = caddy.NewReplacer().ReplaceOrErr(value, false, true)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return value, nil
}
