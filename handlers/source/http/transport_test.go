package httpsource

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
)

// A load may go on after its request has ended, while Caddy still writes the
// variables of the client's request: the transport must not use them.
func TestATransportHasNoVariablesOfTheClientsRequest(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"proxied": true}`) })
	t.Setenv("TEST_SOURCE_PROXY", proxy.URL)
	for name, transport := range map[string]string{
		"a fixed proxy":             `{"protocol": "http", "network_proxy": {"from": "url", "url": "` + proxy.URL + `"}}`,
		"a proxy from the file":     `{"protocol": "http", "network_proxy": {"from": "url", "url": "{env.TEST_SOURCE_PROXY}"}}`,
		"a proxy of the old option": `{"protocol": "http", "forward_proxy_url": "` + proxy.URL + `"}`,
	} {
		h := provisioned(t, &Source{URL: "http://app.invalid/{id}", TransportRaw: json.RawMessage(transport)}, "")
		vars := map[string]any{"client": "set"}
		before := maps.Clone(vars)
		ctx := context.WithValue(context.Background(), caddyhttp.VarsCtxKey, vars)
		ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
		loaded, err := h.Load(ctx, cache.Request{Key: "k:1", ID: "1"}, nil)
		require.NoError(t, err, name)
		proxied, _ := loaded.Record.Field("proxied")
		require.Equal(t, "true", proxied.Text(), name)
		require.Equal(t, before, vars, name)

		_, err = load(h, "2") // as warm does, without a request
		require.NoError(t, err, name)
	}
}

func TestATransportHasNoPlaceholderOfARequest(t *testing.T) {
	for transport, want := range map[string]string{
		`{"protocol": "http", "network_proxy": {"from": "url", "url": "http://{http.request.header.X}"}}`:     "{http.request.header.X}",
		`{"protocol": "http", "forward_proxy_url": "http://{http.request.host}:3128"}`:                        "{http.request.host}",
		`{"protocol": "http", "forward_proxy_url": "http://{env.HOME}{http.vars.proxy}"}`:                     "{http.vars.proxy}",
		`{"protocol": "http", "forward_proxy_url": "http://{time.now}"}`:                                      "{time.now}",
		`{"protocol": "http", "forward_proxy_url": "http://{}{http.request.host}"}`:                           "transport",
		`{"protocol": "http", "resolver": {"addresses": ["udp/{http.request.header.X}:53"]}}`:                 "{http.request.header.X}",
		`{"protocol": "http", "tls": {"ca": {"provider": "file", "pem_files": ["{http.request.header.X}"]}}}`: "{http.request.header.X}",
	} {
		err := provision(t, &Source{URL: "https://app.invalid/{id}", TransportRaw: json.RawMessage(transport)}, "")
		require.ErrorContains(t, err, want, transport)
		require.ErrorContains(t, err, "transport", transport)
	}
	t.Setenv("TEST_SOURCE_BRACES", "{http.request.host}")
	err := provision(t, &Source{
		URL: "http://app.invalid/{id}", TransportRaw: json.RawMessage(`{"protocol": "http", "forward_proxy_url": "http://{env.TEST_SOURCE_BRACES}"}`),
	}, "")
	require.ErrorContains(t, err, "what {env.TEST_SOURCE_BRACES} comes to has a brace")
	require.NoError(t, provision(t, &Source{
		URL:          "http://app.invalid/{id}",
		TransportRaw: json.RawMessage(`{"protocol": "http", "forward_proxy_url": "{env.HOME}{system.hostname}"}`),
	}, ""))
}

// What is meant to be encrypted never goes out in plain text.
func TestATransportWithTLSNeedsAnHTTPSURL(t *testing.T) {
	t.Parallel()
	transport := json.RawMessage(`{"protocol": "http", "tls": {"insecure_skip_verify": true}}`)
	err := provision(t, &Source{URL: "http://app.invalid/{id}", TransportRaw: transport}, "")
	require.ErrorContains(t, err, "transport has tls and the url says http://: write https://")

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) }))
	t.Cleanup(server.Close)
	require.True(t, strings.HasPrefix(server.URL, "https://"))
	_, err = load(provisioned(t, &Source{URL: server.URL + "/{id}", TransportRaw: transport}, ""), "1")
	require.NoError(t, err)
}

func TestATransportExcludesOtherConnections(t *testing.T) {
	t.Parallel()
	for _, h := range []*Source{{Dial: "unix//run/a.sock"}, {TLSCA: []string{"a.pem"}}} {
		h.URL, h.TransportRaw = "https://app.invalid/{id}", json.RawMessage(`{"protocol": "http"}`)
		require.ErrorContains(t, provision(t, h, ""), "transport and tls_ca or dial exclude each other")
	}
}

// Records of one way to the application are not used with another.
func TestTheWayToTheApplicationIsPartOfTheFingerprint(t *testing.T) {
	t.Setenv("TEST_SOURCE_PLACE", "a")
	for _, h := range []Source{
		{TransportRaw: json.RawMessage(`{"protocol": "http", "forward_proxy_url": "{env.TEST_SOURCE_PLACE}"}`)},
		{TransportRaw: json.RawMessage(`{"protocol": "http", "resolver": {"addresses": ["{env.TEST_SOURCE_PLACE}"]}}`)},
	} {
		h.URL = "http://app.invalid/{id}"
		fingerprint := func() string {
			again := h
			return provisioned(t, &again, "").Fingerprint()
		}
		t.Setenv("TEST_SOURCE_PLACE", "a")
		first := fingerprint()
		require.Equal(t, first, fingerprint())
		t.Setenv("TEST_SOURCE_PLACE", "b")
		require.NotEqual(t, first, fingerprint())
	}
	plain := provisioned(t, &Source{URL: "http://app.invalid/{id}"}, "").Fingerprint()
	require.NotEqual(t, plain, provisioned(t, &Source{
		URL: "http://app.invalid/{id}", TransportRaw: json.RawMessage(`{"protocol": "http", "local_address": "127.0.0.1"}`),
	}, "").Fingerprint())
}

// Nodes whose configurations come to the same share records, whether they write
// a value out or have a placeholder for it, and whether they write a default.
func TestTheFingerprintHasWhatAConfigurationComesTo(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for _, name := range []string{"a.pem", "b.pem"} {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), block, 0o600))
	}
	transport := func(host string) Source {
		return Source{TransportRaw: json.RawMessage(`{"protocol": "http", "forward_proxy_url": "` + host + `"}`)}
	}
	fingerprint := func(h Source) string {
		h.URL = "https://app.invalid/{id}"
		return provisioned(t, &h, "").Fingerprint()
	}
	t.Setenv("TEST_SOURCE_DIR", dir)
	for name, of := range map[string]func(value string) Source{
		"dial":        func(value string) Source { return Source{Dial: "unix/" + value + "/a.sock"} },
		"tls_ca":      func(value string) Source { return Source{TLSCA: []string{value + "/a.pem"}} },
		"proxy":       transport,
		"header":      func(value string) Source { return Source{Headers: http.Header{"X-A": {value}}} },
		"query":       func(value string) Source { return Source{Headers: http.Header{"X-A": {"{id}"}, "X-B": {"b " + value}}} },
		"Host of all": func(value string) Source { return Source{Headers: http.Header{"Host": {"x" + value}}} },
		"file of tls": func(value string) Source {
			return Source{TransportRaw: json.RawMessage(`{"protocol": "http", "tls": {"ca": {"provider": "file", "pem_files": ["` + value + `/a.pem"]}}}`)}
		},
		"sorted texts": func(value string) Source {
			return Source{TransportRaw: json.RawMessage(`{"local_address": "127.0.0.1", "forward_proxy_url": "` + value + `", "protocol": "http"}`)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TEST_SOURCE_DIR", dir)
			written := fingerprint(of(dir))
			require.Equal(t, written, fingerprint(of("{env.TEST_SOURCE_DIR}")), "the same value")
			other := t.TempDir()
			text, err := os.ReadFile(filepath.Join(dir, "a.pem"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(other, "a.pem"), text, 0o600))
			t.Setenv("TEST_SOURCE_DIR", other)
			require.NotEqual(t, written, fingerprint(of("{env.TEST_SOURCE_DIR}")), "another value")
		})
	}
	ignored := func(names ...string) Source {
		return Source{Headers: http.Header{"X-A": {"{id}"}, "X-B": {"{http.request.method}"}, "X-C": {"{http.request.uri}"}}, IgnoreInKey: names}
	}
	require.Equal(t, fingerprint(ignored("X-B", "X-C")), fingerprint(ignored("x-c", "x-b", "X-C")))
	require.NotEqual(t, fingerprint(ignored("X-B", "X-C")), fingerprint(ignored("x-c")))
	require.Equal(t, fingerprint(Source{Dial: "localhost:80"}), fingerprint(Source{Dial: "tcp/localhost:80"}))
	require.Equal(t, fingerprint(Source{}), fingerprint(Source{Method: "GET", MaxBody: 1 << 20}))
	require.Equal(t, fingerprint(Source{CopyHeaders: []string{"A", "B"}}), fingerprint(Source{CopyHeaders: []string{"B", "A"}}))
}
