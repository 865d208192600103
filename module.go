// Package filewallball is a Caddy plugin that looks sessions and file metadata
// up in a cache that a whole fleet shares, so that file routes know whose
// session a request has and what file it asks for without asking the
// application each time.
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
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/cache/memory"
	"github.com/filewallball/caddy-filewallball/cache/near"
	"github.com/filewallball/caddy-filewallball/cache/redis"
	"github.com/filewallball/caddy-filewallball/handlers"
	"github.com/filewallball/caddy-filewallball/handlers/command"
	"github.com/filewallball/caddy-filewallball/handlers/lookupfs"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(handlers.SessionLookup{})
	caddy.RegisterModule(handlers.FileMetadata{})
	caddy.RegisterModule(handlers.LookupInvalidate{})
	caddy.RegisterModule(handlers.UploadProgress{})
	caddy.RegisterModule(handlers.UploadProgressReport{})
	caddy.RegisterModule(source.HTTP{})
	caddy.RegisterModule(source.FileSystem{})
	caddy.RegisterModule(new(lookupfs.LookupCache))
	caddy.RegisterModule(handlers.NewAdminAPI(runningApp))

	httpcaddyfile.RegisterGlobalOption(handlers.AppID, parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("session_lookup", handlers.ParseSessionLookup)
	httpcaddyfile.RegisterHandlerDirective("file_metadata", handlers.ParseFileMetadata)
	httpcaddyfile.RegisterHandlerDirective("lookup_invalidate", handlers.ParseLookupInvalidate)
	httpcaddyfile.RegisterHandlerDirective("upload_progress", handlers.ParseUploadProgress)
	httpcaddyfile.RegisterHandlerDirective("upload_progress_report", handlers.ParseUploadProgressReport)
	// after every other way to log in, and before what may use the session
	httpcaddyfile.RegisterDirectiveOrder("session_lookup", httpcaddyfile.Before, "request_header")
	// after session_lookup, whose placeholders it may use
	httpcaddyfile.RegisterDirectiveOrder("lookup_invalidate", httpcaddyfile.Before, "request_header")
	// inside encode, so that what is answered here is as encode would have it
	httpcaddyfile.RegisterDirectiveOrder("file_metadata", httpcaddyfile.Before, "invoke")
	// after session_lookup and request_body, before all that reads a body
	httpcaddyfile.RegisterDirectiveOrder("upload_progress", httpcaddyfile.Before, "invoke")
	// among those that answer, so that handle and route come first
	httpcaddyfile.RegisterDirectiveOrder("upload_progress_report", httpcaddyfile.Before, "respond")

	caddycmd.RegisterCommand(command.New())

	redis.LogTo(func(message string) {
		caddy.Log().Named(handlers.AppID).Debug("redis client", zap.String("message", message))
	})
}

// App owns the cache that all lookups share. Without configuration it is this
// process's memory.
type App struct {
	// The shared store. Without it, records are in this process's memory.
	Redis *Redis `json:"redis,omitempty"`

	// The embedded store, used where there is no redis.
	Memory *Memory `json:"memory,omitempty"`

	// The copies of shared records in this process.
	NearCache *NearCache `json:"near_cache,omitempty"`

	// What goes in front of every key.
	Prefix string `json:"key_prefix,omitempty"`

	// The longest a request waits for the store. Default 500ms.
	LookupTimeout caddy.Duration `json:"lookup_timeout,omitempty"`

	// The largest record, in bytes of JSON. Default 1MiB.
	MaxValueSize int64 `json:"max_value_size,omitempty"`

	// How long records live, by family: file_meta (1h), session (24h),
	// upload_progress (10m).
	TTL map[string]caddy.Duration `json:"ttl,omitempty"`

	// When health is a warning.
	Alert *Alert `json:"alert,omitempty"`

	// Whether responses get a Cache-Status field (RFC 9211). Default true.
	CacheStatus *bool `json:"cache_status,omitempty"`

	policy  handlers.Policy
	memory  memory.Options
	process *process
	shared  *shared

	names   *routeNames
	lookups *handlers.Lookups
}

