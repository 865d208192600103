package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestOptionsResolve(t *testing.T) {
	t.Parallel()
	one, two := 1, 2
	for name, test := range map[string]struct {
		options Options
		env     map[string]string
		check   func(*testing.T, Options)
	}{
		"nothing is development on this machine": {
			check: func(t *testing.T, o Options) {
				require.Equal(t, "development", o.Profile)
				require.Equal(t, []string{"localhost:6379"}, o.Addresses)
				require.Equal(t, Simple, o.ClientType)
				require.Equal(t, Primary, o.ReadFrom)
				require.Equal(t, 10, o.PoolSize)
				require.Equal(t, 3*time.Second, o.ReadTimeout)
				require.Equal(t, 4*time.Second, o.PoolTimeout)
				require.Equal(t, 3, o.MaxRetries)
				require.Equal(t, 10*time.Millisecond, o.RetryBackoffMin)
				require.Equal(t, 100*time.Millisecond, o.RetryBackoffMax)
				require.Equal(t, 30*time.Second, o.HealthCheckInterval)
				require.Equal(t, 0, *o.DB)
				require.Equal(t, 1<<20, o.MaxValueSize)
			},
		},
		"the environment chooses the profile": {
			env: map[string]string{"ENVIRONMENT": "Kubernetes"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"redis:6379"}, o.Addresses)
				require.Equal(t, 30, o.PoolSize)
				require.Equal(t, 5*time.Second, o.DialTimeout)
			},
		},
		"a set profile wins over the environment": {
			options: Options{Profile: "production"},
			env:     map[string]string{"ENVIRONMENT": "kubernetes"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"redis:6379"}, o.Addresses)
				require.Equal(t, 50, o.PoolSize)
				require.Equal(t, 10*time.Second, o.WriteTimeout)
			},
		},
		"host, port and the rest from the environment": {
			env: map[string]string{"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_USERNAME": "web",
				"REDIS_PASSWORD": "filewallball2024", "REDIS_DB": "2"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"cache:6380"}, o.Addresses)
				require.Equal(t, "web", o.Username)
				require.Equal(t, "filewallball2024", o.Password)
				require.Equal(t, 2, *o.DB)
			},
		},
		"a port alone goes to the profile's host": {
			options: Options{Profile: "kubernetes"},
			env:     map[string]string{"REDIS_PORT": "7000"},
			check:   func(t *testing.T, o Options) { require.Equal(t, []string{"redis:7000"}, o.Addresses) },
		},
		"a host alone is at the usual port": {
			env:   map[string]string{"REDIS_HOST": "::1"},
			check: func(t *testing.T, o Options) { require.Equal(t, []string{"[::1]:6379"}, o.Addresses) },
		},
		"the port that Kubernetes makes of a service is none": {
			env:   map[string]string{"REDIS_HOST": "cache", "REDIS_PORT": "tcp://10.0.0.7:6379"},
			check: func(t *testing.T, o Options) { require.Equal(t, []string{"cache:6379"}, o.Addresses) },
		},
		"REDIS_URL wins over REDIS_HOST and its credentials are complete": {
			env: map[string]string{"REDIS_URL": "rediss://:pw@cache:6380/4", "REDIS_HOST": "other", "REDIS_USERNAME": "web"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"cache:6380"}, o.Addresses)
				require.Empty(t, o.Username)
				require.Equal(t, "pw", o.Password)
				require.Equal(t, 4, *o.DB)
				require.Equal(t, &TLS{}, o.TLS)
			},
		},
		"a URL without credentials takes them from the environment": {
			options: Options{URL: "redis://cache"},
			env:     map[string]string{"REDIS_PASSWORD": "pw", "REDIS_HOST": "other", "REDIS_DB": "2"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"cache:6379"}, o.Addresses)
				require.Equal(t, "pw", o.Password)
				require.Equal(t, 2, *o.DB)
				require.Empty(t, o.URL)
			},
		},
		"a set address ignores the environment's": {
			options: Options{Addresses: []string{"cache"}},
			env:     map[string]string{"REDIS_URL": "redis://web:pw@other/3", "REDIS_PASSWORD": "mine"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"cache:6379"}, o.Addresses)
				require.Empty(t, o.Username)
				require.Equal(t, "mine", o.Password)
				require.Equal(t, 0, *o.DB)
			},
		},
		"what is set wins over what the URL says": {
			options: Options{URL: "redis://web:pw@cache/3", Username: "me", Password: "mine", DB: &one},
			check: func(t *testing.T, o Options) {
				require.Equal(t, "me", o.Username)
				require.Equal(t, "mine", o.Password)
				require.Equal(t, 1, *o.DB)
			},
		},
		"a set database wins over the environment, even the first": {
			options: Options{DB: new(int)},
			env:     map[string]string{"REDIS_DB": "5"},
			check:   func(t *testing.T, o Options) { require.Equal(t, 0, *o.DB) },
		},
		"a socket by URL": {
			options: Options{URL: "unix://web:p%40ss@/run/redis.sock?db=2"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, []string{"/run/redis.sock"}, o.Addresses)
				require.Equal(t, "p@ss", o.Password)
				require.Equal(t, &two, o.DB)
			},
		},
		"several addresses are a cluster": {
			options: Options{Addresses: []string{"a", "b:7000", "[::1]:1"}},
			check: func(t *testing.T, o Options) {
				require.Equal(t, Cluster, o.ClientType)
				require.Equal(t, []string{"a:6379", "b:7000", "[::1]:1"}, o.Addresses)
			},
		},
		"a URL with several addresses is a cluster": {
			options: Options{URL: "redis://a:1?addr=b:2&addr=c"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, Cluster, o.ClientType)
				require.Equal(t, []string{"a:1", "b:2", "c:6379"}, o.Addresses)
			},
		},
		"a master's name means sentinels": {
			options: Options{Addresses: []string{"a", "b:1"}, MasterName: "m", ReadFrom: Replicas, DB: &one},
			check: func(t *testing.T, o Options) {
				require.Equal(t, Failover, o.ClientType)
				require.Equal(t, []string{"a:26379", "b:1"}, o.Addresses)
			},
		},
		"a URL with a master's name means sentinels": {
			options: Options{URL: "redis://a?master_name=m"},
			check: func(t *testing.T, o Options) {
				require.Equal(t, Failover, o.ClientType)
				require.Equal(t, []string{"a:26379"}, o.Addresses)
			},
		},
		"a cluster may be known by one address": {
			options: Options{Addresses: []string{"a"}, ClientType: Cluster},
			check:   func(t *testing.T, o Options) { require.Equal(t, Cluster, o.ClientType) },
		},
		"what is set wins over the profile": {
			options: Options{Profile: "production", PoolSize: 7, ReadTimeout: time.Second, MaxRetries: -1, RetryBackoffMin: time.Second},
			check: func(t *testing.T, o Options) {
				require.Equal(t, 7, o.PoolSize)
				require.Equal(t, time.Second, o.ReadTimeout)
				require.Equal(t, 10*time.Second, o.DialTimeout)
				require.Equal(t, 2*time.Second, o.PoolTimeout)
				require.Equal(t, -1, o.MaxRetries)
				require.Equal(t, time.Second, o.RetryBackoffMax)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := test.options.Resolve(env(test.env))
			require.NoError(t, err)
			test.check(t, o)
			again, err := o.Resolve(env(nil))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(o), fmt.Sprint(again))
			require.Equal(t, o.Fingerprint(), again.Fingerprint(), "resolving once more changes nothing")
		})
	}
}

