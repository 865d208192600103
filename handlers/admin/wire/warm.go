package wire

// WarmRequest is the body of POST warm.
type WarmRequest struct {
	// Route is the name of the routes whose records are loaded.
	Route string `json:"route"`
	// IDs are identities as they are after placeholders are replaced. Nil means all
	// that the source lists.
	IDs []string `json:"ids,omitzero"`
	// Concurrency is how many loads run at a time. Default 4, at most 64.
	Concurrency int `json:"concurrency,omitempty"`
	// Rate is the most identities that are begun per second. Default 0: no limit.
	Rate float64 `json:"rate,omitempty"`
	// Root and FS stand for {http.vars.root} and {http.vars.fs}, for a source
	// that takes its root from the site.
	Root string `json:"root,omitempty"`
	FS   string `json:"fs,omitempty"`
}

// WarmProgress is a line of the answer of POST warm. Done is the sum of Loaded,
// Present, Absent, Denied and Errors.
type WarmProgress struct {
	Done    int `json:"done"`
	Total   int `json:"total"`   // -1 while it is not known
	Loaded  int `json:"loaded"`  // the source had a record
	Present int `json:"present"` // the store had a record, an absence or a refusal
	Absent  int `json:"absent"`  // the source has no record
	Denied  int `json:"denied"`  // the source refuses access
	Errors  int `json:"errors"`
	// Unstored is how many answers of the source were not stored, mostly
	// because the source forbids it.
	Unstored  int     `json:"unstored"`
	PerSecond float64 `json:"per_second"`
	Seconds   float64 `json:"seconds"`
	// Finished is true in the last line of a warm-up that tried everything. A
	// line with neither Finished nor Error is followed by another one.
	Finished bool          `json:"finished"`
	Failed   []WarmFailure `json:"failed,omitempty"` // the first 100
	Error    string        `json:"error,omitempty"`
}

// WarmFailure names an identity by its index in the request, never by its text.
type WarmFailure struct {
	Index int    `json:"index"` // -1 for what the source listed
	Error string `json:"error"`
}
