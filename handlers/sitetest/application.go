package sitetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Application is a source of sessions: the user of a token is the text before the digits at
// its end. It counts requests, and answers 401 to all while Refuses is set.
type Application struct {
	*httptest.Server
	Asked   atomic.Int32
	Refuses atomic.Bool
}

// NewApplication runs an application until the test ends. It reads the token from the header
// X-Token.
func NewApplication(t *testing.T) *Application {
	t.Helper()
	app := new(Application)
	app.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.Asked.Add(1)
		token := r.Header.Get("X-Token")
		if app.Refuses.Load() || token == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"user_id": %q}`, strings.TrimRight(token, "0123456789"))
	}))
	t.Cleanup(app.Close)
	return app
}
