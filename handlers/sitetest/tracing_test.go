package sitetest_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// receiver takes traces as an OpenTelemetry collector does.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := new(receiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body io.Reader = req.Body
		if req.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(req.Body)
		}
		content, err := io.ReadAll(body)
		var export collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(content, &export) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// find finds spans by name.
func (r *receiver) find(name string) (found []*tracepb.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, span := range r.spans {
		if span.Name == name {
			found = append(found, span)
		}
	}
	return found
}

func attributesOf(span *tracepb.Span) map[string]string {
	attributes := make(map[string]string)
	for _, a := range span.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	return attributes
}

func TestALookupIsASpanWithItsRoundTripsAndItsRequestToTheSource(t *testing.T) {
	to := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", to.URL+"/v1/traces")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
	server, app := redistest.Start(t), sitetest.NewApplication(t)
	s := sitetest.Serve(t, "order tracing first\nfilewallball {\nredis "+server.Addr()+"\n}", `
		tracing {
			span site
		}
		session_lookup {header.X-Token} {
			source http `+app.URL+`
			name members
		}
		respond hi`)
	require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "s3cret1").Status)
	require.Equal(t, http.StatusOK, s.Get(t, "/", "X-Token", "s3cret1").Status)
	require.Eventually(t, func() bool { return len(to.find("session_lookup")) == 2 && len(to.find("site")) == 2 }, 10*time.Second, 10*time.Millisecond)

	first, second := to.find("session_lookup")[0], to.find("session_lookup")[1]
	require.Equal(t, map[string]string{
		"filewallball.family": "session", "filewallball.route": "members",
		"filewallball.outcome": "miss", "filewallball.hit": "", "filewallball.from": "http",
	}, attributesOf(first))
	require.Equal(t, "hit", attributesOf(second)["filewallball.outcome"])
	require.Contains(t, []string{"near", "redis"}, attributesOf(second)["filewallball.from"])

	asked := to.find("GET")
	require.Len(t, asked, 1)
	require.Equal(t, first.SpanId, asked[0].ParentSpanId)
	require.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, asked[0].Kind)
	require.Equal(t, "GET", attributesOf(asked[0])["http.request.method"])
	trips := 0
	to.mu.Lock()
	defer to.mu.Unlock()
	for _, span := range to.spans {
		if a := attributesOf(span); a["db.system.name"] == "redis" {
			require.Equal(t, server.Addr(), a["server.address"])
			require.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, span.Kind)
			trips++
		}
		require.NotContains(t, span.String(), "s3cret", "no span has an identity")
	}
	require.NotZero(t, trips)
}
