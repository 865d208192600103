// Package source has what the sources of records share. A source makes the
// record of a key that no cache has; it is a Caddy module in the namespace
// filewallball.sources that implements [cache.Source].
//
//   - source.go: what a lookup tells its source about itself.
//   - lister.go: what a source implements that can list its identities, for
//     warm-up.
//   - http: asks an application. filesystem: reads files.
package source