// Alert has the thresholds of health. Zero means the default.
type Alert struct {
	// Percent of lookups that a cache answered. Default 80.
	HitRateBelow float64 `json:"hit_rate_below,omitempty"`
	// 95th percentile of a round trip to Redis. Default 10ms.
	LatencyAbove caddy.Duration `json:"latency_above,omitempty"`
	// Percent of Redis' maxmemory that is used. Default 80.
	MemoryAbove float64 `json:"memory_above,omitempty"`
	// Clients connected to Redis. Default 1000.
	ClientsAbove int64 `json:"clients_above,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: handlers.AppID, New: func() caddy.Module { return new(App) }}
}

// Provision makes the cache, or finds the one that the configuration before
// this one has warmed.
func (a *App) Provision(ctx caddy.Context) error {
	a.names = &routeNames{taken: make(map[string]bool), unnamed: make(map[string]int)}
	a.lookups = new(handlers.Lookups)
	if err := a.provisionPolicy(); err != nil {
		return err
	}
	a.process = acquireProcess()
	open, err := a.storeOpener(ctx)
	if err != nil {
		return err
	}
	a.shared, err = acquireShared(open, a.process)
	return err
}

func (a *App) provisionPolicy() error {
	prefix, err := replaced("key_prefix", a.Prefix)
	if err != nil {
		return err
	}
	if err := cache.CheckIdentity(prefix); err != nil {
		return fmt.Errorf("key_prefix: want printable UTF-8 text: %w", err)
	}
	a.policy = handlers.Policy{
		KeyPrefix:     prefix,
		Families:      cache.Families(),
		LookupTimeout: time.Duration(a.LookupTimeout),
		MaxValueSize:  int(a.MaxValueSize),
		CacheStatus:   a.CacheStatus == nil || *a.CacheStatus,
		Alert: handlers.Alert{
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

func (c *Alert) apply(to *handlers.Alert) {
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
		return fmt.Errorf("both redis and memory are configured: memory is the store only where there is no redis")
	}
	if m := a.Memory; m != nil && m.PersistInterval != 0 {
		if m.Persist == "" {
			return fmt.Errorf("memory: persist_interval is given without persist, the file that it is for")
		}
		if time.Duration(m.PersistInterval) < minPersistInterval {
			return fmt.Errorf("memory: persist_interval is %s: want at least %s", time.Duration(m.PersistInterval), minPersistInterval)
		}
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

// Start makes this app the one that the admin API speaks of, and waits a while
// for the embedded store to read its file. Requests wait for it too.
func (a *App) Start() error {
	a.process.started(a)
	if store, ok := a.shared.store.(*memory.Store); ok {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = store.Ping(ctx)
	}
	return nil
}

// patience is how long a start waits for the embedded store's file.
const patience = 10 * time.Second

// Stop does nothing: requests in flight still use the cache; see Cleanup.
func (a *App) Stop() error { return nil }

// Cleanup lets go of what Provision acquired. The cache closes with its last
// user, so a configuration that follows with the same options keeps it.
func (a *App) Cleanup() error {
	if a.process != nil {
		a.process.ended(a)
		defer a.process.release()
	}
	if a.shared == nil {
		return nil
	}
	return a.shared.release()
}

// Cache is the cache that all routes share.
func (a *App) Cache() *cache.Cache { return a.shared.cache }

// Policy is what the configuration says about all lookups.
func (a *App) Policy() *handlers.Policy { return &a.policy }

// KeyPrefix goes in front of every key.
func (a *App) KeyPrefix() string { return a.policy.KeyPrefix }

// NameRoute gives a route its name in statistics.
func (a *App) NameRoute(wanted, directive string) string {
	return a.names.take(wanted, directive)
}

// Lookups are those of this configuration.
func (a *App) Lookups() *handlers.Lookups { return a.lookups }

// routeNames has the names of one configuration's routes.
type routeNames struct {
	mu      sync.Mutex
	taken   map[string]bool
	unnamed map[string]int // how many routes of each directive have no name
}

func (n *routeNames) take(wanted, directive string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if wanted == "" {
		n.unnamed[directive]++
		wanted = directive + "-" + strconv.Itoa(n.unnamed[directive])
	}
	n.taken[wanted] = true
	return wanted
}

// Memory limits the embedded store, and keeps it over a restart.
type Memory struct {
	// Bytes of records and keys. Default 256MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// The file that keeps the records over a restart; a relative name is one in
	// the working directory. Default: they end with the process.
	Persist string `json:"persist,omitempty"`
	// How often changes are saved, beside the save at the end. Default 1m.
	PersistInterval caddy.Duration `json:"persist_interval,omitempty"`
}

// minPersistInterval is the least time between saves: each writes everything.
const minPersistInterval = time.Second

// options puts environment and the like into what is configured.
func (m *Memory) options(maxValueSize int, logger *slog.Logger) (o memory.Options, err error) {
	o = memory.Options{MaxValueSize: maxValueSize, Logger: logger}
	if m == nil {
		return o, nil
	}
	o.MaxSize, o.SaveInterval = m.MaxSize, time.Duration(m.PersistInterval)
	if m.Persist == "" {
		return o, nil
	}
	if o.File, err = replaced("memory persist", m.Persist); err != nil {
		return o, err
	}
	if o.File == "" {
		return o, errors.New("memory persist: the name of the file is empty once placeholders are replaced")
	}
	o.File, err = filepath.Abs(o.File)
	return o, err
}

// NearCache limits the copies of shared records in this process, which answer
// without Redis and which Redis keeps true.
type NearCache struct {
	// Keep none.
	Off bool `json:"off,omitempty"`
	// Bytes of records and keys. Default 64MiB.
	MaxSize int64 `json:"max_size,omitempty"`
	// The longest a copy lives. Default 30s.
	TTL caddy.Duration `json:"ttl,omitempty"`
}

// Redis says where the shared store is and how it is talked to. What is not
// set comes from the environment (REDIS_URL, or REDIS_HOST, REDIS_PORT,
// REDIS_USERNAME, REDIS_PASSWORD and REDIS_DB), then from the profile.
type Redis struct {
	// development, kubernetes or production. Default: ENVIRONMENT of the
	// environment where that is one of them, else development.
	Profile string `json:"profile,omitempty"`
	// redis://, rediss:// or unix://
	URL string `json:"url,omitempty"`
	// host:port, or the path of a unix socket. Several are those of a
	// cluster or of sentinels.
	Addresses []string `json:"addresses,omitempty"`
	// simple, failover or cluster. Default: failover with a master_name,
	// cluster with several addresses, else simple.
	ClientType string `json:"client_type,omitempty"`
	// The master's name, as the sentinels know it.
	MasterName       string `json:"master_name,omitempty"`
	SentinelUsername string `json:"sentinel_username,omitempty"`
	SentinelPassword string `json:"sentinel_password,omitempty"`
	Username         string `json:"username,omitempty"`
	Password         string `json:"password,omitempty"`
	DB               *int   `json:"db,omitempty"`
	TLS              *TLS   `json:"tls,omitempty"`
	// primary (default), replicas or nearest.
	ReadFrom string `json:"read_from,omitempty"`
	// The most connections that are kept, of each node.
	PoolSize       int `json:"pool_size,omitempty"`
	MinIdleConns   int `json:"min_idle_conns,omitempty"`
	MaxActiveConns int `json:"max_active_conns,omitempty"`
	// How long to wait for a connection of a full pool.
	PoolTimeout     caddy.Duration `json:"pool_timeout,omitempty"`
	ConnMaxIdleTime caddy.Duration `json:"conn_max_idle_time,omitempty"`
	ConnMaxLifetime caddy.Duration `json:"conn_max_lifetime,omitempty"`
	DialTimeout     caddy.Duration `json:"dial_timeout,omitempty"`
	ReadTimeout     caddy.Duration `json:"read_timeout,omitempty"`
	WriteTimeout    caddy.Duration `json:"write_timeout,omitempty"`
	// Default 3; -1 turns retries off.
	MaxRetries          int            `json:"max_retries,omitempty"`
	RetryBackoffMin     caddy.Duration `json:"retry_backoff_min,omitempty"`
	RetryBackoffMax     caddy.Duration `json:"retry_backoff_max,omitempty"`
	HealthCheckInterval caddy.Duration `json:"health_check_interval,omitempty"`
	Breaker             *Breaker       `json:"breaker,omitempty"`
}

// Breaker leaves a node of Redis alone that has failed.
type Breaker struct {
	// Never.
	Off bool `json:"off,omitempty"`
	// So many failures in a row open it. Default 5.
	Failures int `json:"failures,omitempty"`
	// How long it stays open before one request tries again. Default 1s.
	CoolDown caddy.Duration `json:"cool_down,omitempty"`
}

// TLS says how connections to Redis are encrypted. Files are PEM.
type TLS struct {
	// Whom to trust instead of the system's authorities.
	CA []string `json:"ca,omitempty"`
	// The client's certificate and key.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// The name in the server's certificate, where the address has another.
	ServerName string `json:"server_name,omitempty"`
	// Trust anybody. For tests only.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// options puts environment and files into what is configured.
func (c *Redis) options() (redis.Options, error) {
	o := redis.Options{
		Profile: c.Profile, ClientType: c.ClientType, DB: c.DB, ReadFrom: c.ReadFrom,
		PoolSize: c.PoolSize, MinIdleConns: c.MinIdleConns, MaxActiveConns: c.MaxActiveConns,
		PoolTimeout: time.Duration(c.PoolTimeout), ConnMaxIdleTime: time.Duration(c.ConnMaxIdleTime),
		ConnMaxLifetime: time.Duration(c.ConnMaxLifetime), DialTimeout: time.Duration(c.DialTimeout),
		ReadTimeout: time.Duration(c.ReadTimeout), WriteTimeout: time.Duration(c.WriteTimeout),
		MaxRetries: c.MaxRetries, RetryBackoffMin: time.Duration(c.RetryBackoffMin),
		RetryBackoffMax: time.Duration(c.RetryBackoffMax), HealthCheckInterval: time.Duration(c.HealthCheckInterval),
		Addresses: slices.Clone(c.Addresses),
	}
	if b := c.Breaker; b != nil {
		o.BreakerOff, o.BreakerFailures, o.BreakerCoolDown = b.Off, b.Failures, time.Duration(b.CoolDown)
	}
	texts := []text{
		{"url", c.URL, &o.URL}, {"master_name", c.MasterName, &o.MasterName},
		{"sentinel_username", c.SentinelUsername, &o.SentinelUsername},
		{"sentinel_password", c.SentinelPassword, &o.SentinelPassword},
		{"username", c.Username, &o.Username}, {"password", c.Password, &o.Password},
	}
	for i := range o.Addresses {
		texts = append(texts, text{"address", c.Addresses[i], &o.Addresses[i]})
	}
	if c.TLS != nil {
		o.TLS = &redis.TLS{InsecureSkipVerify: c.TLS.InsecureSkipVerify, CA: slices.Clone(c.TLS.CA)}
		texts = append(texts, text{"cert", c.TLS.Cert, &o.TLS.Cert}, text{"key", c.TLS.Key, &o.TLS.Key},
			text{"server_name", c.TLS.ServerName, &o.TLS.ServerName})
		for i := range o.TLS.CA {
			texts = append(texts, text{"ca", c.TLS.CA[i], &o.TLS.CA[i]})
		}
	}
	for _, t := range texts {
		var err error
		if *t.to, err = replaced("redis "+t.setting, t.value); err != nil {
			return redis.Options{}, err
		}
	}
	return o, nil
}

// text is a setting that takes placeholders.
type text struct {
	setting, value string
	to             *string
}

// storeOpener says how the configured store is made.
func (a *App) storeOpener(ctx caddy.Context) (opener, error) {
	if a.Redis == nil {
		var err error
		if a.memory, err = a.Memory.options(a.policy.MaxValueSize, ctx.Slogger()); err != nil {
			return opener{}, err
		}
		if err := a.memory.Validate(); err != nil {
			return opener{}, fmt.Errorf("memory: %w", err)
		}
		return opener{
			// one store whatever the options, which it can change while it is
			// used: so it loses nothing, and no two ever have the same file
			fingerprint: "memory",
			open:        func(*cache.Stats) (cache.Store, error) { return memory.New(a.memory) },
		}, nil
	}
	options, err := a.Redis.options()
	if err != nil {
		return opener{}, err
	}
	options.KeyPrefix, options.MaxValueSize = a.policy.KeyPrefix, a.policy.MaxValueSize
	if options, err = options.Resolve(os.Getenv); err != nil {
		return opener{}, fmt.Errorf("redis: %w", err)
	}
	logger := ctx.Slogger()
	var copies *near.Options
	if c := a.NearCache; c == nil || !c.Off {
		copies = new(near.Options)
		if c != nil {
			*copies = near.Options{MaxSize: c.MaxSize, TTL: time.Duration(c.TTL)}
		}
	}
	return opener{
		fingerprint: fmt.Sprintf("%s near %+v", options.Fingerprint(), copies),
		near:        copies,
		open: func(stats *cache.Stats) (cache.Store, error) {
			return redis.New(options, stats, logger)
		},
	}, nil
}

// usage has what outlives a configuration: under processKey the process, and
// a shared cache under each fingerprint of the options it was made with.
var usage = caddy.NewUsagePool()

const processKey = "process"

// process is what all configurations of this process have in common.
type process struct {
	stats *cache.Stats
	mu    sync.Mutex
	apps  []*App // that have started and not ended, the newest last
	// lingering are caches that no configuration uses any more, but requests
	// that began under the last one may, by their keys in the pool.
	lingering map[string]*lingering
}

// lingering is a cache that is to be closed.
type lingering struct {
	*shared
	timer  *time.Timer
	closed chan struct{}
}

// linger is how long a request may take from its arrival to its last lookup
// when the store that it uses is replaced by a new configuration.
const linger = 5 * time.Second

// Destruct is called by the pool when no configuration uses the plugin.
func (p *process) Destruct() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, l := range p.lingering {
		if l.timer.Stop() {
			errs = append(errs, l.cache.Close())
		} else {
			<-l.closed
		}
	}
	return errors.Join(errs...)
}

// retire closes a cache: at once where everything ends, or after a while
// where another configuration runs already.
func (p *process) retire(s *shared) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.apps) == 0 {
		return s.cache.Close()
	}
	l := &lingering{shared: s, closed: make(chan struct{})}
	l.timer = time.AfterFunc(linger, func() {
		_ = l.cache.Close()
		close(l.closed)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lingering[s.key] == l {
			delete(p.lingering, s.key)
		}
	})
	p.lingering[s.key] = l
	return nil
}

// revive gives a cache that lingers to a configuration that wants one like it,
// if there is one. One that is closing is waited for: the embedded store saves
// its records then, which are what the next one reads.
func (p *process) revive(key string) (*shared, bool) {
	p.mu.Lock()
	l, ok := p.lingering[key]
	delete(p.lingering, key)
	p.mu.Unlock()
	if !ok {
		return nil, false
	}
	if l.timer.Stop() {
		return l.shared, true
	}
	<-l.closed
	return nil, false
}

func acquireProcess() *process {
	v, _, _ := usage.LoadOrNew(processKey, func() (caddy.Destructor, error) {
		return &process{stats: cache.NewStats(), lingering: make(map[string]*lingering)}, nil
	})
	return v.(*process)
}

func (p *process) release() { _, _ = usage.Delete(processKey) }

func (p *process) started(a *App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = append(p.apps, a)
	p.adjust()
	p.stats.KeepRoutes(a.names.taken)
}

func (p *process) ended(a *App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = slices.DeleteFunc(p.apps, func(b *App) bool { return a == b })
	p.adjust()
}

// adjust gives the embedded store the options of the newest app, which is the
// former one again where a new one has failed to start.
func (p *process) adjust() {
	if len(p.apps) == 0 {
		return
	}
	newest := p.apps[len(p.apps)-1]
	if store, ok := newest.shared.store.(*memory.Store); ok {
		_ = store.Adjust(newest.memory) // which Provision has found right
	}
}

// runningApp is the app that started last. The admin API is made before any
// app is and outlives none, so it asks anew each time.
func runningApp() (handlers.App, bool) {
	var newest *App
	usage.Range(func(key, value any) bool {
		p, ok := value.(*process)
		if !ok {
			return true
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.apps) > 0 {
			newest = p.apps[len(p.apps)-1]
		}
		return false
	})
	return newest, newest != nil
}

// shared is a cache with the key it has in the usage pool.
type shared struct {
	key     string
	store   cache.Store
	cache   *cache.Cache
	process *process
}

// opener makes a store; fingerprint is equal for options that make equal ones.
type opener struct {
	fingerprint string
	open        func(*cache.Stats) (cache.Store, error)
	near        *near.Options // nil: no copies
}

// Destruct is called by the pool when the last user has let go of the cache.
func (s *shared) Destruct() error { return s.process.retire(s) }

// acquireShared is the only door to the pool of caches.
func acquireShared(o opener, p *process) (*shared, error) {
	v, _, err := usage.LoadOrNew(o.fingerprint, func() (caddy.Destructor, error) {
		if s, ok := p.revive(o.fingerprint); ok {
			return s, nil
		}
		store, err := o.open(p.stats)
		if err != nil {
			return nil, err
		}
		c := cache.New(store, p.stats)
		if o.near != nil {
			c.KeepNear(*o.near)
		}
		return &shared{key: o.fingerprint, store: store, cache: c, process: p}, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*shared), nil
}

func (s *shared) release() error {
	_, err := usage.Delete(s.key)
	return err
}

// replaced puts environment, files and the like into a configured value. The
// error names the setting and not the value, which may be a secret.
func replaced(setting, value string) (string, error) {
	value, err := caddy.NewReplacer().ReplaceOrErr(value, false, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return value, nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ handlers.App       = (*App)(nil)
)
