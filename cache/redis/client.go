package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The concrete clients are made from their own options, not from go-redis'
// UniversalOptions: those cannot bound a failover, and with a master's name
// their ReadOnly sends writes to replicas.

// stateReloadInterval is the longest age of a cluster's map while nothing
// reports a change.
const stateReloadInterval = 2 * time.Second

// newPrimary makes the client for all writes. It does not dial.
func newPrimary(o *Options, dial dialFunc) goredis.UniversalClient {
	if o.ClientType == Cluster {
		return goredis.NewClusterClient(clusterOptions(o, dial))
	}
	return goredis.NewClient(simpleOptions(o, dial))
}

// simpleOptions returns the options of a client of one server. The dialer logs
// in and selects the database.
func simpleOptions(o *Options, dial dialFunc) *goredis.Options {
	return &goredis.Options{
		Addr: o.Addresses[0], Dialer: dial,
		MaxRetries: o.MaxRetries, MinRetryBackoff: o.RetryBackoffMin, MaxRetryBackoff: o.RetryBackoffMax,
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		PoolSize: o.PoolSize, MinIdleConns: o.MinIdleConns, MaxActiveConns: o.MaxActiveConns,
		PoolTimeout: o.PoolTimeout, ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime,
		// the caller's deadline also limits the wait for an answer
		ContextTimeoutEnabled: true,
		DialerRetries:         1,
		// nothing is pushed to these connections, and a server that does not know these
		// commands answers with errors
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: noMaintNotifications(),
		// pipelines use the same pool
		PipelinePoolSize: -1,
	}
}

func clusterOptions(o *Options, dial dialFunc) *goredis.ClusterOptions {
	s := simpleOptions(o, dial)
	return &goredis.ClusterOptions{
		Addrs: o.Addresses, Dialer: dial,
		// without redirects, the client would lose a cluster that changes
		MaxRedirects:    max(1, o.MaxRetries),
		MinRetryBackoff: s.MinRetryBackoff, MaxRetryBackoff: s.MaxRetryBackoff,
		DialTimeout: s.DialTimeout, ReadTimeout: s.ReadTimeout, WriteTimeout: s.WriteTimeout,
		PoolSize: s.PoolSize, MinIdleConns: s.MinIdleConns, MaxActiveConns: s.MaxActiveConns,
		PoolTimeout: s.PoolTimeout, ConnMaxIdleTime: s.ConnMaxIdleTime, ConnMaxLifetime: s.ConnMaxLifetime,
		ContextTimeoutEnabled: true, DialerRetries: s.DialerRetries,
		Protocol: s.Protocol, DisableIdentity: true, PipelinePoolSize: s.PipelinePoolSize,
		MaintNotificationsConfig:   noMaintNotifications(),
		ClusterStateReloadInterval: stateReloadInterval,
		// otherwise go-redis first asks for the server's list of commands, without
		// regard to the context
		DisableRoutingPolicies: true,
	}
}

func noMaintNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newDialer returns a dialer that stops when the context of the call or of the
// store ends. go-redis' own dialer ignores both during the TLS handshake.
func newDialer(ctx context.Context, o *Options) (dialFunc, error) {
	d := &net.Dialer{
		Timeout:         o.DialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	dial := d.DialContext
	if o.TLS != nil {
		config, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		dial = (&tls.Dialer{NetDialer: d, Config: config}).DialContext
	}
	return func(dialCtx context.Context, network, address string) (net.Conn, error) {
		dialCtx, cancel := context.WithCancel(dialCtx)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return dial(dialCtx, network, address)
	}, nil
}

// config reads the certificate files.
func (t *TLS) config() (*tls.Config, error) {
	config := &tls.Config{
		// each tracker dials its server 1.7 times a second
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
		MinVersion:         tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
	}
	if len(t.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
	}
	for _, path := range t.CA {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading tls ca: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading tls ca: %s has no certificate in PEM form", path)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading tls cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// hook measures round trips, counts those that fail, and fails commands of a closed
// store.
type hook struct {
	store    *Store
	answered *atomic.Bool // once
	address  func() string
}

func (h hook) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (h hook) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		if h.store.closed.Load() {
			return goredis.ErrClosed
		}
		h.store.start.now()
		ctx, end := startSpan(ctx, h.address, cmd)
		started := time.Now()
		err := next(ctx, cmd)
		end(err)
		h.observe(ctx, started, err)
		h.store.countCommand(ctx, h.address, cmd, err)
		return err
	}
}

func (h hook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		if h.store.closed.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(goredis.ErrClosed)
			}
			return goredis.ErrClosed
		}
		h.store.start.now()
		ctx, end := startSpan(ctx, h.address, cmds...)
		started := time.Now()
		err := next(ctx, cmds)
		end(err)
		h.observe(ctx, started, err)
		h.store.countPipeline(ctx, h.address, cmds)
		return err
	}
}

// observe measures commands that were answered or timed out. A refused
// connection is no round trip: it would make a dead server look fast. Nor is a
// refusal for which go-redis asks again after a pause: it would make a server
// look slow.
func (h hook) observe(ctx context.Context, started time.Time, err error) {
	var answer goredis.Error
	var network net.Error
	switch {
	case hasCode(err, "READONLY", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN"):
		h.answered.Store(true)
		return
	case err == nil, errors.As(err, &answer):
		h.answered.Store(true)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
	default:
		return
	}
	h.store.stats.StoreLatency.Observe(ctx, time.Since(started))
}
