package stores

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/filewallball/caddy-filewallball/cache"
)

// recorded is a login that a real application took: its cookies, and what it
// kept of the session. handlers/e2e/sessionstores runs the same applications.
type recorded struct {
	Store, Writer string
	Config        json.RawMessage
	Cookies, Key  string
	Value         []byte // base64 in JSON
	Want          string
}

func recordings(t testing.TB) (list []recorded) {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &list))
	require.NotEmpty(t, list)
	return list
}

// provision is a store of that name, with these options in JSON.
func provision(t testing.TB, name, config string) Store {
	t.Helper()
	store, err := tryProvision(name, config)
	require.NoError(t, err)
	return store
}

func tryProvision(name, config string) (Store, error) {
	for _, module := range All() {
		info := module.CaddyModule()
		if string(info.ID) != Namespace+"."+name {
			continue
		}
		store := info.New()
		if err := json.Unmarshal([]byte(config), store); err != nil {
			return nil, err
		}
		return store.(Store), store.(caddy.Provisioner).Provision(caddy.Context{})
	}
	panic("there is no store " + name)
}

func requestWith(cookies string) *http.Request {
	return &http.Request{Header: http.Header{"Cookie": {cookies}}}
}

func keys(t testing.TB, store Store, cookies string) (keys []string) {
	t.Helper()
	template, err := cache.ParseKeyTemplate(store.KeyTemplate())
	require.NoError(t, err)
	for _, id := range store.Identities(requestWith(cookies)) {
		keys = append(keys, template.Key(cache.KeyIdentity(id, false)))
	}
	return keys
}

func TestRecordedLoginsAreRead(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		store := provision(t, r.Store, string(r.Config))
		require.Equal(t, []string{r.Key}, keys(t, store, r.Cookies), r.Writer)
		session, err := store.Decode(cache.Raw{Text: string(r.Value)})
		require.NoError(t, err, r.Writer)
		require.Equal(t, r.Want, session.JSON, r.Writer)
	}
}

func TestACookieThatIsChangedAnywhereIsNoOtherIdentity(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		if !strings.Contains(string(r.Config), "secrets") {
			continue
		}
		store := provision(t, r.Store, string(r.Config))
		// Laravel's payload says more than what is encrypted and signed
		isLaravel := r.Store == "laravel"
		for i := strings.IndexByte(r.Cookies, '='); i < len(r.Cookies); i++ {
			changed := []byte(r.Cookies)
			changed[i] ^= 1
			for _, key := range keys(t, store, string(changed)) {
				require.True(t, isLaravel && key == r.Key, "%s: byte %d", r.Writer, i)
			}
			require.Empty(t, keys(t, store, r.Cookies[:i]), "%s: the first %d bytes", r.Writer, i)
		}
	}
}

func TestACookieThatIsSignedWithAnotherSecretIsNoIdentity(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		if !strings.Contains(string(r.Config), "secrets") {
			continue
		}
		var config map[string]any
		require.NoError(t, json.Unmarshal(r.Config, &config))
		own := config["secrets"].([]any)[0].(string)
		other := strings.Repeat("x", 32)
		with := func(secrets ...string) Store {
			config["secrets"] = secrets
			text, err := json.Marshal(config)
			require.NoError(t, err)
			return provision(t, r.Store, string(text))
		}
		require.Empty(t, keys(t, with(other), r.Cookies), r.Writer)
		require.Equal(t, []string{r.Key}, keys(t, with(other, own), r.Cookies), "%s: rotated", r.Writer)
	}
}

func TestRecordedLoginsNameTheUser(t *testing.T) {
	t.Parallel()
	want := map[string]string{"better_auth": "TBEuA8Mopef5FM1rkq6ItLDS9BajIn25", "django": "1", "laravel": "7", "rack": "7"}
	for _, r := range recordings(t) {
		user, ok := want[r.Store]
		if strings.Contains(r.Writer, "Flask-Login") {
			user, ok = "id of anna", true
		}
		if !ok {
			continue // these applications have no login of a library's
		}
		require.Equal(t, user, userOf(provision(t, r.Store, string(r.Config)), r.Want), r.Writer)
	}
}

func TestLoginsOfLibrariesAreKnown(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ store, config, session, want string }{
		{"express", `{"secrets":["s"]}`, `{"passport":{"user":"ada"}}`, "ada"},
		{"fastify", `{"secrets":["s"]}`, `{"passport":{"user":{"id":7,"name":"ada"}}}`, "7"},
		{"koa", `{"secrets":["s"]}`, `{"passport":{"user":7}}`, "7"},
		{"flask", `{}`, `{"_user_id":"ada","_fresh":true}`, "ada"},
		{"rack", `{}`, `{"warden.user.user.key":[[7],"$2a$12$salt"]}`, "7"},
		{"spring", `{}`, `{"SPRING_SECURITY_CONTEXT":{"authentication":{"principal":{"username":"ada"}}}}`, "ada"},
		{"spring", `{}`, `{"SPRING_SECURITY_CONTEXT":{"authentication":{"principal":"ada"}}}`, "ada"},
		{"spring", `{}`, `{"org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME":"ada"}`, "ada"},
		{"django", `{}`, `{"user":"ada"}`, ""},
	} {
		require.Equal(t, test.want, userOf(provision(t, test.store, test.config), test.session), "%s: %s", test.store, test.session)
	}
}

// userOf is who is logged in.
func userOf(store Store, session string) string {
	for _, path := range store.(Login).UserFields() {
		if user := gjson.Get(session, path); user.Exists() && !user.IsObject() && !user.IsArray() && user.String() != "" {
			return user.String()
		}
	}
	return ""
}
