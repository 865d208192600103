// Package httpsource is the source http: it asks an application for the record
// of an identity.
//
//   - http.go: the source's configuration, its client, and a load.
//   - question.go: which parts of a request reach the application; template.go:
//     the texts that they are filled into.
//   - answer.go: how an answer becomes a record; freshness.go: how long it may
//     be kept; response.go: which answers go to the client.
//   - caddyfile.go: the options.
//
// By construction the application sees nothing of a request but the lookup's
// identity and the placeholders in the configuration. Both are in the record's
// key, so an answer is used only for requests that would have asked the same:
//
//   - The identity goes where {id} stands in the URL and the headers. In the
//     URL it is escaped for its place and can change neither host nor path
//     segments nor other parameters. A slash in it is sent as %2F; give it to
//     applications that decode the path before they route as a parameter
//     (?id={id}) instead.
//   - An identity of exactly {cookie.NAME} or {header.NAME} is sent as that
//     cookie or header, unless the block has headers of its own.
//   - {env.*} and {file.*} are resolved once, when the configuration is loaded.
//     Other placeholders are resolved for each request and become part of the
//     key, unless only headers in ignore_in_key have them.
//   - A configuration whose requests would not contain the identity is refused.
//   - An identity that cannot be sent as it is (a dot segment in a path, a
//     semicolon in a cookie, a space at the end of a header) is absent. It is
//     never changed into another one, and the application is not asked.
//   - Redirects are not followed, and proxies from the environment not used.
//
// What an answer means:
//
//	2xx, a JSON object   the record, whatever the Content-Type; one with
//	                     "denied" is a refusal
//	2xx, null            absent
//	2xx, anything else   a record of "status" and "headers"
//	401, 404, 410        absent
//	403                  denied
//	3xx but 304          goes to the client (status, Location, Set-Cookie)
//	anything else        an error, as is no answer within the timeout
//
// With the reaction pass, the client gets the answer that made its lookup fail.
//
// The response headers in copy_headers are kept under "headers", with their
// names as the configuration spells them; they replace "headers" of the body.
// Set-Cookie of a 2xx answer is dropped: a record serves many requests, and
// must not give one client's cookie to another.
//
// Cache-Control: max-age limits how long the record is kept. s-maxage takes
// precedence, because this is a shared cache (RFC 9111); Age is subtracted from
// both. no-store, no-cache and a lifetime of 0 keep the record out of every
// cache. private does not: a record is found only by its key.
package httpsource
