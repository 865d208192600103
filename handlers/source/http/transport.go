// How the source connects to its application.

package httpsource

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// way is how the application is reached, with all placeholders resolved.
type way struct {
	network, address string   // to connect to instead of the URL's host, or ""
	tlsCA            []string // files
	transport        string   // the configuration of a transport, or ""
}

func newWay(dial string, tlsCA []string, transport json.RawMessage) (w way, err error) {
	if w.network, w.address, err = resolveDial(dial); err != nil {
		return w, fmt.Errorf("dial: %w", err)
	}
	for _, file := range tlsCA {
		name, err := resolveName(file)
		if err != nil {
			return w, fmt.Errorf("tls_ca: %w", err)
		}
		w.tlsCA = append(w.tlsCA, name)
	}
	if len(transport) > 0 {
		w.transport, err = resolveTransport(transport)
	}
	return w, err
}

func resolveDial(dial string) (network, address string, err error) {
	if dial == "" {
		return "", "", nil
	}
	text, err := resolveName(dial)
	if err != nil {
		return "", "", err
	}
	to, err := caddy.ParseNetworkAddress(text)
	switch {
	case err != nil:
		return "", "", err
	case to.PortRangeSize() > 1:
		return "", "", errors.New("it has several ports: want one")
	}
	return to.Network, to.JoinHostPort(0), nil
}

// resolveName replaces the placeholders of the name of a file or an address.
func resolveName(text string) (string, error) {
	if err := template.CheckDollar(text); err != nil {
		return "", err
	}
	return caddy.NewReplacer().ReplaceOrErr(text, true, true)
}

// loadTransport provisions the transport of reverse_proxy. It refuses options
// that only work for a proxied request.
func (h *Source) loadTransport(ctx caddy.Context) error {
	h.TransportRaw = json.RawMessage(h.way.transport)
	module, err := ctx.LoadModule(h, "TransportRaw")
	if err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	t, ok := module.(*reverseproxy.HTTPTransport)
	switch {
	case !ok:
		return errors.New("transport: an application is asked over http: want the protocol http")
	case t.TLS != nil && !h.question.secure:
		return errors.New("transport has tls and the url says http://: write https://")
	case t.ProxyProtocol != "":
		return errors.New("transport: proxy_protocol is not possible here: leave it out")
	}
	h.transport = t
	return nil
}

// resolveTransport returns the configuration of a transport with its
// placeholders resolved. It refuses placeholders of a request: their values are
// not in the key, and a client could choose the proxy.
func resolveTransport(raw json.RawMessage) (string, error) {
	var config any
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber() // which is not rounded
	if err := numbers.Decode(&config); err != nil {
		return "", fmt.Errorf("transport: %w", err)
	}
	config, err := resolveTexts(config)
	if err != nil {
		return "", fmt.Errorf("transport: %w", err)
	}
	resolved, err := json.Marshal(config) // in the order of names
	return string(resolved), err
}

// resolveTexts resolves the placeholders in all texts of a JSON value.
func resolveTexts(value any) (any, error) {
	var err error
	switch value := value.(type) {
	case string:
		return resolveText(value)
	case []any:
		for i := range value {
			if value[i], err = resolveTexts(value[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range value {
			if value[name], err = resolveTexts(value[name]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

func resolveText(text string) (string, error) {
	if !strings.Contains(text, "{") || !strings.Contains(text, "}") {
		return text, nil // as Caddy reads it
	}
	names, err := template.Placeholders(text)
	if err != nil {
		return "", fmt.Errorf("a text is not right: %w", err)
	}
	for _, name := range names {
		switch kind, _, _ := strings.Cut(name, "."); kind {
		case "env", "file", "system":
		default:
			return "", fmt.Errorf("placeholder {%s} is not possible here, because a client must not choose how "+
				"the application is reached: want a fixed text, {env.*}, {file.*} or {system.*}", name)
		}
	}
	resolved := caddy.NewReplacer().ReplaceAll(text, "")
	if len(names) > 0 && strings.Contains(resolved, "{") {
		return "", fmt.Errorf("what {%s} comes to has a brace, which would begin another placeholder", names[0])
	}
	return resolved, nil
}

// connectionContext is the context of a request to the application. A transport
// of reverse_proxy reads and writes the variables of a request without a lock,
// and a load may still run when the client's request has ended and its
// variables are in use elsewhere. It also connects to where a reverse_proxy
// around this lookup has decided to, if the variables say so. So it has none,
// and placeholders of no request.
func (h *Source) connectionContext(ctx context.Context) context.Context {
	if h.way.transport == "" {
		return ctx
	}
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, nil)
	return context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
}

// dialer connects to the URL's host, or to the address of dial.
func (h *Source) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: time.Duration(h.Timeout)}
	if h.way.network == "" {
		return dialer.DialContext
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, h.way.network, h.way.address)
	}
}

func (h *Source) provisionTransport() error {
	roots, err := h.roots()
	if err != nil {
		return err
	}
	timeout := time.Duration(h.Timeout)
	h.transport = &http.Transport{
		DialContext:         h.dialer(),
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
	if len(h.way.tlsCA) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for i, name := range h.way.tlsCA {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading tls_ca: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls_ca: '%s' has no PEM certificate", h.TLSCA[i])
		}
	}
	return pool, nil
}
