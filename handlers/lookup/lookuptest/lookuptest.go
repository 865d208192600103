// Package lookuptest has a small app over the memory store, and calls handlers as Caddy
// does. Tests of the handlers cannot use the app of the root package, which imports
// them.
package lookuptest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // so that tests can load any standard configuration
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

// App is a [lookup.App] with a store of its own.
type App struct {
	Prefix string `json:"key_prefix,omitempty"`
	Quiet  bool   `json:"quiet,omitempty"` // no Cache-Status

	// End ends the context of the app, as the end of its configuration would.
	End context.CancelFunc `json:"-"`

	ctx    context.Context
	cache  *cache.Cache
	policy lookup.Policy
	mu     sync.Mutex
	routes int

	lookups lookup.Lookups

	// Holders counts the calls of Hold without their release.
	Holders atomic.Int64 `json:"-"`
}

func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: lookup.AppID, New: func() caddy.Module { return new(App) }}
}

func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.End = context.WithCancel(ctx)
	store, err := memory.New(memory.Options{})
	if err != nil {
		return err
	}
	a.cache = cache.New(store, cache.NewStats())
	a.policy = lookup.Policy{
		KeyPrefix: a.Prefix, Families: cache.Families(), LookupTimeout: cache.DefaultLookupTimeout,
		MaxValueSize: cache.DefaultMaxValueSize, CacheStatus: !a.Quiet,
	}
	return nil
}

// Over returns an app over a cache, for tests that need no configuration.
func Over(c *cache.Cache, policy lookup.Policy) *App {
	return &App{ctx: context.Background(), cache: c, policy: policy}
}

// ApplyShared implements [lifetime.App].
func (a *App) ApplyShared(*cache.Stats) {}

func (a *App) Context() context.Context { return a.ctx }
func (a *App) Cleanup() error           { return a.cache.Close() }
func (a *App) Start() error             { return nil }
func (a *App) Stop() error              { return nil }
func (a *App) Cache() *cache.Cache      { return a.cache }
func (a *App) Policy() *lookup.Policy   { return &a.policy }
func (a *App) KeyPrefix() string        { return a.Prefix }
func (a *App) Lookups() *lookup.Lookups { return &a.lookups }

// Hold implements [lookup.App].
func (a *App) Hold() (release func()) {
	a.Holders.Add(1)
	return func() { a.Holders.Add(-1) }
}

// Replaced implements [lookup.App].
func (a *App) Replaced() bool { return false }

func (a *App) NameRoute(wanted, directive string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.routes++; wanted == "" {
		wanted = directive + "-" + strconv.Itoa(a.routes)
	}
	return wanted
}