func TestOptionsThatDoNotGoTogetherSayWhatWould(t *testing.T) {
	t.Parallel()
	one, minus := 1, -1
	for want, test := range map[string]struct {
		options Options
		env     map[string]string
	}{
		"url and addresses are both given":      {options: Options{URL: "redis://a", Addresses: []string{"b"}}},
		"want one of development, kubernetes":   {options: Options{Profile: "staging"}},
		"want one of simple, failover, cluster": {options: Options{ClientType: "ring"}},
		"want one of primary, replicas":         {options: Options{ReadFrom: "replica"}},
		"or client_type cluster":                {options: Options{ClientType: Simple, Addresses: []string{"a", "b"}}},
		"has no master_name":                    {options: Options{ClientType: Failover, Addresses: []string{"a"}}},
		"give those of the sentinels":           {options: Options{MasterName: "m"}},
		"master_name goes with":                 {options: Options{MasterName: "m", ClientType: Cluster, Addresses: []string{"a"}}},
		"sentinel_password go with":             {options: Options{SentinelPassword: "x"}},
		"the only database of a cluster":        {options: Options{Addresses: []string{"a", "b"}, DB: &one}},
		"db is -1: want at least 0":             {options: Options{DB: &minus}},
		"read_from goes with":                   {options: Options{ReadFrom: Replicas}},
		"the address of a single server":        {options: Options{Addresses: []string{"/a", "b"}}},
		"a unix socket never leaves":            {options: Options{Addresses: []string{"/a"}, TLS: &TLS{}}},
		"only one of cert and key":              {options: Options{TLS: &TLS{Cert: "a"}}},
		"pool_size is -1":                       {options: Options{PoolSize: -1}},
		"max_retries is -2":                     {options: Options{MaxRetries: -2}},
		"read_timeout is -1s":                   {options: Options{ReadTimeout: -time.Second}},
		"retry_backoff max is 1s: want at least 1m0s": {
			options: Options{RetryBackoffMin: time.Minute, RetryBackoffMax: time.Second}},
		`address is "a:b": want host:port`: {options: Options{Addresses: []string{"a:b"}}},
		`address is "a:70000"`:             {options: Options{Addresses: []string{"a:70000"}}},
		`address is ":6379"`:               {options: Options{Addresses: []string{":6379"}}},
		"or the URL as url":                {options: Options{Addresses: []string{"redis://:hunter2@a"}}},
		"REDIS_PORT is":                    {env: map[string]string{"REDIS_PORT": "x"}},
		"REDIS_DB is":                      {env: map[string]string{"REDIS_DB": "x"}},
		"url: it has no host: want redis://[user:password@]host": {options: Options{URL: "redis://:6380"}},
		"REDIS_URL: its scheme is unknown":                       {env: map[string]string{"REDIS_URL": "http://:hunter2@a"}},
		"REDIS_URL cannot be read":                               {env: map[string]string{"REDIS_URL": "redis://:hunter2/1@a"}},
		"url cannot be read":                                     {options: Options{URL: "redis://:hunter2%zz@a"}},
		"url: the database is not":                               {options: Options{URL: "redis://:hunter2@a/x"}},
		"url: a unix socket needs":                               {options: Options{URL: "unix://run/redis.sock"}},
		"url: it has an unknown parameter":                       {options: Options{URL: "redis://a?password=hunter2"}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			_, err := test.options.Resolve(env(test.env))
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotRegexp(t, `\n`, err.Error())
		})
	}
}

