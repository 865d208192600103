// Package filewallball is a Caddy plugin that looks sessions and file metadata
// up in a cache that a whole fleet shares, so that routes for files need not ask
// the application at each request.
//
// This package has the app that owns the cache, and every registration. The
// handlers are in handlers, the cache is in cache.
package filewallball

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers/admin"
	"github.com/filewallball/caddy-filewallball/handlers/command"
	"github.com/filewallball/caddy-filewallball/handlers/dashboard"
	"github.com/filewallball/caddy-filewallball/handlers/filesystem"
	"github.com/filewallball/caddy-filewallball/handlers/health"
	"github.com/filewallball/caddy-filewallball/handlers/invalidate"
	"github.com/filewallball/caddy-filewallball/handlers/lifetime"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/metadata"
	"github.com/filewallball/caddy-filewallball/handlers/metrics"
	"github.com/filewallball/caddy-filewallball/handlers/session"
	sessionstores "github.com/filewallball/caddy-filewallball/handlers/session/stores"
	filesource "github.com/filewallball/caddy-filewallball/handlers/source/filesystem"
	httpsource "github.com/filewallball/caddy-filewallball/handlers/source/http"
	"github.com/filewallball/caddy-filewallball/handlers/stores"
	"github.com/filewallball/caddy-filewallball/handlers/upload"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(session.Handler{})
	for _, store := range sessionstores.All() {
		caddy.RegisterModule(store)
	}
	caddy.RegisterModule(metadata.Handler{})
	caddy.RegisterModule(invalidate.Handler{})
	caddy.RegisterModule(upload.Handler{})
	caddy.RegisterModule(upload.Report{})
	caddy.RegisterModule(dashboard.Handler{})
	caddy.RegisterModule(httpsource.Source{})
	caddy.RegisterModule(filesource.Source{})
	caddy.RegisterModule(new(filesystem.LookupCache))
	caddy.RegisterModule(admin.API{})

	httpcaddyfile.RegisterGlobalOption(lookup.AppID, parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("session_lookup", reporting(session.Parse))
	httpcaddyfile.RegisterHandlerDirective(session.AuthDirective, reporting(session.ParseForwardAuth))
	httpcaddyfile.RegisterHandlerDirective("file_metadata", reporting(metadata.Parse))
	httpcaddyfile.RegisterHandlerDirective("lookup_invalidate", invalidate.Parse)
	httpcaddyfile.RegisterHandlerDirective("upload_progress", upload.Parse)
	httpcaddyfile.RegisterHandlerDirective("upload_progress_report", upload.ParseReport)
	httpcaddyfile.RegisterHandlerDirective("lookup_dashboard", dashboard.Parse)
	// after every other way to log in, and before what may use the session
	httpcaddyfile.RegisterDirectiveOrder("session_lookup", httpcaddyfile.Before, "request_header")
	// beside session_lookup, which it becomes
	httpcaddyfile.RegisterDirectiveOrder(session.AuthDirective, httpcaddyfile.Before, "request_header")
	// after session_lookup, whose placeholders it may use
	httpcaddyfile.RegisterDirectiveOrder("lookup_invalidate", httpcaddyfile.Before, "request_header")
	// after everything that gates or answers by itself, and inside encode
	httpcaddyfile.RegisterDirectiveOrder("file_metadata", httpcaddyfile.Before, "file_server")
	// after session_lookup and request_body, before all that reads a body
	httpcaddyfile.RegisterDirectiveOrder("upload_progress", httpcaddyfile.Before, "invoke")
	// among those that answer, so that handle and route come first
	httpcaddyfile.RegisterDirectiveOrder("upload_progress_report", httpcaddyfile.Before, "respond")
	httpcaddyfile.RegisterDirectiveOrder("lookup_dashboard", httpcaddyfile.Before, "respond")

	caddycmd.RegisterCommand(command.New())
	caddy.OnExit(lifetime.Exit)
}

