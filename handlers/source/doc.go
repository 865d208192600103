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
//     [cache.DeniedRecord]) and returns an error only where it cannot say;
//   - no error of it repeats an identity, a key or a secret.
//
// The files are:
//
//   - source.go: what a lookup tells its source about itself.
//   - lister.go: what a source implements that can list its identities, for
//     warm-up.
//   - http: asks an application. filesystem: reads files.
package source
