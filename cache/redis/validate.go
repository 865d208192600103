package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// validate checks resolved options and returns all errors.
func (o *Options) validate() error {
	if err := o.validateKinds(); err != nil {
		return err // the other checks need valid kinds
	}
	return errors.Join(o.validateServers(), o.validateTLS(), o.validateNumbers())
}

func (o *Options) validateKinds() error {
	return errors.Join(
		oneOf("client_type", o.ClientType, Simple, Failover, Cluster),
		oneOf("read_from", o.ReadFrom, Primary, Replicas, Nearest),
	)
}

// oneOf returns an error unless a value is one of the known ones.
func oneOf(setting, value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return fmt.Errorf("%s is %q: want one of %s", setting, value, strings.Join(known, ", "))
}

func (o *Options) validateServers() error {
	var errs []error
	check := func(wrong bool, message string) {
		if wrong {
			errs = append(errs, errors.New(message))
		}
	}
	sockets := slices.ContainsFunc(o.Addresses, isSocket)
	check(o.ClientType == Simple && len(o.Addresses) > 1,
		"client_type simple has several addresses: give one, or client_type cluster")
	check(o.ClientType != Simple && sockets,
		"a unix socket is the address of a single server: give host:port, or client_type simple")
	check(o.ClientType == Failover && o.MasterName == "",
		"client_type failover has no master_name: give the name of the master in the sentinels' configuration")
	check(o.ClientType != Failover && o.MasterName != "",
		"master_name goes with client_type failover only")
	check(o.ClientType != Failover && (o.SentinelUsername != "" || o.SentinelPassword != ""),
		"sentinel_username and sentinel_password go with a master_name")
	check(o.ClientType == Cluster && o.db() != 0,
		"db is not 0, which is the only database of a cluster: leave db out")
	check(o.ClientType == Simple && o.ReadFrom != Primary,
		"read_from goes with client_type failover or cluster: a single server has no replicas to find")
	check(o.TLS != nil && sockets,
		"tls goes with host:port: a unix socket never leaves the machine")
	return errors.Join(errs...)
}

func (o *Options) validateTLS() error {
	if o.TLS != nil && (o.TLS.Cert == "") != (o.TLS.Key == "") {
		return errors.New("tls has only one of cert and key: give both files")
	}
	return nil
}

func (o *Options) validateNumbers() error {
	var errs []error
	for _, n := range []struct {
		setting    string
		value, min int
	}{
		{"db", o.db(), 0}, {"pool_size", o.PoolSize, 1}, {"min_idle_conns", o.MinIdleConns, 0},
		{"max_active_conns", o.MaxActiveConns, 0}, {"max_retries", o.MaxRetries, -1},
		{"max_value_size", o.MaxValueSize, 1}, {"breaker failures", o.BreakerFailures, 1},
	} {
		if n.value < n.min {
			errs = append(errs, fmt.Errorf("%s is %d: want at least %d", n.setting, n.value, n.min))
		}
	}
	for _, d := range []struct {
		setting    string
		value, min time.Duration
	}{
		{"pool_timeout", o.PoolTimeout, time.Millisecond}, {"conn_max_idle_time", o.ConnMaxIdleTime, time.Millisecond},
		{"conn_max_lifetime", o.ConnMaxLifetime, 0}, {"dial_timeout", o.DialTimeout, time.Millisecond},
		{"read_timeout", o.ReadTimeout, time.Millisecond}, {"write_timeout", o.WriteTimeout, time.Millisecond},
		{"retry_backoff min", o.RetryBackoffMin, time.Millisecond}, {"retry_backoff max", o.RetryBackoffMax, o.RetryBackoffMin},
		{"health_check_interval", o.HealthCheckInterval, time.Millisecond},
		{"breaker cool_down", o.BreakerCoolDown, time.Millisecond},
	} {
		if d.value < d.min {
			errs = append(errs, fmt.Errorf("%s is %s: want at least %s", d.setting, d.value, d.min))
		}
	}
	return errors.Join(errs...)
}
