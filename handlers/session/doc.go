// Package session is the directives session_lookup and cached_forward_auth:
// they look up the session of a request and let only valid ones pass.
//
//   - session.go: the handler, from the identity to the next handler.
//     caddyfile.go: the options.
//   - verdict.go: whether a record is a valid session, by require.go (its
//     required fields) and expires.go (the field with its end).
//   - headers.go: session fields copied into request headers, and the client's
//     own headers of these names removed.
//   - answer.go: the response to a request that may not pass. handleresponse.go:
//     routes for an answer of the source.
//   - from.go: sessions in an application's own store; package stores has the
//     stores. undecodable.go: logging sessions that cannot be decoded.
//   - forwardauth.go: the shortcut cached_forward_auth; forwardauth_caddyfile.go: its
//     options; forwardauth_proxy.go: those that it has from reverse_proxy.
package session
