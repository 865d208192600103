// What one answer may serve all values of: nothing that says who the client is.

package httpsource

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// sends reports whether the request has a header, whatever its case.
func (q *question) sends(name string) bool {
	if strings.EqualFold(name, "Host") && q.host != "" {
		return true
	}
	return slices.ContainsFunc(q.headers, func(h headerTemplate) bool { return strings.EqualFold(h.name, name) })
}

// checkIgnored returns an error for a value that identifies the client and is sent,
// but is in the key neither by itself nor as a part of the identity: the answer to
// one client would serve another.
func (h *Source) checkIgnored() error {
	for i, text := range h.question.values {
		if !h.IgnoredInKey(i) || !isCredential(text) {
			continue
		}
		if !slices.ContainsFunc(h.asker.Identity, func(part string) bool { return strings.EqualFold(part, text) }) {
			return fmt.Errorf("ignore_in_key: a header of it is sent with %s, which identifies the client, so one answer cannot "+
				"serve all its values: leave the header out of ignore_in_key, or make %s a part of the identity", text, text)
		}
	}
	return nil
}

// isCredential reports whether a placeholder holds what clients prove by who they
// are.
func isCredential(text string) bool {
	name, ok := strings.CutPrefix(strings.Trim(text, "{}"), "http.request.")
	if !ok {
		return false
	}
	if header, ok := strings.CutPrefix(name, "header."); ok {
		switch http.CanonicalHeaderKey(header) {
		case "Authorization", "Proxy-Authorization", "Cookie":
			return true
		}
		return false
	}
	return strings.HasPrefix(name, "cookie.") || strings.HasPrefix(name, "tls.client.")
}
