// A small app over the memory store, so that these tests do not need the
// module's root package, which imports this one.

package handlers

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

func TestMain(m *testing.M) {
	caddy.RegisterModule(new(testApp))
	caddy.RegisterModule(SessionLookup{})
	caddy.RegisterModule(FileMetadata{})
	caddy.RegisterModule(UploadProgress{})
	caddy.RegisterModule(UploadProgressReport{})
	caddy.RegisterModule(source.HTTP{})
	caddy.RegisterModule(source.FileSystem{})
	httpcaddyfile.RegisterHandlerDirective("session_lookup", ParseSessionLookup)
	httpcaddyfile.RegisterHandlerDirective("file_metadata", ParseFileMetadata)
	httpcaddyfile.RegisterHandlerDirective("upload_progress", ParseUploadProgress)
	httpcaddyfile.RegisterHandlerDirective("upload_progress_report", ParseUploadProgressReport)
	httpcaddyfile.RegisterDirectiveOrder("session_lookup", httpcaddyfile.Before, "request_header")
	httpcaddyfile.RegisterDirectiveOrder("file_metadata", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterDirectiveOrder("upload_progress", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterDirectiveOrder("upload_progress_report", httpcaddyfile.Before, "respond")
	// certmagic lets go of its storage in its own time
	goleak.VerifyTestMain(m, redistest.IgnoreLateDials(),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// testApp is an [App] with a store of its own.
type testApp struct {
	Prefix string `json:"key_prefix,omitempty"`
	Quiet  bool   `json:"quiet,omitempty"` // no Cache-Status

	cache  *cache.Cache
	policy Policy
	mu     sync.Mutex
	routes int

	lookups Lookups
}

func (*testApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: AppID, New: func() caddy.Module { return new(testApp) }}
}

func (a *testApp) Provision(caddy.Context) error {
	store, err := memory.New(memory.Options{})
	if err != nil {
		return err
	}
	a.cache = cache.New(store, cache.NewStats())
	a.policy = Policy{
		KeyPrefix: a.Prefix, Families: cache.Families(), LookupTimeout: cache.DefaultLookupTimeout,
		MaxValueSize: cache.DefaultMaxValueSize, CacheStatus: !a.Quiet,
	}
	return nil
}

func (a *testApp) Cleanup() error      { return a.cache.Close() }
func (a *testApp) Start() error        { return nil }
func (a *testApp) Stop() error         { return nil }
func (a *testApp) Cache() *cache.Cache { return a.cache }
func (a *testApp) Policy() *Policy     { return &a.policy }
func (a *testApp) KeyPrefix() string   { return a.Prefix }
func (a *testApp) Lookups() *Lookups   { return &a.lookups }

func (a *testApp) NameRoute(wanted, directive string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.routes++; wanted == "" {
		wanted = directive + "-" + strconv.Itoa(a.routes)
	}
	return wanted
}

// put stores a record under a whole key.
func (a *testApp) put(t testing.TB, key, text string) {
	t.Helper()
	record, err := cache.Decode(text, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	require.NoError(t, a.cache.Set(t.Context(), key, record, time.Hour))
}

// fill writes a record that bears tags.
func (a *testApp) fill(t testing.TB, key, text string, tags ...string) {
	t.Helper()
	record, err := cache.Decode(text, cache.DefaultMaxValueSize)
	require.NoError(t, err)
	token, _, err := a.cache.Store().Acquire(t.Context(), key, nil, time.Hour, true)
	require.NoError(t, err)
	filled, err := a.cache.Store().Fill(t.Context(), key, token, nil, record, tags, time.Hour)
	require.NoError(t, err)
	require.True(t, filled)
}

// use replaces the store, before any handler is made.
func (a *testApp) use(t testing.TB, store cache.Store) {
	t.Helper()
	require.NoError(t, a.cache.Close())
	a.cache = cache.New(store, cache.NewStats())
}

// provisioning serializes what touches Caddy's own globals.
var provisioning sync.Mutex

// newTestApp returns a provisioned app, and a context in which handlers find
// it. The config is the app's JSON.
func newTestApp(t testing.TB, config string) (caddy.Context, *testApp) {
	t.Helper()
	provisioning.Lock()
	defer provisioning.Unlock()
	base, err := caddy.ProvisionContext(&caddy.Config{
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "discard"}`)}},
		}},
		AppsRaw: caddy.ModuleMap{AppID: json.RawMessage(config)},
	})
	require.NoError(t, err)
	v, err := base.App(AppID)
	require.NoError(t, err)
	app := v.(*testApp)
	ctx, cancel := caddy.NewContext(base)
	t.Cleanup(func() {
		cancel() // cleans the handlers up
		require.NoError(t, app.Cleanup())
	})
	return ctx, app
}

// newHandler provisions and validates a handler from its JSON.
func newHandler(ctx caddy.Context, module, config string) (caddyhttp.MiddlewareHandler, error) {
	provisioning.Lock()
	defer provisioning.Unlock()
	v, err := ctx.LoadModuleByID("http.handlers."+module, json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return v.(caddyhttp.MiddlewareHandler), nil
}

// answer is what a handler did with a request.
type answer struct {
	*httptest.ResponseRecorder
	Err error
	// Status is that of the response or of the error.
	Status int
	// Next tells that the next handler was called, Request what it was given.
	Next    bool
	Request *http.Request
	repl    *caddy.Replacer
}

// placeholder is what a placeholder stands for after the handler has run.
func (a answer) placeholder(name string) string {
	return a.repl.ReplaceAll("{"+name+"}", "")
}

// serve lets a handler answer a request as Caddy would. The next handler
// answers 200 and "next".
func serve(h caddyhttp.MiddlewareHandler, r *http.Request) answer {
	a := answer{ResponseRecorder: httptest.NewRecorder(), repl: caddy.NewReplacer()}
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

// runCaddy runs Caddy in this process with global options and a site, and
// returns its URL and app. Only one can run at a time.
func runCaddy(t *testing.T, options, site string) (url string, app *testApp) {
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
	provisioning.Lock()
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() {
		defer provisioning.Unlock()
		require.NoError(t, caddy.Stop())
	})
	v, err := caddy.ActiveContext().App("http")
	require.NoError(t, err)
	for _, server := range v.(*caddyhttp.App).Servers {
		url = "http://" + server.Listeners()[0].Addr().String()
	}
	v, err = caddy.ActiveContext().App(AppID)
	require.NoError(t, err)
	return url, v.(*testApp)
}
