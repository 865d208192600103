// Servers that answer as authentik's outpost and Tinyauth do, and the login
// page that both have.

package forwardauth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// portal keeps the sessions of an authentication server.
type portal struct {
	mu       sync.Mutex
	sessions map[string]string // user by the value of the cookie
	who      string            // signs in next
	url      string            // where browsers find the login page
}

// signIn sets the user who signs in from now on; "" is no user.
func (p *portal) signIn(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = user
}

func (p *portal) begin(user string) (id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions == nil {
		p.sessions = make(map[string]string)
	}
	id = rand.Text()
	p.sessions[id] = user
	return id
}

// expire ends all sessions.
func (p *portal) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.sessions)
}

func (p *portal) end(r *http.Request, cookie string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, err := r.Cookie(cookie); err == nil {
		delete(p.sessions, c.Value)
	}
}

func (p *portal) user(r *http.Request, cookie string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, err := r.Cookie(cookie); err == nil {
		return p.sessions[c.Value]
	}
	return ""
}

func (p *portal) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.who
}

// authentik is an outpost for one application, and authentik behind it.
type authentik struct{ portal }

const (
	authentikCookie = "authentik_proxy_5f1d3c2a"
	outpost         = "/outpost.goauthentik.io"
)

func (a *authentik) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case outpost + "/auth/caddy":
		a.auth(w, r)
	case outpost + "/callback":
		back, err := base64.RawURLEncoding.DecodeString(r.FormValue("state"))
		if err != nil || r.FormValue("code") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: authentikCookie, Value: a.begin(r.FormValue("code")), Path: "/", HttpOnly: true})
		http.Redirect(w, r, string(back), http.StatusFound)
	case outpost + "/sign_out":
		a.end(r, authentikCookie)
		http.Redirect(w, r, a.url+"/", http.StatusFound)
	case "/application/o/authorize/":
		if a.next() == "" {
			http.Error(w, "sign in", http.StatusOK)
			return
		}
		to := r.FormValue("redirect_uri") + "&" + url.Values{"code": {a.next()}, "state": {r.FormValue("state")}}.Encode()
		http.Redirect(w, r, to, http.StatusFound)
	default:
		http.NotFound(w, r)
	}
}

func (a *authentik) auth(w http.ResponseWriter, r *http.Request) {
	h := r.Header
	site := h.Get("X-Forwarded-Proto") + "://" + h.Get("X-Forwarded-Host")
	uri := h.Get("X-Forwarded-Uri")
	user := a.user(r, authentikCookie)
	switch {
	case !strings.Contains(site, "://") || strings.HasSuffix(site, "://"):
		http.Error(w, "no app for hostname", http.StatusNotFound)
	case user != "":
		claims, _ := json.Marshal(map[string]string{"sub": user})
		w.Header().Set("X-authentik-username", user)
		w.Header().Set("X-authentik-groups", "readers|"+user+"s")
		w.Header().Set("X-authentik-name", "Zoë "+user)
		w.Header().Set("X-authentik-jwt", "e30."+base64.RawURLEncoding.EncodeToString(claims)+".")
		w.Header().Set("X-authentik-meta-app", "app")
	case strings.HasPrefix(uri, "/public/"), strings.HasPrefix(uri, outpost):
	default:
		state := base64.RawURLEncoding.EncodeToString([]byte(site + uri))
		http.SetCookie(w, &http.Cookie{Name: authentikCookie, Value: rand.Text(), Path: "/", HttpOnly: true})
		back := site + outpost + "/callback?X-authentik-auth-callback=true"
		http.Redirect(w, r, a.url+"/application/o/authorize/?"+url.Values{"redirect_uri": {back}, "state": {state}}.Encode(), http.StatusFound)
	}
}

// tinyauth is Tinyauth. It takes passwords in Authorization as well.
type tinyauth struct{ portal }

const tinyauthCookie = "tinyauth-session-a1b2c3d4"

func (a *tinyauth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/auth/caddy":
		a.auth(w, r)
	case "/login":
		if a.next() == "" {
			http.Error(w, "sign in", http.StatusOK)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: tinyauthCookie, Value: a.begin(a.next()), Domain: "example.test", Path: "/", HttpOnly: true})
		http.Redirect(w, r, r.FormValue("redirect_uri"), http.StatusFound)
	case "/logout":
		a.end(r, tinyauthCookie)
	default:
		http.NotFound(w, r)
	}
}

func (a *tinyauth) auth(w http.ResponseWriter, r *http.Request) {
	h := r.Header
	user := a.user(r, tinyauthCookie)
	if name, password, ok := r.BasicAuth(); ok && password == "right" {
		user = name
	}
	browser := strings.Contains(h.Get("Accept"), "text/html")
	site := h.Get("X-Forwarded-Proto") + "://" + h.Get("X-Forwarded-Host")
	answer := func(status int, text string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%q,"status":%d}`, text, status)
	}
	redirect := func(path string, query url.Values) {
		if !browser {
			status := http.StatusUnauthorized
			if path == "/unauthorized" {
				status = http.StatusForbidden
			}
			w.Header().Set("X-Tinyauth-Location", a.url+path+"?"+query.Encode())
			answer(status, http.StatusText(status))
			return
		}
		http.Redirect(w, r, a.url+path+"?"+query.Encode(), http.StatusTemporaryRedirect)
	}
	switch {
	case strings.HasPrefix(h.Get("X-Forwarded-Uri"), "/public/"):
		answer(http.StatusOK, "Authenticated")
	case user == "":
		redirect("/login", url.Values{"redirect_uri": {site + h.Get("X-Forwarded-Uri")}})
	case user == "stranger":
		redirect("/unauthorized", url.Values{"username": {user}, "resource": {"app"}})
	default:
		w.Header().Set("Authorization", h.Get("Authorization"))
		w.Header().Set("Remote-User", user)
		w.Header().Set("Remote-Name", "Zoë "+user)
		w.Header().Set("Remote-Groups", "readers,"+user+"s")
		answer(http.StatusOK, "Authenticated")
	}
}
