package faults

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// application knows sessions and answers sources. It counts what it is asked.
type application struct {
	url      string
	status   atomic.Int64 // answers each request with it, unless 0
	slow     atomic.Int64 // nanoseconds until an answer
	open     atomic.Int64 // connections
	inFlight atomic.Int64
	most     atomic.Int64 // of inFlight at a time

	mu       sync.Mutex
	sessions map[string]string // to users
	calls    map[string]int    // by session
}

func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{sessions: make(map[string]string), calls: make(map[string]int)}
	server := httptest.NewUnstartedServer(a)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			a.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			a.open.Add(-1)
		}
	}
	server.Start()
	a.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return a
}

// raise makes a maximum at least as large as a value.
func raise(most *atomic.Int64, value int64) {
	for {
		old := most.Load()
		if value <= old || most.CompareAndSwap(old, value) {
			return
		}
	}
}

// ServeHTTP answers a source. /quick is never slow.
func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := a.inFlight.Add(1)
	defer a.inFlight.Add(-1)
	raise(&a.most, now)
	id := ""
	if cookie, err := r.Cookie("session"); err == nil {
		id = cookie.Value
	}
	a.mu.Lock()
	a.calls[id]++
	user, known := a.sessions[id]
	a.mu.Unlock()
	if wait := time.Duration(a.slow.Load()); wait > 0 && r.URL.Path != "/quick" {
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
	}
	switch status := int(a.status.Load()); {
	case status != 0:
		w.WriteHeader(status)
	case !known:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"user": %q}`, user)
	}
}

func (a *application) login(id, user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[id] = user
}

func (a *application) logout(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, id)
}

// asked is how often the application was asked for a session.
func (a *application) asked(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[id]
}

// total is how often it was asked at all.
func (a *application) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, calls := range a.calls {
		n += calls
	}
	return n
}
