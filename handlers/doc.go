// Package handlers has the Caddy modules over package cache: what becomes of a
// request once a record is found, and the admin API.
//
// # Rooms
//
//   - app.go is what the modules need of the app, lookup.go what the lookups
//     have in common: identity, key, route and reactions. routenames.go names the
//     routes, lookups.go finds lookups by these names.
//   - session*.go is session_lookup: its rules (session_require.go,
//     session_verdict.go) and the request headers it fills.
//   - metadata*.go is file_metadata: representation.go what a record says in
//     HTTP, precondition.go RFC 9110's conditions, metadata_response.go what is
//     answered, metadata_content.go files as net/http takes them.
//   - invalidate.go and tags.go are what drops records together.
//   - upload*.go is upload_progress and its report: the body is counted
//     (upload_body.go), a goroutine publishes (upload_publish.go), and a hub
//     reads once for all who listen (upload_hub.go).
//   - admin*.go is the admin API, an endpoint or two to a file; warmup.go and
//     backup_line.go are what warm and restore do; stats.go and health.go what
//     is told of the cache.
//   - placeholders.go, cachestatus.go and debuglog.go tell what a lookup came
//     to; body.go writes the bodies of files.
//
// Each directive's Caddyfile is read in a file of its own (…_caddyfile.go), by
// the words of package directive.
//
// # Packages below
//
//   - source: where records come from, http and file_system.
//   - stores: which store a configuration asks for, and lifetime: what outlives
//     a configuration.
//   - lookupfs: the file system module; template: texts with placeholders.
//   - command: the command line, over the admin API alone.
//   - sitetest: a real Caddy for tests; uploadtest: uploads over real
//     connections and in a browser.
//
// Modules reach the app through [App] and never through the root package, which
// has every registration.
package handlers
