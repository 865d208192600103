// The lower bound of the cost of a new session: one request by net/http and two round
// trips by go-redis, and nothing else.

package main

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// BareRequests reads each session from Redis. One that is not there it loads from the
// application, and stores it. Syntax:
//
//	bare_requests <url> <redis>
type BareRequests struct {
	// URL of the application.
	URL string `json:"url,omitempty"`
	// Redis is the address of the server, host:port.
	Redis string `json:"redis,omitempty"`

	transport *http.Transport
	redis     *redis.Client
}

// CaddyModule returns the Caddy module information.
func (BareRequests) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bare_requests", New: func() caddy.Module { return new(BareRequests) }}
}

// Provision makes the clients.
func (b *BareRequests) Provision(caddy.Context) error {
	b.transport = &http.Transport{MaxIdleConnsPerHost: connections}
	b.redis = redis.NewClient(&redis.Options{
		Addr: b.Redis, Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return nil
}

const (
	connections = 64
	sessionTTL  = time.Hour
)

// ServeHTTP serves requests with a session, whether it was stored or not.
func (b *BareRequests) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	cookie, err := r.Cookie("session")
	if err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, err)
	}
	key := "bare:" + cookie.Value
	if err := b.redis.Get(r.Context(), key).Err(); !errors.Is(err, redis.Nil) {
		return next.ServeHTTP(w, r)
	}
	load, err := http.NewRequestWithContext(r.Context(), http.MethodGet, b.URL, nil)
	if err != nil {
		return err
	}
	load.Header.Set("Cookie", "session="+cookie.Value)
	response, err := b.transport.RoundTrip(load)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if err := b.redis.Set(r.Context(), key, body, sessionTTL).Err(); err != nil {
		return err
	}
	return next.ServeHTTP(w, r)
}

// Cleanup closes the connections.
func (b *BareRequests) Cleanup() error {
	b.transport.CloseIdleConnections()
	return b.redis.Close()
}

func parseBareRequests(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	b := new(BareRequests)
	return b, b.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive; see [BareRequests] for its syntax.
func (b *BareRequests) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&b.URL, &b.Redis) {
		return d.ArgErr()
	}
	return nil
}

var (
	_ caddyhttp.MiddlewareHandler = (*BareRequests)(nil)
	_ caddy.Provisioner           = (*BareRequests)(nil)
	_ caddy.CleanerUpper          = (*BareRequests)(nil)
)
