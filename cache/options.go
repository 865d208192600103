package cache

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of [LookupOptions], but for DefaultNegativeTTL, which callers set.
const (
	DefaultLookupTimeout = 500 * time.Millisecond
	DefaultNegativeTTL   = 30 * time.Second
	DefaultLoadTimeout   = 5 * time.Second
	DefaultMaxConcurrent = 64
)

const (
	// how many loads of a lookup may wait, for each that may be under way, and
	// at least
	queuedPerLoad = 16
	minQueued     = 1024
)

// LookupOptions are the options of a [Lookup].
type LookupOptions struct {
	// Name of the lookup in statistics. Lookups of one name share counters.
	Name string
	// Family of the records, for statistics.
	Family string
	// KeyPrefix is what all keys of the lookup begin with.
	KeyPrefix string
	// Strict uses near copies only while the store reports all writes. It is for
	// records that can be revoked.
	Strict bool
	// StaleIfError is how long after its expiry a record is still used where
	// neither the store nor the source answers. Default 0: not at all.
	StaleIfError time.Duration
	// TTL of records that are filled from the source.
	TTL time.Duration
	// NegativeTTL is that of absences and refusals from the source. Default 0:
	// they are not stored. [DefaultNegativeTTL] suits records that are public.
	NegativeTTL time.Duration
	// Sliding extends a found record to TTL when it is used, at most once per
	// tenth of TTL.
	Sliding bool
	// ExpiresAt makes a record whose expires_at has passed count as missing, and
	// caps the TTL at it.
	ExpiresAt bool
	// Expiry says which field that is, where it is not expires_at. One that
	// cannot be read is an error of the lookup.
	Expiry Expiry
	// Source is asked when no cache has the record. It must be comparable
	// (a pointer). Nil: the application writes the records by itself.
	Source Source
	// SourceID is a fingerprint of everything that can change what the source
	// answers for a key, its configuration above all: 16 lower-case hex digits.
	// Records from the source are stored with it, and the lookup uses only
	// those with its own fingerprint and those without any, which applications
	// write. So lookups that share keys but ask different questions never use
	// each other's answers. "" is for lookups without a source, and where no
	// two sources ever share a key.
	SourceID string
	// Decoder reads values that the application keeps in a format of its own.
	// It needs a store that is a [RawReader], and excludes a source. Nil:
	// values are records.
	Decoder Decoder
	// MaxValueSize is the largest record that a source may answer, in bytes
	// of JSON text. Default [DefaultMaxValueSize].
	MaxValueSize int
	// Tags are what a record from the source is filed under, so that it can be
	// dropped together with others. Absences and refusals have tags too.
	// Nil: nothing.
	Tags func(req Request, record *Record) []string
	// LoadTimeout is the longest a load from the source may take. Together with
	// LookupTimeout it is the longest that a lookup takes, and that a node which
	// died while loading delays others. Default 5s.
	LoadTimeout time.Duration
	// MaxConcurrent is how many loads may be under way at a time in this
	// process. More wait, no longer than LoadTimeout; where very many wait, 16
	// for each that may be under way and 1024 at least, the next one is
	// [ErrOverloaded] at once. Default 64.
	MaxConcurrent int
	// LookupTimeout is the longest that one lookup waits for the store, all
	// its round trips together, but for those of another load that it waits
	// for. Default 500ms.
	LookupTimeout time.Duration
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

// MinTTL is the shortest time anything can be stored for.
const MinTTL = time.Millisecond
