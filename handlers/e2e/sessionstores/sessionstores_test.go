package sessionstores

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// application is an application whose sessions are read. It has the pages
// /login?user=…, /change?user=…, /logout, and / with the user's name.
type application struct {
	name    string
	needs   software
	command []string
	env     []string
	secret  string
	// from is the text of the Caddyfile, with SECRET for the secret, and user the
	// field with the name of the user.
	from, user string
	// cookie is the name of the cookie.
	cookie string
	// id is {http.auth.user.id} of anna's session, * for any value, and "" if the
	// application does not use its framework's login.
	id string
}

const (
	secret     = "a secret of more than thirty-two bytes"
	laravelKey = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

var applications = []application{
	{
		name: "express", needs: node, command: []string{"node", "express.mjs"}, secret: secret,
		from: "from express {\nsecret rotated SECRET\n}", user: "user", cookie: "connect.sid",
	},
	{
		name: "express with Passport", needs: node, command: []string{"node", "express.mjs"}, secret: secret, env: []string{"PASSPORT=1"},
		from: "from express {\nsecret SECRET\n}", user: "user", cookie: "connect.sid", id: "id of anna",
	},
	{
		name: "fastify", needs: node, command: []string{"node", "fastify.mjs"}, secret: secret,
		from: "from fastify {\nsecret rotated SECRET\n}", user: "user", cookie: "sessionId",
	},
	{
		name: "koa", needs: node, command: []string{"node", "koa.mjs"}, secret: secret,
		from: "from koa {\nsecret rotated SECRET\n}", user: "user", cookie: "koa.sess.sig",
	},
	{
		name: "koa with a prefix", needs: node, command: []string{"node", "koa.mjs"}, secret: secret, env: []string{"PREFIX={koa}:sess:"},
		from: "from koa {\nsecret SECRET\nkey \"\\{koa\\}:sess:{id}\"\n}", user: "user", cookie: "koa.sess",
	},
	{
		name: "better auth", needs: node, command: []string{"node", "better_auth.mjs"}, secret: secret,
		from: "from better_auth {\nsecret rotated SECRET\n}", user: "user.name", cookie: "better-auth.session_token", id: "*",
	},
	{
		name: "django, pickle", needs: django, command: []string{debian("python3"), "testdata/python/django_app.py"}, secret: secret,
		from: "from django", user: "user", cookie: "sessionid", id: "1",
	},
	{
		name: "django, JSON and zlib", needs: django, command: []string{debian("python3"), "testdata/python/django_app.py"}, secret: secret,
		env: []string{
			"SERIALIZER=django_redis.serializers.json.JSONSerializer",
			"COMPRESSOR=django_redis.compressors.zlib.ZlibCompressor",
		},
		from: "from django", user: "user", cookie: "sessionid", id: "1",
	},
	{
		name: "flask", needs: flask, command: []string{debian("python3"), "testdata/python/flask_app.py"}, secret: secret,
		from: "from flask", user: "user", cookie: "session", id: "id of anna",
	},
	{
		name: "flask with signed cookies", needs: flask, command: []string{debian("python3"), "testdata/python/flask_app.py"}, secret: secret,
		env:  []string{"SIGNER=1"},
		from: "from flask {\nsecret rotated SECRET\n}", user: "user", cookie: "session", id: "id of anna",
	},
	{
		name: "php", needs: php, command: []string{debian("php"), "-S", "ADDRESS", "testdata/php/session.php"},
		from: "from php", user: "user", cookie: "PHPSESSID",
	},
	{
		name: "php, php_serialize", needs: php, command: []string{debian("php"), "-S", "ADDRESS", "testdata/php/session.php"},
		env:  []string{"HANDLER=php_serialize"},
		from: "from php", user: "user", cookie: "PHPSESSID",
	},
	{
		name: "php, php_binary", needs: php, command: []string{debian("php"), "-S", "ADDRESS", "testdata/php/session.php"},
		env:  []string{"HANDLER=php_binary"},
		from: "from php", user: "user", cookie: "PHPSESSID",
	},
	{
		name: "laravel, CBC", needs: laravel, command: []string{debian("php"), "-S", "ADDRESS", "testdata/php/laravel.php"}, secret: laravelKey,
		from: "from laravel {\nsecret base64:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= SECRET\nkey laravel_database_laravel_cache:{id}\n}",
		user: "user", cookie: "laravel_session", id: "7",
	},
	{
		name: "laravel, GCM and encrypted sessions", needs: laravel, command: []string{debian("php"), "-S", "ADDRESS", "testdata/php/laravel.php"}, secret: laravelKey,
		env:  []string{"CIPHER=AES-256-GCM", "ENCRYPT=1"},
		from: "from laravel {\nsecret SECRET\nkey laravel_database_laravel_cache:{id}\n}", user: "user", cookie: "laravel_session", id: "7",
	},
	{
		name: "rack, Marshal", needs: rack, command: []string{debian("ruby"), "testdata/ruby/rack.rb"},
		from: "from rack", user: "user", cookie: "rack.session", id: "7",
	},
	{
		name: "rack, JSON", needs: rack, command: []string{debian("ruby"), "testdata/ruby/rack.rb"}, env: []string{"SERIALIZER=json"},
		from: "from rack", user: "user", cookie: "rack.session", id: "7",
	},
}

// site is Caddy before an application's files.
type site struct {
	sitetest.Site
	t     *testing.T
	redis *redistest.Server
}

func (a *application) site(t *testing.T) site {
	t.Helper()
	t.Setenv("APPLICATION_SECRET", a.secret)
	redis := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+redis.Addr()+"\n}", `
		session_lookup {
			`+strings.ReplaceAll(a.from, "SECRET", "{env.APPLICATION_SECRET}")+`
			require `+a.user+` anna bob
		}
		header >X-User "{http.auth.user.id}"
		respond {http.session.`+a.user+`}`)
	return site{s, t, redis}
}

