package memory

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

const (
	// DefaultMaxSize is the default of [Options.MaxSize], 256 MiB.
	DefaultMaxSize = 256 << 20
	// EntryOverhead is the measured memory of a record besides its key and its
	// text, in bytes: the record, otter's node and its share of the hash table.
	EntryOverhead = 240
	// DefaultSaveInterval is the default of [Options.SaveInterval].
	DefaultSaveInterval = time.Minute
)

// Options of a store.
type Options struct {
	// MaxSize is the total size of all entries, in bytes: keys, the text of
	// records, and [EntryOverhead] for each. Above it, the entries that are least
	// likely to be used again are evicted. Default 256 MiB.
	MaxSize int64
	// MaxValueSize is the largest record, in bytes of JSON text. Default
	// [cache.DefaultMaxValueSize].
	MaxValueSize int
	// File is the name of the file that keeps records, their tags and their expiry
	// over a restart. It is read at the store's first use, and written at intervals
	// and by Close. A relative name is in the working directory. The file is
	// neither read nor written, and a log message says why, if other users may
	// write to it (directly, or through a directory or link above it) or if another
	// store uses it. Default: no file.
	File string
	// SaveInterval is how long a change may stay unwritten: a crash loses the
	// records that were written since. Each save writes all records. Default 1m.
	SaveInterval time.Duration
	// NoJournal turns off the journal beside File, which keeps a crash from
	// bringing back what was dropped since the last save. With the journal, a
	// revocation takes as long as syncing a line to the disk. Default false.
	NoJournal bool
	// Logger logs what happens to the file. Default: no logging.
	Logger *slog.Logger
}

// Validate reports what is wrong with the options, if anything.
func (o Options) Validate() error { return o.complete() }

// complete checks options and sets defaults.
func (o *Options) complete() error {
	if o.MaxSize < 0 || o.MaxValueSize < 0 {
		return fmt.Errorf("sizes cannot be negative: max size %d, max value size %d", o.MaxSize, o.MaxValueSize)
	}
	if o.SaveInterval < 0 {
		return fmt.Errorf("save interval cannot be negative: %s", o.SaveInterval)
	}
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxValueSize == 0 {
		o.MaxValueSize = cache.DefaultMaxValueSize
	}
	if o.SaveInterval == 0 {
		o.SaveInterval = DefaultSaveInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
