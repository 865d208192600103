package wire

// BenchRequest is the body of POST bench. An empty body means all defaults.
type BenchRequest struct {
	// Count is how many records are written and read. Default 1000.
	Count int `json:"count"`
	// Size is the size of each record, in bytes. Default 256.
	Size int `json:"size"`
	// Batch is the number of records of one call of set_many or get_many. Default 100.
	Batch int `json:"batch"`
	// Concurrency is the number of concurrent callers. Default 1.
	Concurrency int `json:"concurrency"`
}

// BenchReport is the answer of POST bench.
type BenchReport struct {
	// Store is "redis" or "memory".
	Store string `json:"store"`
	BenchRequest
	Sequential *BenchRun `json:"sequential"`
	// Concurrent is absent unless the concurrency is more than 1.
	Concurrent *BenchRun `json:"concurrent,omitempty"`
}

// BenchRun has the measurements at one concurrency.
type BenchRun struct {
	Set     BenchOperation `json:"set"`
	Get     BenchOperation `json:"get"`
	SetMany BenchOperation `json:"set_many"`
	GetMany BenchOperation `json:"get_many"`
}

// BenchOperation has the measurements of one kind of call.
type BenchOperation struct {
	Operations int       `json:"operations"` // calls; a batch is one
	Records    int       `json:"records"`
	Errors     int       `json:"errors"` // calls that failed or returned another record
	Seconds    float64   `json:"seconds"`
	PerSecond  float64   `json:"per_second"` // records
	Latency    Quantiles `json:"latency_ms"` // of a call
}
