// The values of the X-Forwarded headers of a request to another server.

package template

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Placeholders of the values of X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-For:
// those of the request or, if it comes from a trusted proxy, those in the headers of that
// proxy. Each is a whole template.
const (
	ForwardedProto = "http.forwarded.proto"
	ForwardedHost  = "http.forwarded.host"
	ForwardedFor   = "http.forwarded.for"
)

// trustedKey is the key of the trusted proxies in a context.
type trustedKey struct{}

// Trusting returns the request with proxies to trust beside those of the
// server's trusted_proxies.
func Trusting(r *http.Request, proxies []netip.Prefix) *http.Request {
	if len(proxies) == 0 {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), trustedKey{}, proxies))
}

func forwardedProto(r *http.Request) string {
	proto := "https"
	if r.TLS == nil {
		proto = "http"
	}
	return cmp.Or(fromTrustedProxy(r, "X-Forwarded-Proto"), proto)
}

func forwardedHost(r *http.Request) string {
	return cmp.Or(fromTrustedProxy(r, "X-Forwarded-Host"), r.Host)
}

// forwardedFor is the address of the client: the server's client IP or, if that is a
// trusted proxy, the last address in X-Forwarded-For that is not a trusted proxy's. A
// client can forge the addresses before that one.
func forwardedFor(r *http.Request) string {
	client := caddy.ToString(caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey))
	proxies := trusted(r)
	if !contains(proxies, client) {
		return client
	}
	addresses := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, address := range slices.Backward(addresses) {
		address = strings.TrimSpace(address)
		if _, err := netip.ParseAddr(address); err != nil {
			break
		}
		if client = address; !contains(proxies, address) {
			break
		}
	}
	return client
}

// fromTrustedProxy is the last value of a header, or "" if the request does not come
// from a trusted proxy.
func fromTrustedProxy(r *http.Request, header string) string {
	values := r.Header[header]
	if len(values) == 0 {
		return ""
	}
	isTrusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	if !isTrusted {
		peer, _, err := net.SplitHostPort(r.RemoteAddr)
		if isTrusted = err == nil && contains(trusted(r), peer); !isTrusted {
			return ""
		}
	}
	return values[len(values)-1]
}

func trusted(r *http.Request) []netip.Prefix {
	proxies, _ := r.Context().Value(trustedKey{}).([]netip.Prefix)
	return proxies
}

// contains reports whether an address is in one of the networks.
func contains(networks []netip.Prefix, text string) bool {
	if len(networks) == 0 {
		return false
	}
	text, _, _ = strings.Cut(text, "%") // the zone
	address, err := netip.ParseAddr(text)
	return err == nil && slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address.Unmap()) })
}
