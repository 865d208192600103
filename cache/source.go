package cache

import (
	"context"
	"time"
)

// Request says what is looked up.
type Request struct {
	// Key is the record's key in the store.
	Key string
	// ID is the identity for the source.
	ID string
	// Parts are the parts of an identity that has several, otherwise nil.
	Parts []string
	// Values are further values of the request that the source uses, in an order that
	// the source and its caller have agreed on. They must be part of the key.
	Values []string
	// Scope is where the identity is valid, for sources that need it: the name of a
	// file system. The key must differ between scopes.
	Scope string
}

// Source is where a record comes from when no cache has it. Its context has the
// values of the request that began the load. It ends after
// [LookupOptions.LoadTimeout], or when no request waits for the load any more.
// A source that ignores the end of its context keeps using one of its lookup's
// MaxConcurrent loads.
type Source interface {
	// Name is the kind of source in statistics: "http", "file_system".
	Name() string
	// Load loads a record. old is the stored record that it would replace, nil
	// where there is none.
	Load(ctx context.Context, req Request, old *Record) (Loaded, error)
}

// Revalidator is a [Source] that can quickly check whether a cached record is
// still true. It is asked at every hit, so it must nearly always answer from
// memory. now is the time of the hit.
type Revalidator interface {
	// Current returns the record to use where a cache has record. That is the same
	// record, or the one that is true on this node, for example for a file that
	// another node has in another state. ok is false where the source must be
	// asked; its answer then replaces the cached record.
	Current(ctx context.Context, req Request, record *Record, now time.Time) (use *Record, ok bool)
}

// Loaded is what a source answered.
type Loaded struct {
	// Record is found, absent or denied. It is nil where there is only a Response.
	Record *Record
	// MaxTTL caps the TTL of the record; 0 means no cap.
	MaxTTL time.Duration
	// NoStore keeps the record out of every cache.
	NoStore bool
	// NoStoreReason is the reason for NoStore in a word or two, or "".
	NoStoreReason string
	// Response is an answer for the client of the request that asked: instead of a
	// Record (a redirect), beside one, or beside an error. It is never cached.
	Response any
	// Private reports that the answer is for one client alone, because Response sets a
	// cookie. Each other request that joined the load asks the source itself.
	Private bool
}

// SourceError wraps an error of a source, as opposed to one of the store.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "asking source: " + e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }
