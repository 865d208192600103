package redis

import (
	"context"
	"errors"
	"strings"

	goredis "github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracerName names the spans' instrumentation.
const tracerName = "github.com/filewallball/caddy-filewallball/cache/redis"

// startSpan begins the span of a round trip. If the trace of ctx is not recorded, there
// is no span and end does nothing. Spans follow OpenTelemetry's conventions for clients
// of databases, and contain neither keys nor values.
func startSpan(ctx context.Context, address func() string, cmds ...goredis.Cmder) (_ context.Context, end func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() || len(cmds) == 0 {
		return ctx, noEnd
	}
	operation := strings.ToUpper(cmds[0].Name())
	attributes := []attribute.KeyValue{
		attribute.String("db.system.name", "redis"), attribute.String("server.address", address()),
	}
	if len(cmds) > 1 {
		for _, cmd := range cmds {
			if !strings.EqualFold(cmd.Name(), operation) {
				operation = ""
				break
			}
		}
		operation = strings.TrimSpace("PIPELINE " + operation)
		attributes = append(attributes, attribute.Int("db.operation.batch.size", len(cmds)))
	}
	attributes = append(attributes, attribute.String("db.operation.name", operation))
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, operation,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		if err != nil && !errors.Is(err, goredis.Nil) && !hasCode(err, "NOSCRIPT") {
			span.SetAttributes(attribute.String("error.type", reasonOf(err)))
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

func noEnd(error) {}
