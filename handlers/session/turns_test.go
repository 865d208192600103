package session

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/handlers/lookup/lookuptest"
)

// turnsOf are routes that use the same session. Each requires one of the
// session's rights and copies a header of its own.
func turnsOf(t testing.TB, routes, rights, size int) []caddyhttp.MiddlewareHandler {
	t.Helper()
	ctx, app := lookuptest.NewApp(t, `{}`)
	handlers := make([]caddyhttp.MiddlewareHandler, routes)
	for i := range handlers {
		handlers[i] = sessionIn(t, ctx, fmt.Sprintf(`"id": "{http.request.cookie.session}", "require": [{"field": "right%d", "values": ["read", "own-%d"]}],
			"copy_headers": [{"field": "user_id", "header": "X-User-Id"}, {"field": "roles", "header": "X-Roles-%d"}]`, i%rights, i, i))
	}
	var text strings.Builder
	text.WriteString(`{"user_id":"u-1234567","roles":["reader","editor"]`)
	for i := range rights {
		fmt.Fprintf(&text, `,"right%d":"write read"`, i)
	}
	if filler := size - text.Len(); filler > 0 {
		fmt.Fprintf(&text, `,"filler":"%s"`, strings.Repeat("x", filler))
	}
	app.Put(t, "session:user:0123456789abcdef", text.String()+"}")
	return handlers
}

// turn serves a request by the next of the routes.
func turn(t testing.TB, handlers []caddyhttp.MiddlewareHandler) (serve func()) {
	r := lookuptest.Get("/private/report.pdf")
	cookie := []string{"session=0123456789abcdef"}
	at := 0
	admitted := false
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		admitted = r.Header.Get("X-User-Id") == "u-1234567"
		return nil
	})
	w := httptest.NewRecorder()
	return func() {
		clear(w.Header())
		clear(r.Header) // of what the route before has set
		r.Header["Cookie"] = cookie
		r := caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		if err := handlers[at%len(handlers)].ServeHTTP(w, r, next); err != nil || !admitted {
			t.Fatal("the session was not admitted", err)
		}
		at++
	}
}

func TestRoutesThatTakeTurnsAllocateAsOneRouteDoes(t *testing.T) {
	for _, size := range []int{0, 4 << 10} {
		handlers := turnsOf(t, 40, 40, size)
		alone := testing.AllocsPerRun(500, turn(t, handlers[:1]))
		for _, routes := range []int{2, 10, 40} {
			require.InDelta(t, alone, testing.AllocsPerRun(500, turn(t, handlers[:routes])), 1, "%d routes, a session of %d bytes", routes, size)
		}
	}
}

// What a hit costs while routes take turns on a session, beside each route alone:
// alone/turns is the ratio of the two, of blocks of hits that follow each other.
// Run: go test ./handlers/session -run '^$' -bench Turns -benchtime 2000x
func BenchmarkTurns(b *testing.B) {
	for _, session := range []struct{ rights, size int }{{2, 100}, {10, 400}, {10, 10_000}} {
		for _, routes := range []int{2, 10} {
			b.Run(fmt.Sprintf("%d/%d", session.size, routes), func(b *testing.B) {
				handlers := turnsOf(b, routes, session.rights, session.size)
				together := turn(b, handlers)
				var apart []func()
				for i := range handlers {
					apart = append(apart, turn(b, handlers[i:i+1]))
				}
				var alone, turns []time.Duration
				for b.Loop() {
					began := time.Now()
					for i := range blockOfHits {
						apart[i*routes/blockOfHits]()
					}
					middle := time.Now()
					for range blockOfHits {
						together()
					}
					alone, turns = append(alone, middle.Sub(began)), append(turns, time.Since(middle))
				}
				b.ReportMetric(float64(calm(alone))/float64(calm(turns)), "alone/turns")
				b.ReportMetric(float64(calm(turns))/blockOfHits, "ns/hit")
			})
		}
	}
}

const blockOfHits = 100

// calm is the tenth percentile: what the blocks take that nothing else disturbs.
func calm(blocks []time.Duration) time.Duration {
	slices.Sort(blocks)
	return blocks[len(blocks)/10]
}
