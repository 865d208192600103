// A server that answers as Authelia's endpoint for forward_auth does.

package forwardauth

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// authelia knows the users of its session cookie. Users whose name begins with
// admin may see hosts whose name ends with -admin.
type authelia struct{ portal }

const autheliaCookie = "authelia_session"

func newAuthelia() *authelia { return &authelia{portal{url: "https://auth.example.test"}} }

// cookieOf returns the session cookie of a user.
func (a *authelia) cookieOf(user string) string { return autheliaCookie + "=" + a.begin(user) }

func (a *authelia) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		if a.next() == "" {
			http.Error(w, "sign in", http.StatusOK)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: autheliaCookie, Value: a.begin(a.next()), Domain: "example.test", Path: "/", HttpOnly: true})
		http.Redirect(w, r, r.FormValue("rd"), http.StatusFound)
		return
	case "/logout":
		a.end(r, autheliaCookie)
		return
	}
	h := r.Header
	method, proto, host, uri := h.Get("X-Forwarded-Method"), h.Get("X-Forwarded-Proto"), h.Get("X-Forwarded-Host"), h.Get("X-Forwarded-Uri")
	user := a.user(r, autheliaCookie)
	admins := strings.Contains(host, "-admin.")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	switch {
	case r.URL.Path != "/api/authz/forward-auth", method == "", proto == "", host == "", uri == "":
		refuse(w, http.StatusBadRequest)
	case method == http.MethodOptions, strings.HasPrefix(uri, "/public/"):
		fmt.Fprint(w, "200 OK")
	case user == "":
		a.challenge(w, r, proto+"://"+host+uri, method)
	case admins && !strings.HasPrefix(user, "admin"):
		refuse(w, http.StatusForbidden)
	default:
		w.Header().Set("Remote-User", user)
		w.Header().Set("Remote-Groups", "readers,"+user+"s")
		w.Header().Set("Remote-Name", "Zoë "+user)
		fmt.Fprint(w, "200 OK")
	}
}

// challenge sends browsers to the login page, and tells scripts that there is
// one.
func (a *authelia) challenge(w http.ResponseWriter, r *http.Request, back, method string) {
	login := a.url + "/?" + url.Values{"rd": {back}, "rm": {method}}.Encode()
	http.SetCookie(w, &http.Cookie{Name: autheliaCookie, Value: rand.Text(), Domain: "example.test", Path: "/", HttpOnly: true})
	status := http.StatusSeeOther
	if method == http.MethodGet || method == http.MethodHead {
		status = http.StatusFound
	}
	if r.Header.Get("X-Requested-With") == "XMLHttpRequest" || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		status = http.StatusUnauthorized
	}
	w.Header().Set("Location", login)
	w.WriteHeader(status)
	fmt.Fprintf(w, `<a href="%s">%d %s</a>`, strings.ReplaceAll(login, "&", "&amp;"), status, http.StatusText(status))
}

func refuse(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "%d %s", status, http.StatusText(status))
}
