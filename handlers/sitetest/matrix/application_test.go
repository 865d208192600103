package matrix

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// verdict is what the application says about an identity.
type verdict int

const (
	allowed  verdict = iota
	allowed2         // more of them than of the others
	refused          // status 403
	denied           // a JSON record that refuses
	unknown          // status 401
	null             // JSON null
	empty            // {}: no session, but a file without fields
	redirect
	broken // status 500
	verdicts
)

// verdictOn decides by question and identity, so that two questions about one
// identity most often have different answers.
func verdictOn(question, id string) verdict {
	h := fnv.New32a()
	_, _ = h.Write([]byte(question + "\x00" + id))
	return verdict(h.Sum32() / 7 % uint32(verdicts))
}

// application answers sources, and remembers in which epoch it was asked last.
type application struct {
	*httptest.Server
	down, slow atomic.Bool
	epoch      atomic.Int64

	mu    sync.Mutex
	asked map[string]int64 // epochs, by question and identity
	count int
}

func newApplication(t *testing.T) *application {
	a := &application{asked: make(map[string]int64)}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// questionOf is what a request asks, but for the identity.
func questionOf(path, site string) string { return path + "|" + site }

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	question, id := questionOf(r.URL.Path, r.Header.Get("X-Site")), r.URL.Query().Get("id")
	a.mu.Lock()
	a.asked[question+"\x00"+id] = a.epoch.Load()
	a.count++
	a.mu.Unlock()
	if a.slow.Load() { // so that requests meet
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	if a.down.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Extra", question)
	switch verdictOn(question, id) {
	case allowed, allowed2:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"question": %q, "user_id": %q}`, question, id)
	case refused:
		w.WriteHeader(http.StatusForbidden)
	case denied:
		fmt.Fprintf(w, `{"denied": 403, "question": %q}`, question)
	case unknown:
		w.WriteHeader(http.StatusUnauthorized)
	case null:
		fmt.Fprint(w, `null`)
	case empty:
		fmt.Fprint(w, `{}`)
	case redirect:
		w.Header().Set("Location", "/login?question="+question)
		w.WriteHeader(http.StatusFound)
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// askedSince reports whether the application was asked in this epoch.
func (a *application) askedSince(epoch int64, question, id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.asked[question+"\x00"+id]
	return ok && last >= epoch
}
