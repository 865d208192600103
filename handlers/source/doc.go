// Package source has what the sources of records share. A source makes the
// record of a key that no cache has; it is a Caddy module in the namespace
// filewallball.sources that implements [cache.Source].
//
// A source promises that
//
//   - its answer depends on its configuration and on the [cache.Request] alone: all
//     requests that have the key share it. Records bear a fingerprint of the
//     configuration: its JSON, or what a Fingerprint method returns;
//   - it ends with its context, when no request waits for it any more;
//   - it answers an absence or a refusal as a record ([cache.AbsentRecord],
//     [cache.DeniedRecord]), and returns an error only if it has no answer;
//   - no error of it repeats an identity, a key or a secret.
//
// The files are:
//
//   - source.go: the description of a lookup for its source.
//   - lister.go: listing the identities of a source, to warm up.
//   - http: the source that asks an application. filesystem: the source that reads
//     files.
package source