// Put stores a record under a whole key.
func (a *App) Put(t testing.TB, key, text string) {
	t.Helper()
	record, err := cache.Decode(text, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	require.NoError(t, a.cache.Set(t.Context(), key, record, time.Hour))
}

// Fill writes a record that bears tags.
func (a *App) Fill(t testing.TB, key, text string, tags ...string) {
	t.Helper()
	record, err := cache.Decode(text, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	token, _, err := a.cache.Store().Acquire(t.Context(), key, nil, time.Hour, true)
	require.NoError(t, err)
	filled, err := a.cache.Store().Fill(t.Context(), key, token, nil, record, tags, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
}

// Use replaces the store, before any handler is made.
func (a *App) Use(t testing.TB, store cache.Store) {
	t.Helper()
	require.NoError(t, a.cache.Close())
	a.cache = cache.New(store, cache.NewStats())
}

// Provisioning serializes access to Caddy's own globals.
var Provisioning sync.Mutex

// NewApp returns a provisioned app, and a context in which handlers find
// it. The config is the app's JSON.
func NewApp(t testing.TB, config string) (caddy.Context, *App) {
	t.Helper()
	Provisioning.Lock()
	defer Provisioning.Unlock()
	base, err := caddy.ProvisionContext(&caddy.Config{
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "discard"}`)}},
		}},
		AppsRaw: caddy.ModuleMap{lookup.AppID: json.RawMessage(config)},
	})
	require.NoError(t, err)
	v, err := base.App(lookup.AppID)
	require.NoError(t, err)
	app := v.(*App)
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(func() {
		cancel() // cleans the handlers up
		require.NoError(t, app.Cleanup())
	})
	return ctx, app
}

// NewHandler provisions and validates a handler from its JSON.
func NewHandler(ctx caddy.Context, module, config string) (caddyhttp.MiddlewareHandler, error) {
	Provisioning.Lock()
	defer Provisioning.Unlock()
	v, err := ctx.LoadModuleByID("http.handlers."+module, json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return v.(caddyhttp.MiddlewareHandler), nil
}

// Answer is the result of a handler for a request.
type Answer struct {
	*httptest.ResponseRecorder
	Err error
	// Status is that of the response or of the error.
	Status int
	// Next reports whether the next handler was called, with Request.
	Next    bool
	Request *http.Request
	repl    *caddy.Replacer
}

// Placeholder is the value of a placeholder after the handler has run.
func (a Answer) Placeholder(name string) string {
	return a.repl.ReplaceAll("{"+name+"}", "")
}

// hourLeft is the remaining TTL of a record that [App.Put] stored some seconds ago.
var hourLeft = regexp.MustCompile(`ttl=3[56]\d\d\b`)

// CacheStatus is the header of that name, with ttl=1h in place of the remaining TTL of a
// record that [App.Put] has stored.
func (a Answer) CacheStatus() string {
	return hourLeft.ReplaceAllString(a.Header().Get("Cache-Status"), "ttl=1h")
}

// Serve lets a handler answer a request as Caddy would. The next handler
// answers 200 and "next".
func Serve(h caddyhttp.MiddlewareHandler, r *http.Request) Answer {
	a := Answer{ResponseRecorder: httptest.NewRecorder(), repl: caddy.NewReplacer()}
	r = caddyhttp.PrepareRequest(r, a.repl, a.ResponseRecorder, nil)
	a.Err = h.ServeHTTP(a.ResponseRecorder, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		a.Next, a.Request = true, r
		_, err := w.Write([]byte("next"))
		return err
	}))
	a.Status = a.Code
	if e, ok := a.Err.(caddyhttp.HandlerError); ok { //nolint:errorlint // as Caddy does
		a.Status = e.StatusCode
	}
	return a
}

// RunCaddy runs Caddy in this process with global options and a site, and
// returns its URL and app. Only one can run at a time.
func RunCaddy(t *testing.T, options, site string) (url string, app *App) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(`{
	admin off
	persist_config off
	storage file_system `+t.TempDir()+`
	`+options+`
}
http://127.0.0.1:0 {
	bind 127.0.0.1
	`+site+`
}
`), nil)
	require.NoError(t, err)
	Provisioning.Lock()
	t.Cleanup(Provisioning.Unlock)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	v, err := caddy.ActiveContext().App("http")
	require.NoError(t, err)
	for _, server := range v.(*caddyhttp.App).Servers {
		url = "http://" + server.Listeners()[0].Addr().String()
	}
	v, err = caddy.ActiveContext().App(lookup.AppID)
	require.NoError(t, err)
	return url, v.(*App)
}

// Get is a GET request with headers.
func Get(target string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// Middleware calls a function and then the next handler.
type Middleware func(http.ResponseWriter, *http.Request)

func (m Middleware) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	m(w, r)
	return next.ServeHTTP(w, r)
}

// Chain runs handlers one after the other.
type Chain []caddyhttp.MiddlewareHandler

func (c Chain) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if len(c) == 0 {
		return next.ServeHTTP(w, r)
	}
	return c[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return c[1:].ServeHTTP(w, r, next)
	}))
}
