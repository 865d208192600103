// The application that has the sessions. It runs as a process of its own: this
// program, started with -application.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// application answers whose session a request has, and counts the requests.
type application struct{ calls atomic.Int64 }

// slowPrefix begins the identities for which /slow waits for slowAnswer.
const slowPrefix = "slow"

// serveApplication runs until the process is ended.
func serveApplication(addr string) error {
	a := new(application)
	mux := http.NewServeMux()
	mux.HandleFunc("/auth", a.auth)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("session"); err == nil && strings.HasPrefix(cookie.Value, slowPrefix) {
			time.Sleep(slowAnswer)
		}
		a.auth(w, r)
	})
	for path, status := range map[string]int{"/absent": http.StatusUnauthorized, "/denied": http.StatusForbidden} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			a.calls.Add(1)
			w.WriteHeader(status)
		})
	}
	mux.HandleFunc("/calls", a.writeCalls)
	if err := http.ListenAndServe(addr, mux); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the application: %w", err)
	}
	return nil
}

func (a *application) auth(w http.ResponseWriter, r *http.Request) {
	a.calls.Add(1)
	cookie, err := r.Cookie("session")
	if err != nil {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-User-Id", cookie.Value)
	_, _ = w.Write([]byte(sessionRecord(cookie.Value)))
}

func (a *application) writeCalls(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(a.calls.Load())
}

// sessionRecord is the record of a session, in JSON.
func sessionRecord(id string) string {
	text, _ := json.Marshal(map[string]any{
		"user_id": "u-" + id, "name": "Ada Lovelace", "roles": []string{"reader", "editor"}, "expires_at": 4102444800,
	})
	return string(text)
}