// App owns the cache that all lookups share. Without configuration it is this
// process's memory.
type App struct {
	// The shared store. Default: none, records are in this process's memory.
	Redis *stores.Redis `json:"redis,omitempty"`

	// The embedded store, which is used without redis. Default: 256MiB.
	Memory *stores.Memory `json:"memory,omitempty"`

	// The near cache: copies of shared records in this process. Default: 64MiB
	// for 30s.
	NearCache *stores.NearCache `json:"near_cache,omitempty"`

	// The prefix of every key. Default: none.
	Prefix string `json:"key_prefix,omitempty"`

	// How long a request waits for the store, as a duration. Default: 500ms.
	LookupTimeout caddy.Duration `json:"lookup_timeout,omitempty"`

	// The largest record, in bytes of JSON. Default: 1MiB.
	MaxValueSize int64 `json:"max_value_size,omitempty"`

	// How long records live, as a duration by family. Default: file_meta 1h,
	// session 24h, upload_progress 10m.
	TTL map[string]caddy.Duration `json:"ttl,omitempty"`

	// The thresholds at which health warns. Default: those of each field.
	Alert *Alert `json:"alert,omitempty"`

	// Whether responses get a Cache-Status field (RFC 9211). Default: true.
	CacheStatus *bool `json:"cache_status,omitempty"`

	ctx     context.Context // ends with the configuration
	policy  lookup.Policy
	memory  memory.Options
	process *lifetime.Process
	shared  *lifetime.Shared
	redis   redis.Options // resolved
	watch   *watch

	hashPace *filesource.Pace

	names   *lookup.RouteNames
	lookups *lookup.Lookups
}

// Alert has the thresholds at which health warns. Zero means the default.
type Alert struct {
	// The lowest hit rate of lookups, in percent. Default: 80.
	HitRateBelow float64 `json:"hit_rate_below,omitempty"`
	// The highest 95th percentile of round trips to Redis, as a duration.
	// Default: 10ms.
	LatencyAbove caddy.Duration `json:"latency_above,omitempty"`
	// The highest use of memory, in percent of Redis' maxmemory or, without one,
	// of the memory of its machine. Default: 80.
	MemoryAbove float64 `json:"memory_above,omitempty"`
	// The most clients connected to Redis. Default: 1000.
	ClientsAbove int64 `json:"clients_above,omitempty"`
}

// provisionPolicy resolves the settings that all lookups share, and their defaults.
func (a *App) provisionPolicy() error {
	prefix, err := stores.Replaced("key_prefix", a.Prefix)
	if err != nil {
		return err
	}
	if err := cache.CheckIdentity(prefix); err != nil {
		return fmt.Errorf("key_prefix: want printable UTF-8 text: %w", err)
	}
	switch {
	case a.Prefix != "" && prefix == "":
		return fmt.Errorf("key_prefix: %s is empty: give it a value, or leave the line out", a.Prefix)
	case strings.HasPrefix(prefix, cache.OwnPrefix):
		return fmt.Errorf("key_prefix begins with %s, which is for the plugin's own keys: write another text", cache.OwnPrefix)
	}
	a.policy = lookup.Policy{
		KeyPrefix:     prefix,
		Families:      cache.Families(),
		LookupTimeout: time.Duration(a.LookupTimeout),
		MaxValueSize:  int(a.MaxValueSize),
		CacheStatus:   a.CacheStatus == nil || *a.CacheStatus,
		Alert: lookup.Alert{
			HitRateBelow: 80, LatencyAbove: 10 * time.Millisecond, MemoryAbove: 80, ClientsAbove: 1000,
		},
	}
	if a.LookupTimeout == 0 {
		a.policy.LookupTimeout = cache.DefaultLookupTimeout
	}
	if a.MaxValueSize == 0 {
		a.policy.MaxValueSize = cache.DefaultMaxValueSize
	}
	known := make(map[string]bool)
	for i, family := range a.policy.Families {
		known[family.Name] = true
		if ttl, ok := a.TTL[family.Name]; ok {
			a.policy.Families[i].TTL = time.Duration(ttl)
		}
	}
	for name := range a.TTL {
		if !known[name] {
			return fmt.Errorf("ttl: family '%s' is not known: want one of %v", name, cache.FamilyNames())
		}
	}
	a.Alert.apply(&a.policy.Alert)
	return nil
}

