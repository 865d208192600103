package httpsource

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/filewallball/caddy-filewallball/handlers/version"
)

// startSpan begins the span of a request to the application, where ctx is of a
// trace that is recorded; else end does nothing. The application gets the trace,
// recorded or not, in the header traceparent. Spans follow OpenTelemetry's
// conventions for clients of HTTP, without the URL, which may hold an identity.
func startSpan(ctx context.Context, r *http.Request) (end func(*http.Response, error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		if parent.SpanContext().IsValid() {
			propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
		}
		return func(*http.Response, error) {}
	}
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Hostname()),
	}
	if port, err := strconv.Atoi(r.URL.Port()); err == nil {
		attributes = append(attributes, attribute.Int("server.port", port))
	}
	ctx, span := parent.TracerProvider().Tracer(version.Module).Start(ctx, r.Method,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	return func(resp *http.Response, err error) {
		switch {
		case err != nil:
			span.SetStatus(codes.Error, "no answer")
		case resp.StatusCode >= http.StatusBadRequest:
			span.SetStatus(codes.Error, "")
			fallthrough
		default:
			span.SetAttributes(attribute.Int("http.response.status_code", resp.StatusCode))
		}
		span.End()
	}
}
