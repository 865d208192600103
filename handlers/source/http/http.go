package httpsource

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/net/http/httpguts"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/source"
	"github.com/filewallball/caddy-filewallball/handlers/template"
	"github.com/filewallball/caddy-filewallball/handlers/version"
)

const (
	defaultHTTPTimeout = 5 * time.Second
	defaultHTTPMaxBody = 1 << 20
	// discardTimeout is how long a request waits for a body that is not used.
	discardTimeout = 50 * time.Millisecond
)

// idempotencyKey is the header that makes net/http send a POST again, as it does a GET.
const idempotencyKey = "Idempotency-Key"

// Source loads records from an application over HTTP. The package documentation
// describes what it sends and how it reads the answers.
type Source struct {
	// The URL to request, http or https. {id} in its path or query stands for
	// the identity, {id.1} and so on for its parts. Values of other
	// placeholders of the request become part of the record's key, so that an
	// answer is used only for requests that would ask the same. {env.*} and
	// {file.*} are resolved when the configuration is loaded. Required.
	URL string `json:"url,omitempty"`

	// The method: GET, HEAD or POST. Requests have no body. Default: GET.
	Method string `json:"method,omitempty"`

	// Request headers, with the same placeholders. Parts of the identity that
	// are exactly {cookie.NAME} or {header.NAME} are sent unchanged in
	// addition, unless the same header is set here. Default: none.
	Headers http.Header `json:"headers,omitempty"`

	// Whether to send the Host of the client's request instead of the URL's, as
	// reverse_proxy does. It becomes part of the key, unless ignore_in_key has
	// Host. The connection still goes to the URL's host. Use it only for
	// applications that may be requested under any name by which clients reach
	// this route. Default: false.
	PreserveHost bool `json:"preserve_host,omitempty"`

	// With preserve_host, whether to leave the port out of the Host. Default:
	// false.
	HostWithoutPort bool `json:"host_without_port,omitempty"`

	// Names of headers above that are sent but not part of the key: one answer
	// serves all their values. Use it only for headers that cannot change the
	// answer. Default: none.
	IgnoreInKey []string `json:"ignore_in_key,omitempty"`

	// The longest an answer may take, as a duration, from dialing to the last
	// byte of its body. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Response headers to keep in the record, under headers.<name>. Default:
	// none.
	CopyHeaders []string `json:"copy_headers,omitempty"`

	// The most concurrent requests to the application, per process. More loads
	// wait, for at most the timeout; once max(1024, 16 × this number) are
	// waiting, the next load fails at once. Default: 64.
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	// The largest JSON body, in bytes, and the largest record that is made of
	// it. Default: 1MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// respect: Cache-Control of an answer limits how long it is kept. ignore:
	// the lookup's ttl applies whatever the answer says. Default: respect.
	CacheControl string `json:"cache_control,omitempty"`

	// PEM files with the certificate authorities to trust instead of the
	// system's. Default: those of the system.
	TLSCA []string `json:"tls_ca,omitempty"`

	// The transport http of reverse_proxy, which replaces the source's own
	// connections and tls_ca. Of placeholders, it takes {env.*}, {file.*} and
	// {system.*}; proxy_protocol is not supported. tls needs an https URL.
	// Default: the source's own connections.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// The network address to connect to instead of the URL's host, such as
	// unix//run/auth.sock. It cannot be combined with transport. Default: the
	// URL's host.
	Dial string `json:"dial,omitempty"`

	asker     source.Asker
	question  question
	way       way
	transport http.RoundTripper
}

// CaddyModule returns the Caddy module information.
func (Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "filewallball.sources.http", New: func() caddy.Module { return new(Source) }}
}

// Name is the kind of source in statistics.
func (*Source) Name() string { return "http" }

// Prepare applies defaults and resolves placeholders, for an asker. It reads no
// file that the configuration names, other than by {file.*}.
func (h *Source) Prepare(asker source.Asker) error {
	h.asker = asker
	h.Method = cmp.Or(h.Method, http.MethodGet)
	h.Timeout = cmp.Or(h.Timeout, caddy.Duration(defaultHTTPTimeout))
	h.MaxBody = cmp.Or(h.MaxBody, defaultHTTPMaxBody)
	h.MaxConcurrent = cmp.Or(h.MaxConcurrent, cache.DefaultMaxConcurrent)
	var err error
	if h.question, err = newQuestion(h.Method, h.URL, h.Headers, asker.Identity); err != nil {
		return err
	}
	if h.PreserveHost {
		h.question.preserveHost(!h.HostWithoutPort)
	}
	h.way, err = newWay(h.Dial, h.TLSCA, h.TransportRaw)
	return err
}

// Provision prepares the source, reads certificates and prepares the connection
// pool. It does not connect.
func (h *Source) Provision(ctx caddy.Context) error {
	asker, _ := ctx.Value(source.AskerCtxKey).(source.Asker)
	if err := h.Prepare(asker); err != nil {
		return err
	}
	for _, text := range h.question.values {
		if err := template.Check(ctx.Logger(), "source", text); err != nil {
			return err
		}
	}
	if h.way.transport != "" {
		return h.loadTransport(ctx)
	}
	return h.provisionTransport()
}

