// Package filewallball is a Caddy plugin that looks sessions and file metadata
// up in a cache that a whole fleet shares, so that routes for files need not ask
// the application at each request.
//
// This package has the app that owns the cache, and every registration. The
// handlers are in handlers, the cache is in cache.
package filewallball

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

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
	httpcaddyfile.RegisterHandlerDirective("session_lookup", session.Parse)
	httpcaddyfile.RegisterHandlerDirective(session.AuthDirective, session.ParseForwardAuth)
	httpcaddyfile.RegisterHandlerDirective("file_metadata", metadata.Parse)
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
	return metrics.Register(ctx.GetMetricsRegistry(), metrics.New(a.Cache()))
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
	a.logStart(a.watch.ctx.Slogger())
	a.watch.begin(&health.Monitor{
		Cache: a.Cache(), Alert: a.policy.Alert, Alerts: a.process.Alerts(),
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

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ lifetime.App       = (*App)(nil)
)
