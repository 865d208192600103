package httpsource

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

const (
	defaultHTTPTimeout = 5 * time.Second
	defaultHTTPMaxBody = 1 << 20
)

// Source asks an application for records over HTTP. See the package's
// documentation for what it sends and how it reads the answers.
type Source struct {
	// The URL to ask, http or https, with {id} where the identity goes in its
	// path or query. Placeholders are resolved once, at load time.
	URL string `json:"url,omitempty"`

	// GET (default), HEAD or POST. No request has a body.
	Method string `json:"method,omitempty"`

	// Headers to send, with {id} where the identity goes. Placeholders are
	// resolved once, at load time. With any of these, an identity that came
	// as a cookie or a header is not sent as such by itself.
	Headers http.Header `json:"headers,omitempty"`

	// The longest an answer may take, from dialing to the last byte of its
	// body. Default 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Response headers to keep in the record, under headers.<name>.
	CopyHeaders []string `json:"copy_headers,omitempty"`

	// The most requests to the application at a time, from one process. More
	// loads wait, no longer than the timeout; where very many wait (16 for each
	// that may be under way, and 1024 at least), the next one is an error at
	// once. Default 64.
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	// The largest JSON body in bytes, and the largest record that is made of
	// it. Default 1MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// PEM files with the authorities to trust instead of the system's.
	TLSCA []string `json:"tls_ca,omitempty"`

	question  question
	transport *http.Transport
}

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "filewallball.sources.http", New: func() caddy.Module { return new(Source) }}
}

// Name is the kind of source in statistics.
func (*Source) Name() string { return "http" }

// Provision resolves placeholders, reads certificates and prepares the pool
// of connections. It does not connect.
func (h *Source) Provision(ctx caddy.Context) error {
	if h.Method == "" {
		h.Method = http.MethodGet
	}
	if h.Timeout == 0 {
		h.Timeout = caddy.Duration(defaultHTTPTimeout)
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultHTTPMaxBody
	}
	identity, _ := ctx.Value(source.IdentityCtxKey).(string)
	var err error
	if h.question, err = newQuestion(h.Method, h.URL, h.Headers, identity); err != nil {
		return err
	}
	return h.provisionTransport()
}

func (h *Source) provisionTransport() error {
	roots, err := h.roots()
	if err != nil {
		return err
	}
	if h.MaxConcurrent == 0 {
		h.MaxConcurrent = cache.DefaultMaxConcurrent
	}
	timeout := time.Duration(h.Timeout)
	h.transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: timeout,
		// what is still being dialled for a load that was ended counts as well
		MaxConnsPerHost:        max(0, h.MaxConcurrent),
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		// one HTTP/2 connection carries everything: a dead one must be noticed
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
	return nil
}

// roots are the authorities in the tls_ca files; nil are those of the system.
func (h *Source) roots() (*x509.CertPool, error) {
	if len(h.TLSCA) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for _, file := range h.TLSCA {
		name, err := caddy.NewReplacer().ReplaceOrErr(file, true, true)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading tls_ca: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls_ca: '%s' has no PEM certificate", file)
		}
	}
	return pool, nil
}

// Validate checks what Provision only reads.
func (h *Source) Validate() error {
	switch {
	case !knownMethod(h.Method):
		return fmt.Errorf("method '%s' is not right: want GET, HEAD or POST", h.Method)
	case h.Timeout < 0, h.MaxBody < 0:
		return errors.New("timeout and max_body cannot be negative")
	case h.MaxConcurrent < 0:
		return fmt.Errorf("max_concurrent is %d, want at least 1", h.MaxConcurrent)
	case len(h.TLSCA) > 0 && !h.question.secure:
		return errors.New("tls_ca is of no use with an http URL: want https")
	}
	for _, name := range h.CopyHeaders {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("copy_headers: '%s' is not the name of a header", name)
		case http.CanonicalHeaderKey(name) == "Set-Cookie":
			return errors.New("copy_headers: Set-Cookie is for one client, and a record is for many requests")
		}
	}
	return nil
}

func knownMethod(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost
}

// Cleanup closes the connections; requests under way keep theirs to the end.
func (h *Source) Cleanup() error {
	if h.transport != nil {
		h.transport.CloseIdleConnections()
	}
	return nil
}

// LoadTimeout is how long a load may take.
func (h *Source) LoadTimeout() time.Duration { return time.Duration(h.Timeout) }

// MaxLoads is how many loads may be under way at a time.
func (h *Source) MaxLoads() int { return h.MaxConcurrent }

// Load asks the application about an identity that has passed
// [cache.CheckIdentity]. Errors never hold the identity or the URL.
func (h *Source) Load(ctx context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.Timeout))
	defer cancel()
	r, ok := h.question.about(ctx, req.ID)
	if !ok {
		return cache.Loaded{Record: cache.AbsentRecord(), NoStore: true}, nil
	}
	// a transport, other than a client, never follows a redirect
	resp, err := h.transport.RoundTrip(r)
	if err != nil {
		return cache.Loaded{}, fmt.Errorf("requesting: %w", err)
	}
	defer discard(resp.Body)
	return h.read(resp)
}

// discard closes a body after reading what is left of it, unless that is
// much, so that the connection can serve the next request.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// Interface guards
var (
	_ caddy.Module          = (*Source)(nil)
	_ caddy.Provisioner     = (*Source)(nil)
	_ caddy.Validator       = (*Source)(nil)
	_ caddy.CleanerUpper    = (*Source)(nil)
	_ caddyfile.Unmarshaler = (*Source)(nil)
	_ cache.Source          = (*Source)(nil)
)
