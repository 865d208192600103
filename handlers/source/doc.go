// Package source has what the sources of records share. A source loads the record of a
// key that is in no store; it is a Caddy module in the namespace filewallball.sources that
// implements [cache.Source].
//
// A source promises that
//
//   - its answer depends on its configuration and on the [cache.Request] alone: all
//     requests that have the key share it. Records contain a fingerprint of the
//     configuration: its JSON, or the result of a Fingerprint method;
//   - it ends with its context, when no request waits for it any more;
//   - it answers an absence or a refusal as a record ([cache.AbsentRecord],
//     [cache.DeniedRecord]), and returns an error only if it has no answer;
//   - its errors repeat no identity, key or secret.
//
// The files are:
//
//   - source.go: the description of a lookup for its source.
//   - lister.go: listing the identities of a source, to warm up.
//   - http: the source that asks an application. filesystem: the source that reads
//     files.
package source
