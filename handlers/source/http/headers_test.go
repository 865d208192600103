package httpsource

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Where tracing is on, the application sees the trace of the request.
func TestApplicationSeesTheTraceOfTheRequest(t *testing.T) {
	t.Parallel()
	to := listen(t)
	h := provisioned(t, &Source{URL: to.url}, "{cookie.sid}")
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	_, err := h.Load(trace.ContextWithSpanContext(t.Context(), span), cache.Request{Key: "k", ID: "token"}, nil)
	require.NoError(t, err)
	require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-01", to.take()[0].Header.Get("Traceparent"))
}
