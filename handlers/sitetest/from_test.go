package sitetest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// expressCookie is the cookie of express-session for a session.
func expressCookie(secret, id string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id))
	return "connect.sid=" + url.QueryEscape("s:"+id+"."+base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))
}

func expressSession(user string) string {
	return fmt.Sprintf(`{"cookie":{"originalMaxAge":3600000,"expires":%q,"httpOnly":true,"path":"/"},"passport":{"user":%q}}`,
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339), user)
}

func fromSite(t *testing.T, from string) (sitetest.Site, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t)
	return sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", `
		session_lookup {
			`+from+`
		}
		respond "{http.session.passport.user}{http.session.user_id}"`), server
}

func TestASessionOfAnApplicationIsFoundByItsCookie(t *testing.T) {
	t.Setenv("SESSION_SECRET", "new")
	s, server := fromSite(t, "from express {\nsecret {env.SESSION_SECRET} old\n}\nrequire passport.user anna")
	redis := server.Client()
	require.NoError(t, redis.Set(t.Context(), "sess:1", expressSession("anna"), time.Hour).Err())
	require.NoError(t, redis.Set(t.Context(), "sess:2", expressSession("bob"), time.Hour).Err())
	for name, test := range map[string]struct {
		cookie string
		status int
	}{
		"signed":                       {expressCookie("new", "1"), http.StatusOK},
		"signed with a rotated secret": {expressCookie("old", "1"), http.StatusOK},
		"without what is required":     {expressCookie("new", "2"), http.StatusForbidden},
		"forged":                       {expressCookie("wrong", "1"), http.StatusUnauthorized},
		"not signed":                   {"connect.sid=s%3A1", http.StatusUnauthorized},
		"the id alone":                 {"connect.sid=1", http.StatusUnauthorized},
		"of no session":                {expressCookie("new", "3"), http.StatusUnauthorized},
		"none":                         {"other=1", http.StatusUnauthorized},
		"empty":                        {"connect.sid=", http.StatusUnauthorized},
		"with a control character":     {expressCookie("new", "\x01"), http.StatusUnauthorized},
		"after one that is forged": {
			expressCookie("wrong", "2") + "; " + expressCookie("new", "1"), http.StatusOK},
		"after one of no session": {
			expressCookie("new", "3") + "; " + expressCookie("new", "1"), http.StatusOK},
	} {
		a := s.Get(t, "/", "Cookie", test.cookie)
		require.Equal(t, test.status, a.Status, name)
		if test.status == http.StatusOK {
			require.Equal(t, "anna", a.Body, name)
		}
	}
}

// A key is the application's, so it has the id as the application wrote it, where those
// of other lookups have a hash.
func TestAnIDOfAnApplicationStandsInTheKeyAsItIs(t *testing.T) {
	s, server := fromSite(t, "from express {\nsecret x\n}\nrequire passport.user anna")
	redis := server.Client()
	for _, id := range []string{"sha256:1", strings.Repeat("x", 513), strings.Repeat("x", 8<<10), "a:b%c{id}", "ä"} {
		require.NoError(t, redis.Set(t.Context(), "sess:"+id, expressSession("anna"), time.Hour).Err())
		cookie := expressCookie("x", id)
		require.Equal(t, http.StatusOK, s.Get(t, "/", "Cookie", cookie).Status, "%.20s", id)
		require.NoError(t, redis.Del(t.Context(), "sess:"+id).Err())
		require.Eventually(t, func() bool {
			return s.Get(t, "/", "Cookie", cookie).Status == http.StatusUnauthorized
		}, 10*time.Second, time.Millisecond)
	}
	require.Equal(t, http.StatusUnauthorized, s.Get(t, "/", "Cookie", expressCookie("x", strings.Repeat("x", 8<<10+1))).Status)
}

func TestALogoutInTheApplicationTakesEffectWithin10ms(t *testing.T) {
	s, server := fromSite(t, "from express {\nsecret secret\n}")
	redis, cookie := server.Client(), expressCookie("secret", "1")
	var latencies, controls []time.Duration
	refused := func(cookie string) time.Duration {
		since := time.Now()
		for s.Get(t, "/", "Cookie", cookie).Status != http.StatusUnauthorized {
			require.Less(t, time.Since(since), 10*time.Second)
		}
		return time.Since(since)
	}
	for range 50 {
		require.NoError(t, redis.Set(t.Context(), "sess:1", expressSession("anna"), time.Hour).Err())
		require.Eventually(t, func() bool {
			a := s.Get(t, "/", "Cookie", cookie)
			return a.Status == http.StatusOK && strings.Contains(a.Header.Get("Cache-Status"), "detail=near")
		}, 10*time.Second, time.Millisecond, "a decoded session is not copied")
		controls = append(controls, refused("none=none"))
		require.NoError(t, redis.Del(t.Context(), "sess:1").Err())
		latencies = append(latencies, refused(cookie))
	}
	slices.Sort(latencies)
	slices.Sort(controls)
	require.LessOrEqual(t, latencies[45], 10*time.Millisecond+controls[45], "of nine logouts in ten")
}

func TestASlidingSessionOfAnApplicationIsExtended(t *testing.T) {
	s, server := fromSite(t, "from django\nsliding\nttl 1h")
	redis := server.Client()
	const key = ":1:django.contrib.sessions.cacheabcdefgh12345678"
	require.NoError(t, redis.Set(t.Context(), key, `{"user_id":"7"}`, time.Minute).Err())
	require.Equal(t, "7", s.Get(t, "/", "Cookie", "sessionid=abcdefgh12345678").Body)
	require.Eventually(t, func() bool {
		return redis.TTL(t.Context(), key).Val() > 50*time.Minute
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, `{"user_id":"7"}`, redis.Get(t.Context(), key).Val(), "its text is the application's")
}

func TestASessionInAHashIsReadAndExpires(t *testing.T) {
	s, server := fromSite(t, "from spring")
	redis, cookie := server.Client(), "SESSION="+base64.StdEncoding.EncodeToString([]byte("8f1-22"))
	set := func(fields ...any) {
		require.NoError(t, redis.HSet(t.Context(), "spring:session:sessions:8f1-22", fields...).Err())
	}
	status := func(want int) {
		t.Helper()
		require.Eventually(t, func() bool { return s.Get(t, "/", "Cookie", cookie).Status == want }, 10*time.Second, time.Millisecond)
	}
	now := fmt.Sprint(time.Now().UnixMilli())
	set("lastAccessedTime", now, "creationTime", now, "maxInactiveInterval", "1800", "sessionAttr:user_id", `"7"`)
	require.Equal(t, "7", s.Get(t, "/", "Cookie", cookie).Body)
	set("lastAccessedTime", "1000")
	status(http.StatusUnauthorized)
	set("lastAccessedTime", now)
	status(http.StatusOK)
	set("maxInactiveInterval", "0") // what Spring writes at a logout
	status(http.StatusUnauthorized)
}

func TestASessionThatCannotBeDecodedIsAnErrorThatIsLoggedOnce(t *testing.T) {
	server := redistest.Start(t)
	log := filepath.Join(t.TempDir(), "log")
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}\nlog sessions {\noutput file "+log+" {\nroll_disabled\n}\ninclude http.handlers.session_lookup\n}", `
		session_lookup {
			from php
			name members
		}
		respond hi`)
	redis := server.Client()
	require.NoError(t, redis.Set(t.Context(), "PHPREDIS_SESSION:abc", "user|x:hunter2;", time.Hour).Err())
	require.NoError(t, redis.Set(t.Context(), "PHPREDIS_SESSION:def", "user|s:4:\"anna\";", time.Hour).Err())
	for range 5 {
		require.Equal(t, http.StatusServiceUnavailable, s.Get(t, "/", "Cookie", "PHPSESSID=abc").Status)
		require.Equal(t, http.StatusOK, s.Get(t, "/", "Cookie", "PHPSESSID=def").Status)
	}
	logged := func(message string) int {
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		return strings.Count(string(text), message)
	}
	require.Equal(t, 1, logged("session cannot be decoded"))
	require.Zero(t, logged("sessions can be decoded again"))
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(text), `"route":"members"`)
	require.Contains(t, string(text), "there is no such type")
	require.NotContains(t, string(text), "hunter2")

	require.NoError(t, redis.Set(t.Context(), "PHPREDIS_SESSION:abc", "user|s:4:\"anna\";", time.Hour).Err())
	require.Eventually(t, func() bool {
		return s.Get(t, "/", "Cookie", "PHPSESSID=abc").Status == http.StatusOK
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, logged("sessions can be decoded again"))
	require.NoError(t, redis.Set(t.Context(), "PHPREDIS_SESSION:abc", "user|x:1;", time.Hour).Err())
	require.Eventually(t, func() bool {
		return s.Get(t, "/", "Cookie", "PHPSESSID=abc").Status == http.StatusServiceUnavailable
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, 2, logged("session cannot be decoded"))
}

// Frameworks keep sessions of strangers, so what lets all sessions in is warned of.
func TestFromWithoutRequireIsWarnedOf(t *testing.T) {
	for lines, warned := range map[string]string{
		"from django":                        "require _auth_user_id",
		"from php":                           "require user_id",
		"from django\nrequire _auth_user_id": "",
		"from django\non_missing continue":   "",
	} {
		t.Run(lines, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			sitetest.Serve(t, "filewallball {\nredis 127.0.0.1:1\n}\nlog sessions {\noutput file "+log+" {\nroll_disabled\n}\ninclude http.handlers.session_lookup\n}",
				"session_lookup {\nname members\n"+lines+"\n}\nrespond hi")
			text, err := os.ReadFile(log)
			if err != nil {
				require.ErrorIs(t, err, os.ErrNotExist)
			}
			if warned == "" {
				require.NotContains(t, string(text), "without a require")
				return
			}
			require.Contains(t, string(text), `"level":"warn"`)
			require.Contains(t, string(text), warned)
			require.Contains(t, string(text), `"name":"members"`)
		})
	}
}

// loadError is why these options and directives are refused.
func loadError(t *testing.T, options, directives string) error {
	t.Helper()
	config, err := sitetest.Adapt("{\n" + options + "\n}\nhttp://localhost {\n" + directives + "\n}")
	if err != nil {
		return err
	}
	var parsed caddy.Config
	require.NoError(t, json.Unmarshal(config, &parsed))
	return caddy.Validate(&parsed)
}

func TestFromErrorsSayWhatWouldBeRight(t *testing.T) {
	redis := "filewallball {\nredis 127.0.0.1:1\n}"
	for name, test := range map[string]struct{ options, directives, want string }{
		"the embedded store":       {"", "session_lookup {\nfrom django\n}", "put redis <address> into the global option"},
		"a source":                 {redis, "session_lookup {\nfrom django\nsource http http://127.0.0.1:1/{id}\n}", "from and source exclude each other"},
		"hash_id":                  {redis, "session_lookup {\nfrom django\nhash_id\n}", "from and hash_id exclude each other"},
		"no secret":                {redis, "session_lookup {\nfrom express\n}", "there is no secret"},
		"an empty secret":          {redis, "session_lookup {\nfrom express {\nsecret {env.FILEWALLBALL_UNSET}\n}\n}", "secret: "},
		"a secret for nothing":     {redis, "session_lookup {\nfrom django {\nsecret x\n}\n}", "cookies of this store are not signed"},
		"a request's placeholder":  {redis, "session_lookup {\nfrom express {\nsecret {host}\n}\n}", "secret: "},
		"a key without an id":      {redis, "session_lookup {\nfrom django {\nkey x\n}\n}", "{id}"},
		"a short key of Laravel":   {redis, "session_lookup {\nfrom laravel {\nsecret abc\n}\n}", "want the whole of APP_KEY"},
		"a broken key of Laravel":  {redis, "session_lookup {\nfrom laravel {\nsecret base64:###\n}\n}", "what follows base64: is not base64"},
		"no name of a cookie":      {redis, "session_lookup {\nfrom django {\ncookie \"a b\"\n}\n}", "not the name of a cookie"},
		"an unknown store":         {redis, "session_lookup {\nfrom symfony\n}", "there is no store 'symfony': want one of better_auth, django, express, fastify, flask, koa, laravel, php, rack, spring"},
		"a variable that is unset": {redis, "session_lookup {\nfrom express {\nsecret \"{$FILEWALLBALL_UNSET}\"\n}\n}", "argument that is empty"},
		"an error's line":          {redis, "session_lookup {\nfrom express\n}", "'session_lookup@localhost:7': from: "},
		"a key of both directives": {redis, "session_lookup {\nkey a:{id}\nfrom django {\nkey b:{id}\n}\n}", "key is given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			err := loadError(t, test.options, test.directives)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "###")
		})
	}
}

// Operators see of a session what require and placeholders see, in whatever format the
// application stored it.
func TestTheAdminAPIShowsSessionsAsLookupsReadThem(t *testing.T) {
	server := redistest.Start(t)
	s := sitetest.Serve(t, "filewallball {\nredis "+server.Addr()+"\n}", `
		session_lookup /php/* {
			from php
			require user_id
		}
		session_lookup /spring/* {
			from spring
			require user
		}`)
	redis := server.Client()
	require.NoError(t, redis.Set(t.Context(), "PHPREDIS_SESSION:abc", `user_id|i:7;`, time.Hour).Err())
	require.NoError(t, redis.HSet(t.Context(), "spring:session:sessions:abc",
		"creationTime", "1", "lastAccessedTime", "2", "maxInactiveInterval", "-1", "sessionAttr:user", `"anna"`).Err())
	for _, a := range []sitetest.Answer{
		s.API(t, http.MethodPost, "get", `{"key": "PHPREDIS_SESSION:abc"}`),
		s.API(t, http.MethodGet, "keys/PHPREDIS_SESSION:abc", ""),
	} {
		require.Equal(t, http.StatusOK, a.Status, a.Body)
		require.Contains(t, a.Body, `"value":{"user_id":7}`)
		require.Regexp(t, `"ttl_seconds":3[56]\d\d,`, a.Body)
	}
	require.Contains(t, s.API(t, http.MethodPost, "get", `{"key": "spring:session:sessions:abc"}`).Body, `"user":"anna"`)

	for key, value := range map[string]string{"PHPREDIS_SESSION:broken": "hunter2", "other:abc": "user_id|i:7;"} {
		require.NoError(t, redis.Set(t.Context(), key, value, time.Hour).Err())
		a := s.API(t, http.MethodPost, "get", `{"key": "`+key+`"}`)
		require.Equal(t, http.StatusUnprocessableEntity, a.Status, a.Body)
		require.NotContains(t, a.Body, "hunter2")
	}
	require.Equal(t, http.StatusNotFound, s.API(t, http.MethodPost, "get", `{"key": "PHPREDIS_SESSION:none"}`).Status)
}
