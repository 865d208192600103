package redis

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/filewallball/caddy-filewallball/cache"
)

const defaultProfile = "development"

// profile has the defaults for one kind of environment.
type profile struct {
	host     string
	poolSize int
	timeout  time.Duration
}

func profiles() map[string]profile {
	return map[string]profile{
		defaultProfile: {host: "localhost", poolSize: 10, timeout: 3 * time.Second},
		"kubernetes":   {host: "redis", poolSize: 30, timeout: 5 * time.Second},
		"production":   {host: "redis", poolSize: 50, timeout: 10 * time.Second},
	}
}

func profileNames() []string { return slices.Sorted(maps.Keys(profiles())) }

// chooseProfile uses the profile that is set, else that of the environment
// variable ENVIRONMENT, whose value must be a profile.
func (o *Options) chooseProfile(getenv func(string) string) error {
	if o.Profile != "" {
		return nil
	}
	o.Profile = cmp.Or(strings.ToLower(getenv("ENVIRONMENT")), defaultProfile)
	if _, ok := profiles()[o.Profile]; !ok {
		return fmt.Errorf("ENVIRONMENT is %q, which is no profile: want %s, or write profile in the redis block",
			getenv("ENVIRONMENT"), strings.Join(profileNames(), ", "))
	}
	return nil
}

// setDefaults sets what is not set to the value of the profile, or to the
// default.
func (o *Options) setDefaults() {
	p := profiles()[o.Profile]
	setDefault(&o.ReadFrom, Primary)
	setDefault(&o.PoolSize, p.poolSize)
	setDefault(&o.DialTimeout, p.timeout)
	setDefault(&o.ReadTimeout, p.timeout)
	setDefault(&o.WriteTimeout, p.timeout)
	setDefault(&o.PoolTimeout, max(0, o.ReadTimeout)+time.Second)
	setDefault(&o.ConnMaxIdleTime, 30*time.Minute)
	setDefault(&o.MaxRetries, 3)
	setDefault(&o.RetryBackoffMin, 10*time.Millisecond)
	setDefault(&o.RetryBackoffMax, max(o.RetryBackoffMin, 100*time.Millisecond))
	setDefault(&o.HealthCheckInterval, 30*time.Second)
	setDefault(&o.BreakerFailures, 5)
	setDefault(&o.BreakerCoolDown, time.Second)
	setDefault(&o.MaxValueSize, cache.DefaultMaxValueSize)
	if o.DB == nil {
		o.DB = new(int)
	}
}

func setDefault[T comparable](field *T, value T) {
	var unset T
	if *field == unset {
		*field = value
	}
}
