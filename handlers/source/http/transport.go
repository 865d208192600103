// How the source connects to its application.

package httpsource

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// loadTransport provisions the transport of reverse_proxy. It refuses options
// that only work for a proxied request.
func (h *Source) loadTransport(ctx caddy.Context) error {
	module, err := ctx.LoadModule(h, "TransportRaw")
	if err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	t, ok := module.(*reverseproxy.HTTPTransport)
	switch {
	case !ok:
		return errors.New("transport: an application is asked over http: want the protocol http")
	case t.ProxyProtocol != "":
		return errors.New("transport: proxy_protocol is not possible here: leave it out")
	case t.TLS != nil && strings.Contains(t.TLS.ServerName, "{"):
		return errors.New("transport: tls_server_name takes no placeholder here: write the name")
	}
	h.transport = t
	return nil
}

// dialer connects to the URL's host, or to the address of dial.
func (h *Source) dialer() (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	dialer := &net.Dialer{Timeout: time.Duration(h.Timeout)}
	if h.Dial == "" {
		return dialer.DialContext, nil
	}
	text, err := caddy.NewReplacer().ReplaceOrErr(h.Dial, true, true)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	to, err := caddy.ParseNetworkAddress(text)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if to.PortRangeSize() > 1 {
		return nil, errors.New("dial: it has several ports: want one")
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, to.Network, to.JoinHostPort(0))
	}, nil
}

func (h *Source) provisionTransport() error {
	roots, err := h.roots()
	if err != nil {
		return err
	}
	dial, err := h.dialer()
	if err != nil {
		return err
	}
	timeout := time.Duration(h.Timeout)
	h.transport = &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: timeout,
		// connections that are still dialed for an ended load count as well
		MaxConnsPerHost:        max(0, h.MaxConcurrent),
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		// one HTTP/2 connection carries all requests, so a dead one must be
		// detected
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
	return nil
}

// roots are the authorities in the tls_ca files; nil means those of the system.
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
