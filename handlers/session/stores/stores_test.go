package stores

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

func TestOptionsOfStoresAreChecked(t *testing.T) {
	t.Setenv("STORES_SECRET", "hunter2")
	for name, test := range map[string]struct{ store, config, want string }{
		"no secret":                {"express", `{}`, "there is no secret"},
		"a secret for nothing":     {"php", `{"secrets":["hunter2"]}`, "not signed: leave it out"},
		"an empty secret":          {"koa", `{"secrets":[""]}`, "number 1 is empty"},
		"an unset variable":        {"koa", `{"secrets":["{env.STORES_UNSET}"]}`, "secret: "},
		"a request's placeholder":  {"koa", `{"secrets":["{http.request.host}"]}`, "secret: "},
		"a file that is not there": {"koa", `{"secrets":["{file./nowhere/at/all}"]}`, "secret: "},
		"braces in a secret":       {"koa", `{"secrets":["a{hunter2}"]}`, `write \{ and \}`},
		"a cookie of no name":      {"django", `{"cookie":"a;b"}`, "not the name of a cookie"},
		"an unknown algorithm":     {"koa", `{"secrets":["hunter2"],"algorithm":"md5"}`, "want sha1, sha256"},
		"an unknown format":        {"php", `{"format":"igbinary"}`, "want php, php_serialize or php_binary"},
		"a short key":              {"laravel", `{"secrets":["hunter2"]}`, "16 or 32 bytes"},
		"no base64":                {"laravel", `{"secrets":["base64:hunter2!"]}`, "is not base64"},
	} {
		_, err := tryProvision(test.store, test.config)
		require.ErrorContains(t, err, test.want, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
	store := provision(t, "express", `{"secrets":["{env.STORES_SECRET}"]}`)
	require.Equal(t, "hunter2", string(store.(*Express).secrets[0]))
	braces := provision(t, "express", `{"secrets":["a\\{b\\}c", "a{b"]}`)
	require.Equal(t, "a{b}c", string(braces.(*Express).secrets[0]))
	require.Equal(t, "a{b", string(braces.(*Express).secrets[1]))
	text, err := json.Marshal(store)
	require.NoError(t, err)
	require.NotContains(t, string(text), "hunter2", "a secret gets into the configuration that Caddy shows")
}

func TestCookiesThatAreNotSignedHoldNothingButAnID(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 257)
	for _, test := range []struct {
		store, cookies string
		want           []string
	}{
		{"django", "sessionid=abcdefgh12345678", []string{":1:django.contrib.sessions.cacheabcdefgh12345678"}},
		{"django", "sessionid=short", nil},
		{"django", "sessionid=abcdefgh:lock", nil},
		{"django", "sessionid=" + long, nil},
		{"django", "sessionid=abcdefg%68", nil},
		{"php", "PHPSESSID=a-b,c9", []string{"PHPREDIS_SESSION:a-b,c9"}},
		{"php", "PHPSESSID=a-b%2Cc9", []string{"PHPREDIS_SESSION:a-b,c9"}}, // as PHP sends a comma
		{"php", "PHPSESSID=a-b%252Cc9", nil},
		{"php", "PHPSESSID=abc_LOCK", nil},
		{"php", "PHPSESSID=abc%5FLOCK", nil},
		{"php", "PHPSESSID=a b", nil},
		{"flask", "session=5343718f-22b8", []string{"session:5343718f-22b8"}},
		{"flask", "session=x.y", nil},
		{"rack", "rack.session=abc", []string{"rack:session:2::ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}},
		{"rack", "rack.session=2::ab", nil},
		{"spring", "SESSION=" + base64.StdEncoding.EncodeToString([]byte("8f1-22")), []string{"spring:session:sessions:8f1-22"}},
		{"spring", "SESSION=" + base64.StdEncoding.EncodeToString([]byte("expires:8f1-22")), nil},
		{"spring", "SESSION=8f1-22!", nil},
		{"django", "sessionid=abcdefgh; sessionid=; sessionid=ijklmnop", // Django reads the last one
			[]string{":1:django.contrib.sessions.cacheijklmnop", ":1:django.contrib.sessions.cacheabcdefgh"}},
		{"django", strings.Repeat("sessionid=abcdefgh; ", 100) + "sessionid=ijklmnop",
			append([]string{":1:django.contrib.sessions.cacheijklmnop"}, slicesRepeat(":1:django.contrib.sessions.cacheabcdefgh", MaxCookies-1)...)},
		{"php", "PHPSESSID=a; PHPSESSID=b", []string{"PHPREDIS_SESSION:a", "PHPREDIS_SESSION:b"}},
		{"php", "PHPSESSID=; other=c", nil},
		{"php", strings.Repeat("PHPSESSID=a; ", 100), slicesRepeat("PHPREDIS_SESSION:a", MaxCookies)},
	} {
		require.Equal(t, test.want, keys(t, provision(t, test.store, `{}`), test.cookies), test.cookies)
	}
}

func slicesRepeat(s string, n int) (list []string) {
	for range n {
		list = append(list, s)
	}
	return list
}

func TestThePrefixOfKoaIsInTheKeyOnce(t *testing.T) {
	const appKeys = "a secret of more than thirty-two bytes"
	t.Setenv("KOA_PREFIX", "env:")
	signed := func(id string) string {
		mac := hmac.New(sha1.New, []byte(appKeys))
		mac.Write([]byte("koa.sess=" + id))
		return "koa.sess=" + id + "; koa.sess.sig=" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	for _, test := range []struct{ key, id, want string }{
		{"{id}", "1", "1"},
		{"app:{id}", "app:1", "app:1"},
		{`\\{app\\}:{id}`, "{app}:1", "{app}:1"}, // as a cluster needs it
		{"{env.KOA_PREFIX}{id}", "env:1", "env:1"},
		{"app:{id}", "1", "app:1"}, // a keyPrefix of ioredis
		{"app:pre:{id}", "pre:1", "app:pre:pre:1"},
		{"app:{id}", "app:", ""},
	} {
		store := provision(t, "koa", `{"secrets":["`+appKeys+`"],"key":"`+test.key+`"}`)
		got := store.Identities(requestWith(signed(test.id)))
		if test.want == "" {
			require.Empty(t, got, test.key)
			continue
		}
		require.Len(t, got, 1, test.key)
		split, err := template.NewSplit(store.KeyTemplate())
		require.NoError(t, err)
		require.Equal(t, test.want, split.With(got), test.key)
	}
}

func TestAnIDOfFastifyMayBeginLikeThePrefixOfItsCookie(t *testing.T) {
	t.Parallel()
	store := provision(t, "fastify", `{"secrets":["secret"]}`)
	for _, id := range []string{"1", "s:1", "s:s:1"} {
		mac := hmac.New(sha256.New, []byte("secret"))
		mac.Write([]byte(id))
		signed := id + "." + base64.RawStdEncoding.EncodeToString(mac.Sum(nil))
		require.Equal(t, []string{id}, store.Identities(requestWith("sessionId="+url.QueryEscape(signed))))
		require.Equal(t, []string{id}, store.Identities(requestWith("sessionId="+url.QueryEscape("s:"+signed))))
		require.Empty(t, store.Identities(requestWith("sessionId="+url.QueryEscape("x"+signed))))
	}
}

func TestCookiesMayHaveTheNamesThatBrowsersAccept(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"koa:sess", "sess[id]", "a@b", "__Host-sid", "a,b", `"a"`} {
		store := provision(t, "php", `{"cookie":`+strconv.Quote(name)+`}`)
		r := requestWith(" x=y ;  " + name + " =\tabc ;" + name + `="def"; x` + name + "=ghi; " + name + "x=jkl; " + name + "; " + name + "=")
		r.Header.Add("Cookie", name+"=mno")
		require.Equal(t, []string{"abc", "def", "mno"}, store.Identities(r), name)
		require.Empty(t, store.Identities(requestWith(strings.ToUpper(name)+"x=abc")), name)
	}
	for _, name := range []string{" a", "a ", "a b", "a=b", "a;b", "a\n", "\u00e4"} {
		_, err := tryProvision("php", `{"cookie":`+strconv.Quote(name)+`}`)
		require.ErrorContains(t, err, "not the name of a cookie", name)
	}
}

func TestASecureCookieOfBetterAuthComesFirst(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		if r.Store == "better_auth" {
			store := provision(t, r.Store, string(r.Config))
			require.Equal(t, []string{r.Key}, keys(t, store, "__Secure-"+r.Cookies))
			require.Equal(t, []string{r.Key, r.Key}, keys(t, store, r.Cookies+"; __Secure-"+r.Cookies))
		}
	}
}

func TestSessionsEndAtTheTimeOfTheirApplication(t *testing.T) {
	t.Parallel()
	const secrets = `{"secrets":["a secret"]}`
	at := time.UnixMilli(1795706669803).UTC()
	date := at.Format("2006-01-02T15:04:05.000Z07:00")
	soon := time.Now().Add(time.Hour).UnixNano()
	hash := func(accessed, interval string) map[string]string {
		return map[string]string{springAccessed: accessed, springInterval: interval, "sessionAttr:a": "1"}
	}
	past := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	for name, test := range map[string]struct {
		store, config string
		raw           cache.Raw
		want          time.Time
		err           string
	}{
		"express, a session of the browser": {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"originalMaxAge":null,"expires":null}}`}},
		"express, without a cookie":         {store: "express", config: secrets, raw: cache.Raw{Text: `{"user":1}`}},
		"express, a key without an end":     {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"originalMaxAge":60000,"expires":"` + date + `"}}`}, want: at},
		"express, extended by use": {store: "express", config: secrets,
			raw: cache.Raw{Text: `{"cookie":{"originalMaxAge":7200000,"expires":"` + past.Format(time.RFC3339) + `"}}`, Expires: soon}},
		"express, a key that lives longer than a session may": {store: "express", config: secrets,
			raw: cache.Raw{Text: `{"cookie":{"originalMaxAge":60000,"expires":"` + past.Format(time.RFC3339) + `"}}`, Expires: soon}, want: past},
		"express, without a longest time": {store: "express", config: secrets,
			raw: cache.Raw{Text: `{"cookie":{"expires":"` + past.Format(time.RFC3339) + `"}}`, Expires: soon}, want: past},
		"express, unreadable": {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"expires":"soon"}}`}, err: "cookie.expires is neither a date"},
		"express, false":      {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"originalMaxAge":false,"expires":false}}`}},
		"express, zero":       {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"expires":0}}`}},
		"express, true":       {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"expires":true}}`}, err: "cookie.expires is neither a date"},
		"express, year 10000": {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"expires":"+010000-01-01T00:00:00.001Z"}}`}},
		"express, year -1":    {store: "express", config: secrets, raw: cache.Raw{Text: `{"cookie":{"expires":"-000001-01-01T00:00:00.001Z"}}`}, err: "cookie.expires is neither a date"},
		"fastify":             {store: "fastify", config: secrets, raw: cache.Raw{Text: `{"cookie":{"expires":"` + date + `","originalExpires":"2020-01-01T00:00:00Z"}}`}, want: at},
		"koa":                 {store: "koa", config: secrets, raw: cache.Raw{Text: `{"_expire":1795706669803,"_maxAge":1}`}, want: at},
		"koa, of the browser": {store: "koa", config: secrets, raw: cache.Raw{Text: `{"_session":true}`}},
		"koa, unreadable":     {store: "koa", config: secrets, raw: cache.Raw{Text: `{"_expire":"1795706669803"}`}, err: "_expire is neither"},
		"koa, twice":          {store: "koa", config: secrets, raw: cache.Raw{Text: `{"_expire":1,"_expire":1795706669803}`}, want: at},
		"express, twice": {store: "express", config: secrets,
			raw: cache.Raw{Text: `{"cookie":{"expires":null},"c\u006fokie":{"expires":"` + date + `"}}`}, want: at},
		"koa, huge":     {store: "koa", config: secrets, raw: cache.Raw{Text: `{"_expire":1e400}`}, err: "_expire is neither"},
		"koa, negative": {store: "koa", config: secrets, raw: cache.Raw{Text: `{"_expire":-1}`}, err: "_expire is neither"},
		"better auth":   {store: "better_auth", config: secrets, raw: cache.Raw{Text: `{"session":{"expiresAt":"` + date + `"},"user":{}}`}, want: at},
		"spring":        {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash("1795706669803", "1800")}, want: at.Add(30 * time.Minute)},
		"spring, with classes": {store: "spring", config: `{}`,
			raw: cache.Raw{Fields: hash(`["java.lang.Long",1795706669803]`, `["java.lang.Integer",1800]`)}, want: at.Add(30 * time.Minute)},
		"spring, logged out":       {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash("1795706669803", "0")}, want: at},
		"spring, without an end":   {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash("1795706669803", "-1")}},
		"spring, without a use":    {store: "spring", config: `{}`, raw: cache.Raw{Fields: map[string]string{springInterval: "1"}}, err: "not a hash with"},
		"spring, unreadable":       {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash("now", "1800")}, err: "a field of the hash is not JSON"},
		"spring, no number":        {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash(`"now"`, "1800")}, err: "lastAccessedTime is not a number"},
		"spring, beyond all times": {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash("9223372036854775807", "1800")}, err: "make no time"},
		"spring, Java":             {store: "spring", config: `{}`, raw: cache.Raw{Fields: hash("\xac\xed\x00\x05sr", "1800")}, err: "only Java can read"},
	} {
		session, err := provision(t, test.store, test.config).Decode(test.raw)
		if test.err != "" {
			require.ErrorContains(t, err, test.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.True(t, test.want.Equal(session.Expires), "%s: %s", name, session.Expires)
	}
}

func TestSpringsAttributesAreTheRecord(t *testing.T) {
	t.Parallel()
	session, err := provision(t, "spring", `{}`).Decode(cache.Raw{Fields: map[string]string{
		"creationTime": "1", "lastAccessedTime": "2", "maxInactiveInterval": "1800",
		"sessionAttr:SPRING_SECURITY_CONTEXT": `{"@class":"org.springframework.security.core.context.SecurityContextImpl","authentication":{"authenticated":true,"name":"anna"}}`,
		"sessionAttr:removed":                 "",
		"sessionAttr:creationTime":            `"forged"`,
		"other":                               "x",
	}})
	require.NoError(t, err)
	require.JSONEq(t, `{"creationTime":1,"lastAccessedTime":2,"maxInactiveInterval":1800,"removed":null,
		"SPRING_SECURITY_CONTEXT":{"@class":"org.springframework.security.core.context.SecurityContextImpl","authentication":{"authenticated":true,"name":"anna"}}}`, session.JSON)
}

func compressed(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // a buffer takes everything
	_ = w.Close()
	return b.String()
}

func TestFormatsAreFoundByHowTheyBegin(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ store, config, text, want, err string }{
		"flask, msgpack":           {store: "flask", text: "\x82\xaa_permanent\xc3\xa8_user_id\xa242", want: `{"_permanent":true,"_user_id":"42"}`},
		"flask, empty msgpack":     {store: "flask", text: "\x80", want: `{}`},
		"flask, JSON":              {store: "flask", text: `{"_user_id":"42"}`, want: `{"_user_id":"42"}`},
		"flask, an old pickle":     {store: "flask", text: "(dp0\nVa\np1\nI1\ns.", want: `{"a":1}`},
		"django, zlib":             {store: "django", text: compressed("\x80\x04}\x94\x8c\x01a\x94K\x01s."), want: `{"a":1}`},
		"django, a bomb":           {store: "django", text: compressed(strings.Repeat(" ", 10<<20)), err: "much larger than it is stored"},
		"django, much of the same": {store: "django", text: compressed(`{"a":"` + strings.Repeat("a", 30_000) + `"}`), want: `{"a":"` + strings.Repeat("a", 30_000) + `"}`},
		"django, NaN":              {store: "django", text: `{"a":NaN}`, want: `{"a":null}`},
		"django, broken zlib":      {store: "django", text: "\x78\x9cx", err: "not what zlib writes"},
		"django, no format":        {store: "django", text: "hello", err: "none of JSON, msgpack and a pickle"},
		"django, a number":         {store: "django", text: "1", err: "none of JSON"},
		"django, nothing":          {store: "django", err: "none of JSON"},
		"django, broken JSON":      {store: "django", text: "{", err: "not a JSON object"},
		"php, nothing":             {store: "php", want: "{}"},
		"php, both":                {store: "php", text: `a:1:{s:1:"x";i:1;}`, want: `{"x":1}`},
		"php, a name of a letter":  {store: "php", text: `a|i:1;`, want: `{"a":1}`},
		"php, the other format":    {store: "php", config: `{"format":"php"}`, text: `a:1:{s:1:"x";i:1;}`, err: "want the name of a variable"},
		"php, php_binary":          {store: "php", text: "\x01ai:1;", want: `{"a":1}`},
		"php, named php_binary":    {store: "php", config: `{"format":"php_binary"}`, text: "\x01ai:1;", want: `{"a":1}`},
		"php_binary, php":          {store: "php", config: `{"format":"php_binary"}`, text: "a|i:1;", err: "the length before it is wrong"},
		"php, several formats":     {store: "php", text: "\x01a" + `s:18:"|b:1;u|i:1;z|s:0:"";`, err: "several formats of PHP"},
		"php, igbinary":            {store: "php", text: "\x00\x00\x00\x02\x14\x01\x11\x07user_id\x06\x01", err: "set session.serialize_handler"},
		"php_serialize, php":       {store: "php", config: `{"format":"php_serialize"}`, text: `a|i:1;`, err: "not what PHP's serialize writes"},
		"rack, no format":          {store: "rack", text: "x", err: "neither JSON nor"},
		"laravel, JSON":            {store: "laravel", text: `s:15:"{"user":"anna"}";`, want: `{"user":"anna"}`},
		"laravel, empty":           {store: "laravel", text: `s:6:"a:0:{}";`, want: `{}`},
		"laravel, empty JSON":      {store: "laravel", text: `s:2:"[]";`, want: `{}`},
		"laravel, once":            {store: "laravel", text: `a:0:{}`, err: "not a session that Laravel serialized"},
		"express, null":            {store: "express", text: `null`, err: "not a JSON object"},
		"express, a list":          {store: "express", text: `[]`, err: "not a JSON object"},
	} {
		config := test.config
		switch {
		case test.store == "laravel":
			config = `{"secrets":["0123456789abcdef"]}`
		case test.store == "express":
			config = `{"secrets":["x"]}`
		case config == "":
			config = "{}"
		}
		session, err := provision(t, test.store, config).Decode(cache.Raw{Text: test.text})
		if test.err != "" {
			require.ErrorContains(t, err, test.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, test.want, session.JSON, name)
	}
	for _, module := range All() {
		name := strings.TrimPrefix(string(module.CaddyModule().ID), Namespace+".")
		if name == "spring" {
			continue
		}
		config := `{"secrets":["0123456789abcdef"]}`
		if _, err := tryProvision(name, config); err != nil {
			config = `{}`
		}
		_, err := provision(t, name, config).Decode(cache.Raw{Fields: map[string]string{"a": "1"}})
		require.ErrorIs(t, err, errNoString, name)
	}
}

func FuzzIdentities(f *testing.F) {
	var all []Store
	for _, r := range recordings(f) {
		f.Add(r.Cookies)
		all = append(all, provision(f, r.Store, string(r.Config)))
	}
	f.Fuzz(func(t *testing.T, cookies string) {
		for _, store := range all {
			for _, id := range store.Identities(requestWith(cookies)) {
				if id == "" {
					t.Fatalf("%T: an identity of nothing", store)
				}
			}
		}
	})
}
