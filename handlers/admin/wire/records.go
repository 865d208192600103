package wire

import "encoding/json"

// KeyList is the answer of GET keys.
type KeyList struct {
	Keys []string `json:"keys"`
	// Cursor is the parameter that continues the list, "" at its end.
	Cursor string `json:"cursor"`
}

// RecordRequest is the body of POST get, POST delete and POST set. TTL and Value
// belong to set alone. An identity belongs to get and delete, instead of a key.
type RecordRequest struct {
	Key string `json:"key,omitempty"`
	// TTL is a duration like "1h". Default: the TTL of the key's family.
	TTL   *string         `json:"ttl,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
	Identity
}

// Identity names a record by the identity of a lookup, which makes the key of it,
// hashed where the lookup hashes.
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

// PurgeReport is the answer of POST purge: how many records there were, or how
// many tags.
type PurgeReport struct {
	Purged int `json:"purged"`
}

// PendingReport is the answer, with status 503, to an invalidation of which
// Pending keys or tags were not done. They are retried in the background.
type PendingReport struct {
	Error   string `json:"error"`
	Purged  int    `json:"purged"`
	Pending int    `json:"pending"`
}