func (c *Alert) validate() error {
	if c == nil {
		return nil
	}
	for name, percent := range map[string]float64{"hit_rate_below": c.HitRateBelow, "memory_above": c.MemoryAbove} {
		if percent != 0 && !(percent >= 1 && percent <= 100) {
			return fmt.Errorf("alert: %s is %g: want a percentage from 1 to 100, like 80", name, percent)
		}
	}
	switch {
	case c.LatencyAbove < 0:
		return fmt.Errorf("alert: latency_above is %s: want a duration above 0, like 10ms", time.Duration(c.LatencyAbove))
	case c.ClientsAbove < 0:
		return fmt.Errorf("alert: clients_above is %d: want a number above 0, like 1000", c.ClientsAbove)
	}
	return nil
}

func (c *Alert) apply(to *lookup.Alert) {
	if c == nil {
		return
	}
	if c.HitRateBelow != 0 {
		to.HitRateBelow = c.HitRateBelow
	}
	if c.LatencyAbove != 0 {
		to.LatencyAbove = time.Duration(c.LatencyAbove)
	}
	if c.MemoryAbove != 0 {
		to.MemoryAbove = c.MemoryAbove
	}
	if c.ClientsAbove != 0 {
		to.ClientsAbove = c.ClientsAbove
	}
}

// Validate checks what Provision only reads.
func (a *App) Validate() error {
	if a.Redis != nil && a.Memory != nil {
		return fmt.Errorf("redis and memory are both configured: memory is the store without redis, leave out one")
	}
	if m := a.Memory; m != nil && m.PersistJournal != nil && m.Persist == "" {
		return fmt.Errorf("memory: persist_journal needs persist, the name of the file")
	}
	if m := a.Memory; m != nil && m.PersistInterval != 0 {
		if m.Persist == "" {
			return fmt.Errorf("memory: persist_interval needs persist, the name of the file")
		}
		if time.Duration(m.PersistInterval) < stores.MinPersistInterval {
			return fmt.Errorf("memory: persist_interval is %s: want at least %s", time.Duration(m.PersistInterval), stores.MinPersistInterval)
		}
	}
	if err := a.Alert.validate(); err != nil {
		return err
	}
	if n := a.NearCache; n != nil && (n.MaxSize < 0 || n.TTL < 0) {
		return fmt.Errorf("near_cache: max_size and ttl cannot be negative: want a size like 64MiB and a duration like 30s")
	}
	if a.LookupTimeout < 0 || a.MaxValueSize < 0 {
		return fmt.Errorf("lookup_timeout and max_value_size cannot be negative")
	}
	for name, ttl := range a.TTL {
		if time.Duration(ttl) < cache.MinTTL {
			return fmt.Errorf("ttl of %s is %s: want at least %s", name, time.Duration(ttl), cache.MinTTL)
		}
	}
	return nil
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: lookup.AppID, New: func() caddy.Module { return new(App) }}
}

// Provision opens the cache, or takes over that of the previous configuration.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.hashPace = filesource.NewPace(runtime.GOMAXPROCS(0))
	a.names, a.lookups = new(lookup.RouteNames), &lookup.Lookups{OnConflict: reportConflict}
	// Caddy calls Validate after Provision, when the store is open
	if err := a.Validate(); err != nil {
		return err
	}
	if err := a.provisionPolicy(); err != nil {
		return err
	}
	a.process = lifetime.Join()
	if before, ok := lifetime.Running(); ok {
		a.lookups.InheritRoots(before.Lookups())
	}
	open, err := a.storeOpener(ctx)
	if err != nil {
		return err
	}
	if a.shared, err = a.process.Acquire(open); err != nil {
		return err
	}
	if a.watch, err = newWatch(ctx); err != nil {
		return err
	}
	if err := metrics.Register(ctx.GetMetricsRegistry(), metrics.New(a.Cache())); err != nil {
		return err
	}
	return metrics.Register(ctx.GetMetricsRegistry(), metrics.NewRoots(a.lookups.FailingRoots))
}

