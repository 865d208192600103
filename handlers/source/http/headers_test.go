package httpsource

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/filewallball/caddy-filewallball/cache"
)

// recorded is a span of a trace that is recorded.
type recorded struct {
	noop.Span
	context trace.SpanContext
}

func (r recorded) IsRecording() bool                    { return true }
func (r recorded) SpanContext() trace.SpanContext       { return r.context }
func (r recorded) TracerProvider() trace.TracerProvider { return recorder{of: r} }

// recorder makes spans in a span, with the ID after its own.
type recorder struct {
	noop.TracerProvider
	of recorded
}

func (r recorder) Tracer(string, ...trace.TracerOption) trace.Tracer { return recording{of: r.of} }

type recording struct {
	noop.Tracer
	of recorded
}

func (r recording) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	id := r.of.context.SpanID()
	id[0]++
	span := recorded{context: r.of.context.WithSpanID(id)}
	return trace.ContextWithSpan(ctx, span), span
}

// Where a request has a trace, the application sees it.
func TestApplicationSeesTheTraceOfTheRequest(t *testing.T) {
	t.Parallel()
	sampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	for name, test := range map[string]struct {
		ctx  context.Context
		want []string
	}{
		"no trace":     {t.Context(), nil},
		"not sampled":  {trace.ContextWithSpanContext(t.Context(), sampled.WithTraceFlags(0)), []string{"00-01000000000000000000000000000000-0200000000000000-00"}},
		"not recorded": {trace.ContextWithSpanContext(t.Context(), sampled), []string{"00-01000000000000000000000000000000-0200000000000000-01"}},
		"recorded":     {trace.ContextWithSpan(t.Context(), recorded{context: sampled}), []string{"00-01000000000000000000000000000000-0300000000000000-01"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := listen(t)
			h := provisioned(t, &Source{URL: to.url}, "{cookie.sid}")
			_, err := h.Load(test.ctx, cache.Request{Key: "k", ID: "token"}, nil)
			require.NoError(t, err)
			require.Equal(t, test.want, to.take()[0].Header.Values("Traceparent"))
		})
	}
}
