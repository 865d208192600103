package wire

import "encoding/json"

// KeyList is the answer of GET keys.
type KeyList struct {
	Keys []string `json:"keys"`
	// Cursor is the parameter that continues the list, "" at its end.
	Cursor string `json:"cursor"`
}

// RecordRequest is the body of POST get, POST delete and POST set. TTL and Value are for
// set only. An identity is for get and delete only, instead of a key.
type RecordRequest struct {
	Key string `json:"key,omitempty"`
	// TTL is a duration like "1h". Default: the TTL of the key's family.
	TTL   *string         `json:"ttl,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	Identity
}

// Identity names a record by an identity. The lookup of the route makes the key of it,
// with a hash if it hashes identities.
type Identity struct {
	// Route is the name of the lookup.
	Route string `json:"route,omitempty"`
	// ID is the identity as it is after placeholders are replaced.
	ID string `json:"id,omitempty"`
	// Root and FS stand for {http.vars.root} and {http.vars.fs}, for a source
	// that takes its root from the site.
	Root string `json:"root,omitempty"`
	FS   string `json:"fs,omitempty"`
}

// Record is the answer of GET keys/{key} and POST get.
type Record struct {
	Key string `json:"key"`
	// TTLSeconds is rounded up; -1 means that the record never expires.
	TTLSeconds int64           `json:"ttl_seconds"`
	Value      json.RawMessage `json:"value"`
}

// PurgeRequest is the body of POST purge. It has exactly one of these fields.
type PurgeRequest struct {
	Keys   []string `json:"keys,omitzero"`
	Prefix string   `json:"prefix,omitempty"`
	Tag    string   `json:"tag,omitempty"`
}

// PurgeReport is the answer of POST purge: the number of records that were dropped, or of
// tags.
type PurgeReport struct {
	Purged int `json:"purged"`
}

// PendingReport is the answer, with status 503, to an invalidation that was not carried
// out for some keys, prefixes or tags. Pending is their number; they are retried in the
// background.
type PendingReport struct {
	Error   string `json:"error"`
	Purged  int    `json:"purged"`
	Pending int    `json:"pending"`
}