func (s site) status(cookies string) int {
	return s.Get(s.t, "/", "Cookie", cookies).Status
}

// refused waits until cookies are refused, and returns how long that took.
func (s site) refused(cookies string) time.Duration {
	s.t.Helper()
	since := time.Now()
	for s.status(cookies) != http.StatusUnauthorized {
		require.Less(s.t, time.Since(since), 10*time.Second, "still let in")
	}
	return time.Since(since)
}

func TestSessionsOfApplications(t *testing.T) {
	for _, a := range applications {
		t.Run(a.name, func(t *testing.T) {
			if !a.needs.installed(t) {
				return
			}
			s := a.site(t)
			base := a.start(t, s.redis)

			stranger := newVisitor(t, base)
			require.Empty(t, stranger.get("/"))
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, s.status(stranger.cookies()),
				"a session without a login is none")

			anna := newVisitor(t, base)
			anna.get("/login?user=anna")
			is := func(user string) {
				t.Helper()
				require.Equal(t, user, anna.get("/"), "in the application")
				require.Eventually(t, func() bool {
					answer := s.Get(t, "/", "Cookie", anna.cookies())
					return answer.Status == http.StatusOK && answer.Body == user
				}, 10*time.Second, time.Millisecond)
			}
			is("anna")
			if got := s.Get(t, "/", "Cookie", anna.cookies()).Header.Get("X-User"); a.id == "*" {
				require.NotEmpty(t, got)
			} else {
				require.Equal(t, a.id, got)
			}
			s.isCopied(anna)
			anna.get("/change?user=bob")
			is("bob")

			require.Equal(t, http.StatusUnauthorized, s.status(forged(t, anna.cookies(), a.cookie)))
			if stranger.cookies() != "" {
				require.Equal(t, http.StatusOK, s.status(forged(t, anna.cookies(), a.cookie)+"; "+anna.cookies()),
					"a forged cookie before the right one")
			}

			s.logoutsCount(anna, is)

			keys, err := s.redis.Client().Keys(t.Context(), "*").Result()
			require.NoError(t, err)
			for _, key := range keys {
				require.NoError(t, s.redis.Client().PExpire(t.Context(), key, time.Millisecond).Err())
			}
			s.refused(anna.cookies())
			require.Empty(t, anna.get("/"), "the application has not noticed")
		})
	}
}

