package wire

// RestoreReport is the answer of POST restore.
type RestoreReport struct {
	Restored int `json:"restored"`
	// Kept counts the records that were not overwritten.
	Kept int `json:"kept"`
	// Expired counts the records that have expired, or whose tags were dropped,
	// since the backup.
	Expired int `json:"expired"`
	// Failed counts the malformed lines.
	Failed int `json:"failed"`
	// Tags counts the lines that only repeat a tag of a record.
	Tags  int `json:"tags"`
	Lines int `json:"lines"`
	// Errors are those of the first 100 malformed lines. It is never null.
	Errors []LineError `json:"errors"`
	// Line is the first line that may not have been restored, where the restore
	// ended early; Error is the reason. Otherwise both are absent.
	Line  int    `json:"line,omitempty"`
	Error string `json:"error,omitempty"`
}

// LineError is the error of a line of a backup. Lines are counted from 1.
type LineError struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}
