// Package lookup is what all lookups share: it makes a key of a request, looks
// the record up through the app, and reacts where there is none.
//
//   - lookup.go: the part of a handler's configuration that all lookups have,
//     and its life. caddyfile.go: its options. app.go: the app, as handlers see
//     it.
//   - identity.go: the identity of a request. key.go: the key of a record.
//     written.go: keys that a configuration writes out. placeholders.go: which
//     placeholders are allowed. tags.go: tags.
//   - question.go: refuses two lookups with one key that ask their sources
//     different questions. place.go: the same when a Caddyfile is read.
//   - reaction.go: the response where a lookup finds nothing usable. redirect.go: the
//     URL of a redirect. body.go:
//     how bodies of files reach the client.
//   - findings.go: placeholders for the handlers that follow. cachestatus.go:
//     the Cache-Status field. debuglog.go: a log line for each lookup. trace.go: a
//     span for each lookup.
//   - registry.go: lookups by name. routenames.go: names in statistics.
//     positionname.go: names of routes that the Caddyfile does not name.
package lookup
