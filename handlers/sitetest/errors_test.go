package sitetest_test

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

func TestGlobalOptionErrorsSayWhatWouldBeRight(t *testing.T) {
	for name, c := range map[string]struct{ option, want string }{
		"unknown option":       {"colour red", "unknown option 'colour': filewallball takes redis"},
		"argument":             {"", "takes a block and no argument, but has 'x'"},
		"unknown redis option": {"redis {\nadress a:1\n}", "unknown option 'adress': redis takes profile, url, address"},
		"twice":                {"key_prefix a:\nkey_prefix b:", "key_prefix is given twice"},
		"bad duration":         {"lookup_timeout soon", "lookup_timeout: 'soon' is not a duration"},
		"bad size":             {"max_value_size big", "max_value_size: 'big' is not a size"},
		"unknown family":       {"ttl sessions 1h", "family 'sessions' is not known: want one of file_meta, session, upload_progress"},
		"family twice":         {"ttl session 1h\nttl session 2h", "ttl of session is given twice"},
		"bad ttl":              {"ttl session -1h", "ttl of session: '-1h' is not a duration"},
		"bad profile":          {"redis {\nprofile staging\n}", "profile: 'staging' is not one of development, kubernetes, production"},
		"bad db":               {"redis {\ndb -1\n}", "db: '-1' is not a whole number of at least 0"},
		"bad backoff":          {"redis {\nretry_backoff 2s 1s\n}", "the shortest pause 2s is longer than the longest 1s"},
		"bad percentage":       {"alert {\nhit_rate_below 180\n}", "hit_rate_below: '180' is not a percentage"},
		"persist without file": {"memory {\npersist\n}", "persist takes a file and optionally the interval of saves"},
		"persist with more":    {"memory {\npersist a 1m b\n}", "persist takes a file and optionally the interval of saves"},
		"persist too often":    {"memory {\npersist a 1ms\n}", "persist: '1ms' is not a duration of at least 1s"},
		"unknown in memory":    {"memory {\nfile a\n}", "unknown option 'file': memory takes max_size and persist"},
		"both stores":          {"redis\nmemory", "redis and memory are both given"},
		"tls without key":      {"redis {\ntls {\ncert a.pem\n}\n}", "cert takes the PEM files of a certificate and of its key"},
		"bad breaker":          {"redis {\nbreaker 5\n}", "breaker takes off, or the number of failures that open it"},
		"breaker of none":      {"redis {\nbreaker 0 1s\n}", "'0' is not a number of failures"},
		"addresses twice":      {"redis a:1 {\naddress b:2\n}", "give them in one place"},
	} {
		t.Run(name, func(t *testing.T) {
			option := "filewallball {\n" + c.option + "\n}"
			if c.option == "" {
				option = "filewallball x"
			}
			_, err := sitetest.Adapt("{\n" + option + "\n}\n")
			require.ErrorContains(t, err, c.want)
			require.Regexp(t, `Caddyfile:\d+`, err.Error(), "the line is named")
		})
	}
	_, err := sitetest.Adapt("{\nfilewallball\nfilewallball\n}\n")
	require.ErrorContains(t, err, "given twice")
}

func TestDirectiveErrorsSayWhatWouldBeRight(t *testing.T) {
	for name, c := range map[string]struct{ routes, want string }{
		"nothing to invalidate":     {"lookup_invalidate", "takes a key like {session} or session:user:{cookie.session}, or a block with tag"},
		"unknown in invalidate":     {"lookup_invalidate a {\nkeys b\n}", "unknown option 'keys': lookup_invalidate takes tag"},
		"metadata without identity": {"file_metadata", "takes an identity, like {path}, unless it has source file_system"},
		"tag without template":      {"lookup_invalidate {\ntag\n}", "tag takes one template or more"},
		"stale that is no time":     {"session_lookup {cookie.a} {\nstale_if_error long\n}", "stale_if_error: 'long' is not a duration"},
		"stale twice":               {"session_lookup {cookie.a} {\nstale_if_error 0\nstale_if_error 1s\n}", "stale_if_error is given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sitetest.Adapt("http://localhost {\n" + c.routes + "\n}")
			require.ErrorContains(t, err, c.want)
		})
	}
	for name, c := range map[string]struct{ routes, want string }{
		"tag without source":      {"session_lookup {cookie.a} {\ntag user:{http.session.user_id}\n}", "tag needs a source"},
		"tag of the request":      {"session_lookup {cookie.a} {\nsource http http://127.0.0.1/\ntag host:{host}\n}", "{http.request.host} is not known when a record comes from its source"},
		"key without identity":    {"session_lookup {cookie.a} {\nkey all\n}", "has no {id}, so every identity would share one record"},
		"source of no identity":   {"session_lookup x{cookie.a} {\nsource http http://127.0.0.1/ {\nheader A b\n}\n}", "nothing in the request tells the identity"},
		"source with the request": {"session_lookup {cookie.a} {\nsource http http://{host}/\n}", "in the host"},
		"files as sessions":       {"session_lookup {cookie.a} {\nsource file_system\n}", "finds files and no sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := sitetest.Adapt("http://localhost {\n" + c.routes + "\n}")
			require.NoError(t, err)
			var parsed caddy.Config
			require.NoError(t, json.Unmarshal(config, &parsed))
			require.ErrorContains(t, caddy.Validate(&parsed), c.want)
		})
	}
}

func TestNearCacheOptionErrors(t *testing.T) {
	for option, want := range map[string]string{
		"near_cache on":                "unexpected 'on': near_cache takes off",
		"near_cache off {\nttl 1s\n}":  "near_cache is off and takes no ttl",
		"near_cache {\nsize 1MB\n}":    "unknown option 'size': near_cache takes max_size and ttl",
		"near_cache {\nmax_size -1\n}": "max_size: '-1' is not a size",
	} {
		_, err := sitetest.Adapt("{\nfilewallball {\n" + option + "\n}\n}\n")
		require.ErrorContains(t, err, want)
	}
}