// Start makes this app the one that the admin API uses. It lets the store in Redis
// connect, and waits up to 10 s for the embedded one to read its file. Requests wait
// for that as well.
func (a *App) Start() error {
	a.process.Started(a)
	switch store := a.Cache().Store().(type) {
	case *redis.Store:
		store.Start()
	case *memory.Store:
		ctx, cancel := context.WithTimeout(context.Background(), fileWait)
		defer cancel()
		_ = store.Ping(ctx)
	}
	a.logStart(a.watch.logger)
	a.watch.begin(&health.Monitor{
		Cache: a.Cache(), Lookups: a.lookups, Alert: a.policy.Alert, Alerts: a.process.Alerts(),
		Newest: func() bool {
			running, ok := lifetime.Running()
			return ok && running == lookup.App(a)
		},
	})
	return nil
}

// ApplyShared sets the state that all configurations of this process share to
// the options of this one, the newest.
func (a *App) ApplyShared(stats *cache.Stats) {
	stats.RetainRoutes(a.names.Taken())
	if store, ok := a.Cache().Store().(*memory.Store); ok {
		_ = store.Adjust(a.memory) // Provision has validated these options
	}
}

// fileWait is how long Start waits for the embedded store to read its file.
const fileWait = 10 * time.Second

// Stop ends the checks of health. Requests in flight still use the cache; see
// Cleanup.
func (a *App) Stop() error {
	a.watch.end()
	return nil
}

// Cleanup releases what Provision acquired. The cache closes with its last user, so a
// following configuration with the same options keeps it.
func (a *App) Cleanup() error {
	a.watch.end()
	if a.process != nil {
		a.process.Ended(a)
		defer a.process.Leave()
	}
	if a.shared == nil {
		return nil
	}
	return a.shared.Release()
}

// Context ends with this configuration.
func (a *App) Context() context.Context { return a.ctx }

// Cache is the cache that all lookups share.
func (a *App) Cache() *cache.Cache { return a.shared.Cache }

// Hold keeps the cache open until release is called.
func (a *App) Hold() (release func()) { return a.shared.Hold() }

// Replaced reports whether the running configuration has another cache, or there
// is none.
func (a *App) Replaced() bool {
	running, ok := lifetime.Running()
	return !ok || running.Cache() != a.Cache()
}

// Policy returns the settings of all lookups.
func (a *App) Policy() *lookup.Policy { return &a.policy }

// KeyPrefix goes in front of every key.
func (a *App) KeyPrefix() string { return a.policy.KeyPrefix }

// HashPace limits the CPU time of hashing, for all sources of files together.
func (a *App) HashPace() *filesource.Pace { return a.hashPace }

// NameRoute returns the name of a route in statistics; see [lookup.App].
func (a *App) NameRoute(wanted, directive string) string {
	return a.names.Take(wanted, directive)
}

// Lookups returns the lookups of this configuration.
func (a *App) Lookups() *lookup.Lookups { return a.lookups }

