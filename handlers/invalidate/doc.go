// Package invalidate is the directive lookup_invalidate: it drops records and tags after
// a successful request, and holds the response back until they are dropped.
//
//   - invalidate.go: the handler. caddyfile.go: the options.
//   - keys.go: which keys and tags can be invalidated. named.go: which of them a
//     request names.
//   - response.go: the response, held back until the drop is done.
package invalidate
