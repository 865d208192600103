package wire

// HealthStatus is what a check, or all of them together, came to.
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
	// Output says what is wrong, if anything is.
	Output string `json:"output,omitempty"`
	// Checks by what they measure, like "redis:ping"; each has one entry.
	Checks map[string][]HealthCheck `json:"checks,omitempty"`
}

// HealthCheck is one measurement, with what is wrong with it.
type HealthCheck struct {
	Value  any          `json:"observedValue,omitempty"`
	Unit   string       `json:"observedUnit,omitempty"`
	Status HealthStatus `json:"status"`
	Output string       `json:"output,omitempty"`
}
