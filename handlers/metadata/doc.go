// Package metadata is the directive file_metadata: it looks up the metadata of
// the requested file, answers from it what needs no content, and describes the
// file in the response of the next handler.
//
//   - metadata.go: the handler. caddyfile.go: the options.
//   - representation.go: a record in terms of HTTP (type, entity tag, date).
//     precondition.go: conditional requests. disposition.go: file names in
//     Content-Disposition.
//   - response.go: the responses, and headers for the next handler's. content.go:
//     files in memory.
//   - following.go: which handlers come next, and what their file_servers hide.
//     precompressed.go: which representation they select. served.go: whether the
//     next handler serves the file of the record.
//   - rewrite.go: the URI that the request goes on with.
//
// The records come from any source; package filesource makes them of files.
package metadata