func TestOptionsShowNoSecret(t *testing.T) {
	t.Parallel()
	o := Options{URL: "redis://:hunter2@a", Password: "hunter2", SentinelPassword: "hunter2"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		require.NotContains(t, fmt.Sprintf(format, o), "hunter2", format)
		require.NotContains(t, fmt.Sprintf(format, &o), "hunter2", format)
	}
}

func FuzzOptionsResolve(f *testing.F) {
	f.Add("redis://u:p@h:1/2?addr=b", "", "", "")
	f.Add("", "h", "1", "2")
	f.Add("unix:///a?db=1", "::1", "tcp://a", "-")
	f.Add("rediss://[::1]", "/a", "", "")
	f.Add("", "0]0", "", "")
	f.Fuzz(func(t *testing.T, url, host, port, db string) {
		for _, o := range []Options{{}, {URL: url}, {Addresses: []string{host}}} {
			resolved, err := o.Resolve(env(map[string]string{
				"REDIS_URL": url, "REDIS_HOST": host, "REDIS_PORT": port, "REDIS_DB": db,
			}))
			if err != nil {
				continue
			}
			again, err := resolved.Resolve(env(nil))
			require.NoError(t, err)
			require.Equal(t, resolved.Fingerprint(), again.Fingerprint())
		}
	})
}

func TestEnvironmentMustBeAProfile(t *testing.T) {
	t.Parallel()
	staging := func(name string) string { return map[string]string{"ENVIRONMENT": "staging"}[name] }
	_, err := Options{}.Resolve(staging)
	require.ErrorContains(t, err, `ENVIRONMENT is "staging", which is no profile: want development, kubernetes, production`)
	o, err := Options{Profile: "production"}.Resolve(staging)
	require.NoError(t, err, "what is set wins")
	require.Equal(t, []string{"redis:6379"}, o.Addresses)
}
