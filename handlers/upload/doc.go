// Package upload is the directives upload_progress, which publishes the
// progress of uploads as records, and upload_progress_report, which reports it.
//
//   - upload.go: the handler of uploads. body.go: counts a body as it is read.
//     record.go: the published record. publish.go: the goroutine that writes it.
//   - report.go: the handler of reports, as JSON. events.go: reports as
//     server-sent events. hub.go: one read of the store for all listeners.
//   - caddyfile.go: the options of both.
package upload
