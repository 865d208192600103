package dashboard

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin"
)

const (
	// tokenCookie has a random token that a form must repeat in tokenHeader: no
	// other site can read it. (The double submit cookie of the OWASP Cross-Site
	// Request Forgery Prevention Cheat Sheet.) It works whichever node answers.
	tokenCookie = "filewallball_dashboard"
	tokenHeader = "X-CSRF-Token"

	// maxAction is the longest body of an action, in bytes.
	maxAction = 16 << 10
)

// setToken sets the cookie with a token, if the browser has none.
func setToken(w http.ResponseWriter, r *http.Request) {
	if tokenOf(r) != "" {
		return
	}
	token := make([]byte, 32)
	_, _ = rand.Read(token) // never fails
	http.SetCookie(w, &http.Cookie{
		Name: tokenCookie, Value: base64.RawURLEncoding.EncodeToString(token),
		SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
}

// tokenOf is the token in the request's cookie, or "".
func tokenOf(r *http.Request) string {
	cookie, err := r.Cookie(tokenCookie)
	if err != nil || len(cookie.Value) != base64.RawURLEncoding.EncodedLen(32) {
		return ""
	}
	return cookie.Value
}

// errForged is the error of a request that a page of another site has made.
var errForged = errors.New("the request does not come from the dashboard's page: reload the page")

// checkOrigin refuses a request that another site's page made a browser send.
func checkOrigin(r *http.Request) error {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		return errForged
	}
	token := tokenOf(r)
	if token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(r.Header.Get(tokenHeader))) != 1 {
		return errForged
	}
	return nil
}

// act looks a key up, or purges it: {"action": "get" or "purge", "key": "…"}. The key
// includes key_prefix. It is in the body, so that no access log contains it.
func (h *Handler) act(w http.ResponseWriter, r *http.Request) error {
	if err := checkOrigin(r); err != nil {
		return answer(w, http.StatusForbidden, failure{err.Error()})
	}
	var asked struct {
		Action string `json:"action"`
		Key    string `json:"key"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAction)).Decode(&asked); err != nil {
		return answer(w, http.StatusBadRequest, failure{`want {"action": "get", "key": "…"}`})
	}
	if err := admin.CheckScope("key", asked.Key, h.app.Policy()); err != nil {
		return answer(w, http.StatusBadRequest, failure{err.Error()})
	}
	defer h.app.Hold()()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.app.Policy().LookupTimeout)
	defer cancel()
	switch asked.Action {
	case "get":
		return h.get(ctx, w, asked.Key)
	case "purge":
		if !h.Purge {
			return answer(w, http.StatusForbidden, failure{"purging is off: the option purge of lookup_dashboard allows it"})
		}
		return h.purge(ctx, w, asked.Key)
	}
	return answer(w, http.StatusBadRequest, failure{"the action is not known: want get or purge"})
}

// failure is an answer with an error.
type failure struct {
	Error string `json:"error"`
}

// found is a record, as the page shows it.
type found struct {
	Key string `json:"key"`
	// TTL is in seconds, rounded up; -1 if the record never expires.
	TTL int64 `json:"ttl_seconds"`
	// Value is the JSON text, indented.
	Value string `json:"value"`
}

func (h *Handler) get(ctx context.Context, w http.ResponseWriter, key string) error {
	entry, err := h.app.Cache().Get(ctx, key)
	switch {
	case errors.Is(err, cache.ErrInvalidRecord):
		return answer(w, http.StatusUnprocessableEntity, failure{"the value under the key is not a record"})
	case err != nil:
		return h.failed(w, err)
	case entry.Record == nil:
		return answer(w, http.StatusNotFound, failure{"there is no such key"})
	}
	ttl := int64(-1)
	if left := entry.TTL(time.Now()); left != cache.NoExpiry {
		ttl = int64((left + time.Second - 1) / time.Second)
	}
	var value bytes.Buffer
	if err := json.Indent(&value, []byte(entry.Record.Text()), "", "  "); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return answer(w, http.StatusOK, found{key, ttl, value.String()})
}

func (h *Handler) purge(ctx context.Context, w http.ResponseWriter, key string) error {
	purged, err := h.app.Cache().Delete(ctx, key)
	if pending := new(cache.PendingError); errors.As(err, &pending) {
		h.logger.Error("an invalidation of the dashboard is pending", zap.Error(err))
		return answer(w, http.StatusServiceUnavailable, failure{
			"the store did not drop the record yet: this node no longer uses it, and retries until it is dropped"})
	}
	if err != nil {
		return h.failed(w, err)
	}
	h.logger.Info("a key was purged by the dashboard", zap.Int("records", purged))
	return answer(w, http.StatusOK, map[string]int{"purged": purged})
}

func (h *Handler) failed(w http.ResponseWriter, err error) error {
	h.logger.Error("the store failed in the dashboard", zap.Error(err))
	return answer(w, http.StatusServiceUnavailable, failure{"the store does not answer: the log says why"})
}

// answer writes JSON. It returns no error for an error status, so that handle_errors does
// not replace the answer: the page shows it.
func answer(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}
