// The least that a session costs whose application is asked: one request by
// net/http and two round trips by go-redis, with nothing around them.

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

// BareRequests reads each session from Redis, asks the application, and stores the
// answer. Syntax:
//
//	bare_requests <url> <redis>
type BareRequests struct {
	URL   string `json:"url,omitempty"`
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

func (b *BareRequests) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	cookie, err := r.Cookie("session")
	if err != nil {
		return caddyhttp.Error(http.StatusUnauthorized, err)
	}
	key := "limit:" + cookie.Value
	if err := b.redis.Get(r.Context(), key).Err(); !errors.Is(err, redis.Nil) {
		return next.ServeHTTP(w, r)
	}
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, b.URL, nil)
	if err != nil {
		return err
	}
	ask.Header.Set("Cookie", "session="+cookie.Value)
	answer, err := b.transport.RoundTrip(ask)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
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

// UnmarshalCaddyfile reads the two addresses.
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
