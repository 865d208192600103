// Sessions of clients that log in with a certificate.

package sitetest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

// file is the certificate of the authority in a file.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "authority.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
	return name
}

// issue signs a certificate for a client.
func (a *authority) issue(t *testing.T, name string, serial int64) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, EmailAddresses: []string{name + "@example.com"},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// statusWith is the status of a request for a path of localhost with a certificate, 0 if
// the handshake fails. server is the name of the server in the handshake.
func statusWith(t *testing.T, addr, server, path string, cert *tls.Certificate) int {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, ServerName: server, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return new(tls.Certificate), nil
		}
		return cert, nil
	}}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+path, nil)
	require.NoError(t, err)
	req.Host = "localhost"
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// claims are what certificates say of their owners, with the identities of the records
// that the tests store.
var claims = map[string]string{
	"subject": "{http.request.tls.client.subject}", "serial": "{http.request.tls.client.serial}",
	"email": "{http.request.tls.client.san.emails.0}", "emails": "{http.request.tls.client.san.emails}",
	"issuer": "{http.request.tls.client.issuer}",
}

// siteOf is a site at a port of 127.0.0.1 with client_auth.
func siteOf(host, addr, clientAuth, directives string) string {
	_, port, _ := strings.Cut(addr, ":")
	return fmt.Sprintf("https://%s:%s {\nbind 127.0.0.1\ntls internal {\nclient_auth {\n%s\n}\n}\n%s\n}\n", host, port, clientAuth, directives)
}

func TestNamesInCertificatesCountOnlyIfTheyAreVerified(t *testing.T) {
	trusted, other := newAuthority(t), newAuthority(t)
	ada, stranger := trusted.issue(t, "ada", 7), trusted.issue(t, "stranger", 8)
	forged := other.issue(t, "ada", 7)
	trust := "trust_pool file " + trusted.file(t)

	var lines strings.Builder
	for name, id := range claims {
		fmt.Fprintf(&lines, "handle /%s {\nsession_lookup %s {\nkey %[1]s:{id}\n}\nrespond in\n}\n", name, id)
	}
	lines.WriteString("handle /fingerprint {\nsession_lookup {http.request.tls.client.fingerprint} {\nkey fingerprint:{id}\n}\nrespond in\n}\n")
	addr := ports.Addr(t)
	// the host of a request may be another one than that of the handshake
	options := "local_certs\nskip_install_trust\nauto_https disable_redirects\nservers {\nstrict_sni_host insecure_off\n}"
	site := sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}
	lines.WriteString("handle /logout {\nlookup_invalidate subject:{http.request.tls.client.subject}\nrespond out\n}\n")
	config, err := sitetest.Adapt(site.Config(options, "respond ok") + "\n" +
		siteOf("localhost", addr, "mode verify_if_given\n"+trust, lines.String()) +
		siteOf("any.localhost", addr, "mode request", "respond ok"))
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	sum := sha256.Sum256(ada.Certificate[0])
	for _, key := range []string{
		"subject:CN=ada", "serial:7", "email:ada@example.com", "emails:[ada@example.com]", "issuer:CN=authority",
		fmt.Sprintf("fingerprint:%x", sum),
		// what Caddy has for clients without a certificate
		"fingerprint:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "serial:<nil>", "emails:[]",
	} {
		a := site.API(t, http.MethodPut, "keys/"+url.PathEscape(key)+"?ttl=1h", `{}`)
		require.Equal(t, http.StatusNoContent, a.Status, key)
	}

	for _, server := range []string{"localhost", "any.localhost"} { // Caddy makes its certificates in the background
		require.Eventually(t, func() bool { return statusWith(t, addr, server, "/", nil) == 200 }, time.Minute, 10*time.Millisecond)
	}
	require.Equal(t, 200, statusWith(t, addr, "localhost", "/fingerprint", ada))
	require.Equal(t, 200, statusWith(t, addr, "any.localhost", "/fingerprint", ada), "the handshake proves it")
	require.Equal(t, 401, statusWith(t, addr, "any.localhost", "/fingerprint", forged))
	require.Equal(t, 401, statusWith(t, addr, "localhost", "/fingerprint", nil))
	for name := range claims {
		path := "/" + name
		require.Equal(t, 200, statusWith(t, addr, "localhost", path, ada), name)
		require.Equal(t, 401, statusWith(t, addr, "localhost", path, nil), name)
		require.Zero(t, statusWith(t, addr, "localhost", path, forged), name)
		require.Equal(t, 401, statusWith(t, addr, "any.localhost", path, forged), name)
		if name != "issuer" {
			require.Equal(t, 401, statusWith(t, addr, "localhost", path, stranger), name)
		}
	}
	require.Equal(t, 200, statusWith(t, addr, "any.localhost", "/logout", forged))
	require.Equal(t, 200, statusWith(t, addr, "localhost", "/subject", ada), "a name that is not verified ends no session")
	require.Equal(t, 200, statusWith(t, addr, "localhost", "/logout", ada))
	require.Equal(t, 401, statusWith(t, addr, "localhost", "/subject", ada))
}

func TestNamesInUnverifiedCertificatesAreRefused(t *testing.T) {
	trusted := newAuthority(t)
	leaf := filepath.Join(t.TempDir(), "leaf.pem")
	require.NoError(t, os.WriteFile(leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.issue(t, "ada", 7).Certificate[0]}), 0o600))
	for _, c := range []struct {
		clientAuth, directive string
		refused               bool
	}{
		{"mode request", "session_lookup {tls_client_subject}", true},
		{"mode require", "session_lookup {tls_client_serial}", true},
		{"mode require\ntrust_pool file " + trusted.file(t), "session_lookup {http.request.tls.client.san.emails.0}", true},
		{"mode require", "session_lookup {cookie.s} {tls_client_issuer}", true},
		{"mode require", "session_lookup {cookie.s} {\nkey a:{tls_client_subject}:{id}\n}", true},
		{"mode request", "file_metadata {tls_client_subject}", true},
		{"mode request", "lookup_invalidate session:user:{tls_client_subject}", true},
		{"mode request", "lookup_invalidate {\ntag user:{tls_client_serial}\n}", true},
		{"mode request", "upload_progress {tls_client_subject}", true},
		{"mode request", "upload_progress {path.1} {\nowner {tls_client_subject}\n}", true},
		{"mode request", "upload_progress_report {path.1} {\nowner a{tls_client_subject}\n}", true},
		{"mode request", "session_lookup {tls_client_fingerprint}", false},
		{"mode request", "session_lookup {http.request.tls.client.public_key_sha256}", false},
		{"mode verify_if_given\ntrust_pool file " + trusted.file(t), "session_lookup {tls_client_subject}", false},
		{"trust_pool file " + trusted.file(t), "session_lookup {tls_client_subject}", false},
		{"mode require\nverifier leaf {\nfile " + leaf + "\n}", "session_lookup {tls_client_subject}", false},
	} {
		t.Run(c.clientAuth+" "+c.directive, func(t *testing.T) {
			err := mistakeOf(t, "{\nskip_install_trust\n}\n"+siteOf("localhost", "127.0.0.1:9", c.clientAuth, c.directive))
			if !c.refused {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "client_auth of this server verifies no certificate")
		})
	}
}
