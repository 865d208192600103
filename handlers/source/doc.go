// Package source has the places that records come from when no cache has
// them, as Caddy modules in the namespace filewallball.sources.
//
// The source http asks an application. By construction it lets the
// application see nothing of a request but the lookup's identity, so that an
// answer that is kept for an identity is right for every request that bears it:
//
//   - The identity goes where {id} stands in the URL and the headers. In the
//     URL it is escaped for its place and can change neither host nor path
//     segments nor other parameters. A slash in it is sent as %2F; give it to
//     applications that decode the path before they route as a parameter
//     (?id={id}) instead.
//   - An identity of exactly {cookie.NAME} or {header.NAME} is sent as that
//     cookie or header, unless the block has headers of its own.
//   - Other placeholders are resolved once, when the configuration is loaded;
//     those of a request are refused then, and so is a configuration that
//     would ask for every identity in the same words.
//   - An identity that cannot be sent as it is (a dot segment in a path, a
//     semicolon in a cookie, a space at the end of a header) is absent. It is
//     never changed into another one, and the application is not asked.
//   - Redirects are not followed, and proxies from the environment not used.
//
// What the application answers:
//
//	2xx, a JSON object   the record, whatever the Content-Type; one with
//	                     "denied" is a refusal
//	2xx, null            absent
//	2xx, anything else   a record of "status" and "headers"
//	401, 404, 410        absent
//	403                  denied
//	3xx but 304          goes to the client (status, Location, Set-Cookie)
//	anything else        an error, and so is no answer in time
//
// The response headers in copy_headers are kept under "headers" with their
// names as the configuration spells them; a body's own "headers" gives way to
// them. Set-Cookie of a 2xx answer goes nowhere: what is kept for many
// requests must not hand one client's cookie to another.
//
// Of Cache-Control, max-age caps how long the record is kept, and s-maxage
// overrules it, for this is a shared cache (RFC 9111); Age counts against
// both. no-store, no-cache and an age of 0 keep the record out of every cache.
// private does not: a record is found only by its identity.
package source
