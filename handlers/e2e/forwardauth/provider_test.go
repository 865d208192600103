// A small OpenID provider: the test says which user signs in.

package forwardauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	clientID     = "caddy"
	clientSecret = "the secret of the client"
)

// person is a user who can sign in.
type person struct {
	name   string
	groups []string
	// tokenSize is how many random bytes the access token has: cookie sessions
	// carry it.
	tokenSize int
}

type provider struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu     sync.Mutex
	who    person            // who signs in next
	grants map[string]grant  // by code
	tokens map[string]person // by access token
}

type grant struct {
	person
	nonce string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := &provider{key: key, grants: make(map[string]grant), tokens: make(map[string]person)}
	mux := http.NewServeMux()
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	mux.HandleFunc("/.well-known/openid-configuration", p.discover)
	mux.HandleFunc("/jwks", p.jwks)
	mux.HandleFunc("/authorize", p.authorize)
	mux.HandleFunc("/token", p.token)
	mux.HandleFunc("/userinfo", p.userinfo)
	return p
}

// signIn sets the user who signs in from now on.
func (p *provider) signIn(who person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = who
}

func (p *provider) discover(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		"jwks_uri": p.URL + "/jwks", "userinfo_endpoint": p.URL + "/userinfo",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (p *provider) jwks(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	writeJSON(w, map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
		"n": encode(p.key.N.Bytes()), "e": encode(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.who.name == "" || q.Get("client_id") != clientID {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	code := rand.Text()
	p.grants[code] = grant{p.who, q.Get("nonce")}
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.grants[r.FormValue("code")]
	if !ok {
		http.Error(w, `{"error": "invalid_grant"}`, http.StatusBadRequest)
		return
	}
	delete(p.grants, r.FormValue("code"))
	random := make([]byte, 16+g.tokenSize)
	_, _ = rand.Read(random) // it never fails
	access := base64.RawURLEncoding.EncodeToString(random)
	p.tokens[access] = g.person
	now := time.Now()
	claims := g.claims()
	claims["iss"], claims["aud"], claims["nonce"] = p.URL, clientID, g.nonce
	claims["iat"], claims["exp"] = now.Unix(), now.Add(time.Hour).Unix()
	id, err := p.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]any{"access_token": access, "id_token": id, "token_type": "Bearer", "expires_in": 3600})
}

func (p *provider) userinfo(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who, ok := p.tokens[r.Header.Get("Authorization")[len("Bearer "):]]
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	writeJSON(w, who.claims())
}

func (p person) claims() map[string]any {
	return map[string]any{
		"sub": p.name, "preferred_username": p.name, "email": p.name + "@example.test",
		"email_verified": true, "groups": p.groups,
	}
}

// sign makes a JSON Web Token (RFC 7519, RS256).
func (p *provider) sign(claims map[string]any) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + encode(text)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	return signed + "." + encode(signature), err
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
