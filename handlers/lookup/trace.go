package lookup

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/version"
)

// Find finds the record of a request. If the request belongs to a trace that is recorded
// (Caddy's tracing), the lookup is a span of it, named after the directive. Spans have no
// identity and no key.
func (l *Lookup) Find(ctx context.Context, req cache.Request) cache.Result {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return l.records.Find(ctx, req)
	}
	ctx, span := parent.TracerProvider().Tracer(version.Module).Start(ctx, l.kind.Directive, trace.WithAttributes(
		attribute.String("filewallball.family", l.kind.Family),
		attribute.String("filewallball.route", l.records.Name()),
	))
	defer span.End()
	r := l.records.Find(ctx, req)
	from := r.From
	if !r.Hit && l.source != nil {
		from = l.source.Name()
	}
	span.SetAttributes(
		attribute.String("filewallball.outcome", string(r.Outcome)),
		attribute.Bool("filewallball.hit", r.Hit),
		attribute.String("filewallball.from", from),
	)
	if r.Outcome == cache.OutcomeError {
		span.SetStatus(codes.Error, "lookup failed")
	}
	return r
}