// storeOpener returns the function that opens the configured store.
func (a *App) storeOpener(ctx caddy.Context) (lifetime.Opener, error) {
	if a.Redis == nil {
		var err error
		if a.memory, err = a.Memory.Options(a.policy.MaxValueSize, ctx.Slogger()); err != nil {
			return lifetime.Opener{}, err
		}
		if err := a.memory.Validate(); err != nil {
			return lifetime.Opener{}, fmt.Errorf("memory: %w", err)
		}
		return lifetime.Opener{
			// one store for all options, which can change while it is in use: no
			// records are lost, and no two stores use the same file
			Fingerprint: "memory", Place: "memory", Logger: ctx.Slogger(),
			Open: func(*cache.Stats) (cache.Store, error) { return memory.New(a.memory) },
		}, nil
	}
	options, err := a.Redis.Options()
	if err != nil {
		return lifetime.Opener{}, err
	}
	options.KeyPrefix, options.MaxValueSize = a.policy.KeyPrefix, a.policy.MaxValueSize
	options.Deferred = true // a configuration that is only checked connects to nothing
	if options, err = options.Resolve(os.Getenv); err != nil {
		return lifetime.Opener{}, fmt.Errorf("redis: %w", err)
	}
	a.redis = options
	logger := ctx.Slogger()
	var copies *near.Options
	if c := a.NearCache; c == nil || !c.Off {
		copies = new(near.Options)
		if c != nil {
			*copies = near.Options{MaxSize: c.MaxSize, TTL: time.Duration(c.TTL)}
		}
	}
	return lifetime.Opener{
		Fingerprint: fmt.Sprintf("%s near %+v", options.Fingerprint(), copies),
		Place:       fmt.Sprintf("%s prefix %q", options.Place(), options.KeyPrefix),
		Near:        copies,
		Logger:      logger,
		Open: func(stats *cache.Stats) (cache.Store, error) {
			return redis.New(options, stats, logger)
		},
	}, nil
}

// reporting reports conflicts in a Caddyfile that the running Caddy reads.
func reporting(parse httpcaddyfile.UnmarshalHandlerFunc) httpcaddyfile.UnmarshalHandlerFunc {
	return func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler, err := parse(h)
		if _, conflict := errors.AsType[*lookup.ConflictError](err); conflict {
			reportConflict(err)
		}
		return handler, err
	}
}

// reportConflict emits an event of the running configuration: a new configuration is
// refused, because two of its lookups share keys but ask different questions. It does
// not wait for the handlers of the event.
func reportConflict(conflict error) {
	running, ok := lifetime.Running()
	if !ok {
		return
	}
	if a, ok := running.(*App); ok && a.watch != nil {
		go a.watch.events.Emit(a.watch.ctx, health.ConfigConflict, map[string]any{"error": conflict.Error()})
	}
}

// logStart logs which cache the configuration uses.
func (a *App) logStart(logger *slog.Logger) {
	store := a.Cache().Store()
	fields := []any{slog.String("store", store.Name()), slog.String("key_prefix", a.policy.KeyPrefix)}
	if a.Redis != nil {
		fields = append(fields, slog.String("address", strings.Join(a.redis.Addresses, ",")), slog.String("client_type", a.redis.ClientType),
			slog.String("profile", a.redis.Profile))
		near := "off"
		if n := a.Cache().Near(); n.MaxBytes > 0 {
			near = fmt.Sprintf("%d bytes", n.MaxBytes)
		}
		fields = append(fields, slog.String("near_cache", near))
	}
	logger.Info("cache is in use", fields...)
}

// watch runs the checks of health at intervals while its configuration runs, and emits
// changes as events of Caddy's events app.
type watch struct {
	ctx    caddy.Context
	logger *slog.Logger
	events *caddyevents.App
	cancel context.CancelFunc
}

func newWatch(ctx caddy.Context) (*watch, error) {
	// later, Caddy may name it after a module that the same handler has loaded
	logger := ctx.Slogger()
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	events, ok := app.(*caddyevents.App)
	if !ok {
		return nil, fmt.Errorf("the events app is of an unexpected type, %T", app)
	}
	return &watch{ctx: ctx, logger: logger, events: events}, nil
}

// begin starts the checks of a monitor. It logs and emits the changes here.
func (w *watch) begin(monitor *health.Monitor) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	monitor.Logger = w.logger
	monitor.Emit = func(event health.Event) { w.events.Emit(w.ctx, event.Name, event.Data) }
	go func() {
		clock := time.NewTicker(health.Interval)
		defer clock.Stop()
		monitor.Run(ctx, clock.C)
	}()
}

// end stops the checks. It does not wait for handlers of events.
func (w *watch) end() {
	if w != nil && w.cancel != nil {
		w.cancel()
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ lifetime.App       = (*App)(nil)
)
