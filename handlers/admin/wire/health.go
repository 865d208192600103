package wire

// HealthStatus is the status of a check, or of all checks together.
type HealthStatus string

// The statuses, from the best to the worst.
const (
	HealthPass HealthStatus = "pass"
	HealthWarn HealthStatus = "warn" // beyond an alert threshold, or degraded
	HealthFail HealthStatus = "fail" // the store does not answer
)

// Health is the answer of the health endpoint.
type Health struct {
	Status HealthStatus `json:"status"`
	// Output describes what is wrong; "" if nothing is.
	Output string `json:"output,omitempty"`
	// Checks by what they measure, like "redis:ping"; each has one entry.
	Checks map[string][]HealthCheck `json:"checks,omitempty"`
}

// HealthCheck is one measurement. Output describes what is wrong; "" if nothing is.
type HealthCheck struct {
	Value  any          `json:"observedValue,omitempty"`
	Unit   string       `json:"observedUnit,omitempty"`
	Status HealthStatus `json:"status"`
	Output string       `json:"output,omitempty"`
	// Links has the page "runbook", which says what to do.
	Links map[string]string `json:"links,omitempty"`
}
