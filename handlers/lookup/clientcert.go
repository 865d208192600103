// What a client can write into its certificate: a name that counts only if the server has
// verified the certificate.

package lookup

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// isClaim reports whether a placeholder is what a certificate says of its owner. Its key,
// its fingerprint and the certificate itself are proved by the handshake.
func isClaim(name string) bool {
	field, ok := strings.CutPrefix(strings.ToLower(name), "http.request.tls.client.")
	return ok && (slices.Contains([]string{"subject", "issuer", "serial"}, field) || strings.HasPrefix(field, "san."))
}

// hasClaim reports whether a template has a claim.
func hasClaim(text string) bool {
	names, err := template.Placeholders(text)
	return err == nil && slices.ContainsFunc(names, isClaim)
}

// CheckClaims returns an error for a template with a claim if the server asks clients for
// certificates and verifies none.
func CheckClaims(ctx caddy.Context, option, text string) error {
	if !hasClaim(text) || !clientAuthOf(ctx).neverVerifies() {
		return nil
	}
	return fmt.Errorf("%s '%s': client_auth of this server verifies no certificate, so any client could write this name into its own: "+
		"write mode verify_if_given or require_and_verify with a trust_pool, or {tls_client_fingerprint} for one certificate", option, text)
}

// clientAuth is how the connection policies of a server verify the certificates of
// clients. One of them applies to a connection.
type clientAuth struct{ byChain, byVerifier, unverified bool }

func (a clientAuth) neverVerifies() bool { return a.unverified && !a.byChain && !a.byVerifier }

// clientAuthOf returns the client_auth of the server of a handler that is being
// provisioned. Caddy provisions its connection policies later.
func clientAuthOf(ctx caddy.Context) (a clientAuth) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return a
	}
	for _, policy := range server.TLSConnPolicies {
		auth := policy.ClientAuthentication
		switch {
		case auth == nil || !auth.Active():
		case verifiesChain(auth):
			a.byChain = true
		case len(auth.VerifiersRaw) > 0, len(auth.TrustedLeafCerts) > 0: //nolint:staticcheck // deprecated, and still used
			a.byVerifier = true
		default:
			a.unverified = true
		}
	}
	return a
}

// verifiesChain reports whether Go verifies a certificate, as Caddy configures it. Without a
// mode it does where something but verifiers is configured.
func verifiesChain(auth *caddytls.ClientAuthentication) bool {
	switch auth.Mode {
	case "verify_if_given", "require_and_verify":
		return true
	case "":
		return auth.CARaw != nil || len(auth.VerifiersRaw) == 0
	}
	return false
}

// On returns the reader for a handler of a server: parts with a claim are empty where the
// server has not verified the certificate.
func (i IdentityReader) On(ctx caddy.Context) IdentityReader {
	i.trustsVerifiers = clientAuthOf(ctx).byVerifier
	return i
}

// believes reports whether the claims in the certificate of a request are true.
func (i IdentityReader) believes(r *http.Request) bool {
	// a connection that a verifier has accepted has no chain
	return r == nil || r.TLS == nil || len(r.TLS.VerifiedChains) > 0 || i.trustsVerifiers
}