// Validate checks what Provision only reads.
func (h *Source) Validate() error {
	switch {
	case !knownMethod(h.Method):
		return fmt.Errorf("method '%s' is not right: want GET, HEAD or POST", h.Method)
	case h.CacheControl != "" && h.CacheControl != "respect" && h.CacheControl != "ignore":
		return fmt.Errorf("cache_control '%s' is not right: want respect or ignore", h.CacheControl)
	case h.Timeout < 0, h.MaxBody < 0:
		return errors.New("timeout and max_body cannot be negative")
	case h.MaxConcurrent < 0:
		return fmt.Errorf("max_concurrent is %d, want at least 1", h.MaxConcurrent)
	case h.PreserveHost && h.Headers.Get("Host") != "":
		return errors.New("preserve_host and the header Host exclude each other")
	case h.HostWithoutPort && !h.PreserveHost:
		return errors.New("host_without_port needs preserve_host: want both")
	case h.way.transport != "" && (len(h.TLSCA) > 0 || h.Dial != ""):
		return errors.New("transport and tls_ca or dial exclude each other: a transport has tls_trust_pool")
	case len(h.TLSCA) > 0 && !h.question.secure:
		return errors.New("tls_ca is of no use with an http URL: want https")
	}
	for _, name := range h.IgnoreInKey {
		if !h.question.sends(name) {
			return fmt.Errorf("ignore_in_key: header '%s' is not sent: want the name of a header of this source", name)
		}
	}
	if err := h.checkIgnored(); err != nil {
		return err
	}
	for _, name := range h.CopyHeaders {
		switch {
		case !httpguts.ValidHeaderFieldName(name), strings.Contains(name, "*"):
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

// Cleanup closes idle connections; running requests keep theirs.
func (h *Source) Cleanup() error {
	if t, ok := h.transport.(*http.Transport); ok { // a module's transport has its own cleanup
		t.CloseIdleConnections()
	}
	return nil
}

// IgnoresCacheControl reports whether answers are stored whatever their
// Cache-Control.
func (h *Source) IgnoresCacheControl() bool { return h.CacheControl == "ignore" }

// LoadTimeout is the longest duration of a load.
func (h *Source) LoadTimeout() time.Duration { return time.Duration(h.Timeout) }

// MaxLoads is the most concurrent loads.
func (h *Source) MaxLoads() int { return h.MaxConcurrent }

// Load requests the record of an identity that has passed
// [cache.CheckIdentity]. Errors never contain the identity or the URL.
func (h *Source) Load(ctx context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Duration(h.Timeout) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(h.Timeout))
		defer cancel()
	}
	r, ok := h.question.about(h.connectionContext(ctx), &req)
	if !ok {
		return cache.Loaded{Record: cache.AbsentRecord(), NoStore: true}, nil
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", version.UserAgent())
	}
	if _, ok := r.Header[idempotencyKey]; !ok && h.Method == http.MethodPost {
		// The application may close an idle connection at this moment. The request is
		// sent again then, because it only asks. A header without values is not sent.
		r.Header[idempotencyKey] = nil
	}
	end := startSpan(ctx, r)
	// a transport, unlike a client, never follows redirects
	resp, err := h.transport.RoundTrip(r)
	end(resp, err)
	if err != nil {
		return cache.Loaded{}, fmt.Errorf("requesting: %w", withoutAnswer(err))
	}
	defer discard(resp.Body)
	return h.read(resp)
}

// RequestTemplates are the templates of the values, other than the identity,
// that its requests contain.
func (h *Source) RequestTemplates() []string { return h.question.values }

// IgnoredInKey reports whether one answer serves all values of a template.
func (h *Source) IgnoredInKey(i int) bool {
	if slices.ContainsFunc(h.question.url.text.slots, func(s slot) bool { return s.part < 0 && s.value == i }) {
		return false
	}
	for _, header := range h.question.headers {
		sends := slices.ContainsFunc(header.value.slots, func(s slot) bool { return s.part < 0 && s.value == i })
		if sends && !slices.ContainsFunc(h.IgnoreInKey, func(name string) bool { return strings.EqualFold(name, header.name) }) {
			return false
		}
	}
	return true
}

// AllCookies reports whether all cookies of an identity's name are sent, as the
// client sent them, and not the first alone.
func (h *Source) AllCookies() bool { return !h.question.namesIdentity() }

// Fingerprint describes all settings that can change the application's answer,
// as what they come to and not as they are written. It may contain secrets.
func (h *Source) Fingerprint() string {
	q := &h.question
	return fmt.Sprintf("%#v %#v %#v %#v %#v %#v %#v %#v %#v %#v %#v",
		namesOf(h.IgnoreInKey), q.method, q.host, q.url.text, q.headers, q.cookies, q.values, sorted(h.CopyHeaders), h.MaxBody, h.asker.Session, h.way)
}

// namesOf are names of headers, however they are written.
func namesOf(headers []string) []string {
	var names []string
	for _, name := range headers {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	return sorted(names)
}

// sorted are the texts in order, each once.
func sorted(texts []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(texts)))
}

// discard closes a body. It reads the rest first if that is short and arrives soon, so
// that the connection can be reused.
func discard(body io.ReadCloser) {
	late := time.AfterFunc(discardTimeout, func() { _ = body.Close() })
	defer late.Stop()
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
