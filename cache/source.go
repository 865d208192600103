package cache

import (
	"context"
	"time"
)

// Request says what is looked up.
type Request struct {
	// Key is the record's key in the store.
	Key string
	// ID is the identity as the source knows it.
	ID string
	// Parts are the parts of an identity that has several; else nil.
	Parts []string
	// Values are what else the source may see of the request, in the order in
	// which it asked for them. The key must hold them.
	Values []string
	// Scope says where the identity is meaningful, for sources that need it:
	// the name of a file system. The key must tell scopes apart too.
	Scope string
}

// Source is where a record comes from when no cache has it. Its context has the
// values of the request that began the load, and ends after
// [LookupOptions.LoadTimeout], or when no request waits for the load any more. A
// source that does not heed that keeps its place among the loads of its lookup.
type Source interface {
	// Name is the kind of source in statistics: "http", "file_system".
	Name() string
	// Load asks for a record. old is the record it would replace, nil where
	// there is none.
	Load(ctx context.Context, req Request, old *Record) (Loaded, error)
}

// Revalidator is a [Source] that knows cheaply whether a cached record still
// holds. It is asked at every hit, so it must answer from memory nearly always;
// now is when the hit was found, or a little later.
type Revalidator interface {
	// Current returns the record to use where a cache has record: the same
	// one, or the one that is true on this node, such as of a file that another
	// node has in another state. ok is false where the source is to be asked,
	// and its answer to replace the cached one.
	Current(ctx context.Context, req Request, record *Record, now time.Time) (use *Record, ok bool)
}

// Loaded is what a source answered.
type Loaded struct {
	// Record is found, absent or denied; nil where there is only a Response.
	Record *Record
	// MaxTTL caps how long the record may be cached; 0 is no cap.
	MaxTTL time.Duration
	// NoStore keeps the record out of every cache.
	NoStore bool
	// NoStoreReason says why NoStore is set, in a word or two; "" where there is
	// nothing to say.
	NoStoreReason string
	// Response is what the source answered, for the client of the request that
	// asked: alone (a redirect), beside a Record, or beside an error. It is
	// never cached.
	Response any
	// Private keeps the answer from requests that waited for it with the one
	// that asked, because Response sets a cookie: each asks for itself.
	Private bool
}

// SourceError marks what failed in a source, not in the store.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "asking source: " + e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }
