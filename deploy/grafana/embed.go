// Package grafana has the dashboard for Grafana, so that the command line can write it.
package grafana

import _ "embed"

//go:embed filewallball.json
var dashboard string

// Dashboard returns the dashboard as JSON, which Grafana imports.
func Dashboard() string { return dashboard }
