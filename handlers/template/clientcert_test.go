package template

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// certPlaceholders are those that have a value in every certificate.
var certPlaceholders = []string{"fingerprint", "serial", "subject", "issuer", "certificate_pem", "certificate_der_base64"}

func TestWithoutACertificateNothingOfItHasAValue(t *testing.T) {
	t.Parallel()
	lists := []string{"san.emails", "san.emails.0", "san.dns_names", "san.ips", "san.uris", "public_key", "public_key_sha256"}
	for name, state := range map[string]*tls.ConnectionState{"plain": nil, "no certificate": {}} {
		for _, field := range append(lists, certPlaceholders...) {
			for _, prefix := range []string{"http.request.tls.client.", "http.request.tls.CLIENT."} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.TLS = state
				r, repl := prepared(r)
				require.Empty(t, New("{"+prefix+field+"}").Expand(r, repl, ""), "%s: %s", name, field)
				require.Equal(t, "a-b", New("a{"+prefix+field+"}b").Expand(r, repl, "-"), "%s: %s", name, field)
			}
		}
	}
}

func TestPlaceholdersOfACertificateAreReadAsCaddyReadsThem(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	cert := &x509.Certificate{Raw: []byte("raw"), SerialNumber: big.NewInt(7), EmailAddresses: []string{"ada@example.com", "eve@example.com"}}
	cert.Subject.CommonName, cert.Issuer.CommonName = "ada", "the authority"
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	r, repl := prepared(r)
	for _, field := range append([]string{"san.emails", "san.emails.1"}, certPlaceholders...) {
		text := "{http.request.tls.client." + field + "}"
		want := repl.ReplaceAll(text, "")
		require.NotEmpty(t, want, field)
		require.Equal(t, want, New(text).Expand(r, repl, ""), field)
		require.Equal(t, "a"+want, New("a"+text).Expand(r, repl, ""), field)
	}
	for _, field := range []string{"san.dns_names", "san.ips", "san.uris", "san.emails.2"} {
		require.Empty(t, New("{http.request.tls.client."+field+"}").Expand(r, repl, ""), field)
	}
}