// isCopied waits until a near copy answers for a visitor.
func (s site) isCopied(anna *visitor) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		return strings.Contains(s.Get(s.t, "/", "Cookie", anna.cookies()).Header.Get("Cache-Status"), "detail=near")
	}, 10*time.Second, time.Millisecond, "what was decoded is not copied")
}

// logoutsCount logs a visitor out and in several times. A logout must take effect within
// 10 ms, apart from the time of a request that is refused anyway.
func (s site) logoutsCount(anna *visitor, isIn func(string)) {
	s.t.Helper()
	const logouts, quantile = 20, 17 // nine logouts in ten
	var latencies, controls []time.Duration
	for range logouts {
		s.isCopied(anna)
		cookies := anna.cookies()
		controls = append(controls, s.refused("none=none"))
		anna.get("/logout")
		latencies = append(latencies, s.refused(cookies))
		anna.get("/login?user=anna")
		isIn("anna")
	}
	slices.Sort(latencies)
	slices.Sort(controls)
	s.t.Logf("until refused: median %v, 90%% %v, longest %v; a request that is refused anyway: median %v, 90%% %v",
		latencies[logouts/2], latencies[quantile], latencies[logouts-1], controls[logouts/2], controls[quantile])
	require.LessOrEqual(s.t, latencies[quantile], 10*time.Millisecond+controls[quantile], "of nine logouts in ten")
}

// forged are cookies in which the value of one is changed.
func forged(t *testing.T, cookies, name string) string {
	t.Helper()
	before, value, ok := strings.Cut("; "+cookies, "; "+name+"=")
	require.True(t, ok, "there is no cookie %s in %s", name, cookies)
	value, after, more := strings.Cut(value, ";")
	// a character in the middle: the last one of base64 may have unused bits
	i := len(value) / 2
	for !strings.ContainsAny(value[i:i+1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") || value[i-1] == '%' || value[i-2] == '%' {
		i++
	}
	c := byte('x')
	if value[i] == c {
		c = 'y'
	}
	forged := strings.TrimPrefix(before, "; ") + "; " + name + "=" + value[:i] + string(c) + value[i+1:]
	if more {
		forged += ";" + after
	}
	return strings.TrimPrefix(forged, "; ")
}

// Requests that only use a session extend the TTL of its key and do not change its
// text, so the end of the session in the text is outdated.
func TestASessionOfExpressIsExtendedByUse(t *testing.T) {
	if !node.installed(t) {
		return
	}
	a := applications[0]
	a.env = []string{"MAX_AGE=2000", "ROLLING=1"}
	s := a.site(t)
	anna := newVisitor(t, a.start(t, s.redis))
	anna.get("/login?user=anna")
	anna.get("/")
	ended := func() bool {
		keys, err := s.redis.Client().Keys(t.Context(), "sess:*").Result()
		require.NoError(t, err)
		for _, key := range keys {
			var session struct {
				User   string
				Cookie struct{ Expires time.Time }
			}
			text, _ := s.redis.Client().Get(t.Context(), key).Result() // it may have expired
			if json.Unmarshal([]byte(text), &session) == nil && session.User == "anna" {
				return time.Now().After(session.Cookie.Expires.Add(200 * time.Millisecond))
			}
		}
		return false
	}
	require.Eventually(t, func() bool {
		require.Equal(t, "anna", anna.get("/"))
		return ended()
	}, 30*time.Second, 100*time.Millisecond)
	require.Equal(t, http.StatusOK, s.status(anna.cookies()), "the application lets her in")
	s.refused(anna.cookies())
}
