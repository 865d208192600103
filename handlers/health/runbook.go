package health

import "strings"

// operations is the page of the docs that says what to do.
const operations = "https://github.com/filewallball/caddy-filewallball/blob/main/docs/operations.md#"

// Runbook returns the address of what to do where a check does not pass, "" for
// a check that is not known. The alerts of deploy/prometheus lead to the same.
func Runbook(check string) string {
	of, what, _ := strings.Cut(check, ":")
	switch of {
	case "source":
		return operations + "a-source-fails"
	case "root":
		return operations + "the-root-of-files-cannot-be-read"
	}
	section := ""
	switch what {
	case "ping":
		section = "redis-is-down"
	case "refused_reads":
		section = "redis-refuses-reads"
	case "refused_writes":
		section = "redis-refuses-writes"
	case "pending":
		section = "invalidations-are-pending"
	case "coherent":
		section = "near-copies-are-not-coherent"
	case "hit_rate":
		section = "the-hit-rate-is-low"
	case "latency_p95":
		section = "redis-is-slow"
	case "memory_used":
		section = "redis-is-full"
	case "connected_clients":
		section = "redis-has-many-clients"
	case "info":
		section = "rights-of-the-redis-user"
	case "file":
		section = "records-cannot-be-saved"
	default:
		return ""
	}
	return operations + section
}
