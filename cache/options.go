package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Defaults of [LookupOptions]. DefaultNegativeTTL is for callers to set; the
// default of NegativeTTL is 0.
const (
	DefaultLookupTimeout = 500 * time.Millisecond
	DefaultNegativeTTL   = 30 * time.Second
	DefaultLoadTimeout   = 5 * time.Second
	DefaultMaxConcurrent = 64
)

const (
	// how many loads of a lookup may wait: this many for each that may run, and at
	// least minQueued
	queuedPerLoad = 16
	minQueued     = 1024
)

// LookupOptions are the options of a [Lookup].
type LookupOptions struct {
	// Name is the name of the lookup in statistics. Lookups of one name share
	// counters.
	Name string
	// Family is the family of the records, for statistics, such as [Session].
	Family string
	// KeyPrefix begins all keys of the lookup. Near copies are kept only of keys with
	// the prefix of a lookup.
	KeyPrefix string
	// Memos gives near copies room for a memo, for readers that call
	// [Record.SetMemo]. Default false: small copies keep no memo.
	Memos bool
	// Strict allows near copies only while the store reports all writes. It is for
	// records that can be revoked, such as sessions. Default false.
	Strict bool
	// StaleIfError is how long after its expiry a record may still be used while
	// neither the store nor the source answers. Default 0: not at all.
	StaleIfError time.Duration
	// TTL is the TTL of records that are filled from the source.
	TTL time.Duration
	// NegativeTTL is the TTL of absences and refusals from the source. Default 0:
	// they are not stored. [DefaultNegativeTTL] suits public records.
	NegativeTTL time.Duration
	// Sliding extends a found record to TTL when it is used, at most once per tenth
	// of TTL. Default false.
	Sliding bool
	// ExpiresAt treats a record whose expiry field has passed as absent, and caps
	// the TTL at that time. Default false.
	ExpiresAt bool
	// Expiry is the expiry field and its unit. Default: expires_at. A field that
	// cannot be read is an error of the lookup.
	Expiry Expiry
	// Source is asked when no cache has the record. It must be comparable (a
	// pointer). Nil: the application writes the records itself.
	Source Source
	// SourceID is a fingerprint of everything that can change the source's answer
	// for a key, above all its configuration: 16 lower-case hex digits. Records
	// from the source are stored with it. The lookup uses only records with its own
	// fingerprint and records without one, which applications write. So lookups
	// that share keys but ask different questions never use each other's answers.
	// "" is for lookups without a source, and for sources that never share a key.
	SourceID string
	// Decoder reads values that the application stores in its own format. It needs
	// a store that is a [RawReader] and excludes a source. Nil: values are records.
	Decoder Decoder
	// MaxValueSize is the largest record that a source may answer, in bytes of JSON
	// text. Default [DefaultMaxValueSize].
	MaxValueSize int
	// Tags returns the tags of a record from the source; [Cache.DropTag] drops all
	// records of a tag together. Absences and refusals have tags too. Nil: no tags.
	Tags func(req Request, record *Record) []string
	// TagsID names Tags: lookups with the same TagsID must give the same tags to the
	// record of a key, and a near copy is checked once for all of them. Default: the
	// lookup shares its checks with no other.
	TagsID string
	// LoadTimeout is the longest time that a load from the source may take.
	// Together with LookupTimeout it is the longest time that a lookup takes, and
	// the longest delay that a node causes which dies while it loads. Default 5s.
	LoadTimeout time.Duration
	// MaxConcurrent is how many loads of this lookup may run at a time in this
	// process. Further loads wait, within LoadTimeout. Where 16 per running load
	// wait, and at least 1024, the next load fails at once with [ErrOverloaded].
	// Default 64.
	MaxConcurrent int
	// LookupTimeout is the longest time that one lookup waits for the store, summed
	// over its round trips. The time for which it waits for another load is not
	// counted. Default 500ms.
	LookupTimeout time.Duration
	// Logger logs when the source begins to fail, at most once a minute while it
	// fails, and when it answers again. Nil: nothing is logged.
	Logger *slog.Logger
}

func (o *LookupOptions) setDefaults() {
	setDefault(&o.LoadTimeout, DefaultLoadTimeout)
	setDefault(&o.LookupTimeout, DefaultLookupTimeout)
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = DefaultMaxConcurrent
	}
	if o.MaxValueSize == 0 {
		o.MaxValueSize = DefaultMaxValueSize
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

func (o *LookupOptions) validate() error {
	var errs []error
	if o.Name == "" {
		errs = append(errs, errors.New("lookup has no name"))
	}
	if o.MaxConcurrent < 0 {
		errs = append(errs, fmt.Errorf("max concurrent is %d, want at least 1", o.MaxConcurrent))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ttl", o.TTL},
		{"load timeout", o.LoadTimeout}, {"lookup timeout", o.LookupTimeout},
	} {
		if d.value < MinTTL {
			errs = append(errs, fmt.Errorf("%s is %s, want at least %s", d.name, d.value, MinTTL))
		}
	}
	if o.NegativeTTL != 0 && o.NegativeTTL < MinTTL {
		errs = append(errs, fmt.Errorf("negative ttl is %s, want 0s or at least %s", o.NegativeTTL, MinTTL))
	}
	if o.StaleIfError < 0 {
		errs = append(errs, fmt.Errorf("stale_if_error is %s, want 0s or more", o.StaleIfError))
	}
	if o.SourceID != "" {
		if _, ok := parseSourceID(o.SourceID); !ok {
			errs = append(errs, fmt.Errorf("source ID is not %d lower-case hex digits", sourceIDLength))
		}
		if o.Source == nil {
			errs = append(errs, errors.New("source ID without a source"))
		}
	}
	return errors.Join(errs...)
}

// MinTTL is the shortest TTL.
const MinTTL = time.Millisecond
