// Package spans traces what the program does, with OpenTelemetry. It is off
// until Start: then every call costs next to nothing. Spans hold ids and words of
// our own only: no path, no query, no address, no document, no variable.
package spans

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/enrichd/enrichd"

// Start sends spans to the OTLP/HTTP endpoint that the standard variables name
// (OTEL_EXPORTER_OTLP_ENDPOINT and its companions), until stop, which flushes. It replaces the process's tracer.
func Start(ctx context.Context, version string) (stop func(context.Context) error, err error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return StartWith(exporter, version), nil
}

// StartWith is Start with an exporter of the caller's.
func StartWith(exporter sdk.SpanExporter, version string) (stop func(context.Context) error) {
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "enrichd"), attribute.String("service.version", version),
		)),
	)
	otel.SetTracerProvider(provider)
	return provider.Shutdown
}

// Begin opens a span under ctx's. name is a word of ours; attrs are ids and such.
// end closes it: an error marks it as failed, without the error's text, which may hold anything.
func Begin(ctx context.Context, name string, attrs ...slog.Attr) (_ context.Context, end func(error)) {
	ctx, span := otel.Tracer(scope).Start(ctx, name)
	Note(ctx, attrs...)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Past writes the span of what has taken the time until now.
func Past(ctx context.Context, name string, took time.Duration, attrs ...slog.Attr) {
	ctx, span := otel.Tracer(scope).Start(ctx, name, trace.WithTimestamp(time.Now().Add(-took)))
	Note(ctx, attrs...)
	span.End()
}

// Note adds attributes to ctx's span.
func Note(ctx context.Context, attrs ...slog.Attr) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	for _, a := range attrs {
		switch a.Value.Kind() {
		case slog.KindInt64:
			span.SetAttributes(attribute.Int64(a.Key, a.Value.Int64()))
		case slog.KindBool:
			span.SetAttributes(attribute.Bool(a.Key, a.Value.Bool()))
		case slog.KindDuration:
			span.SetAttributes(attribute.Int64(a.Key+"_ms", a.Value.Duration().Milliseconds()))
		default:
			span.SetAttributes(attribute.String(a.Key, a.Value.String()))
		}
	}
}

// Name renames ctx's span.
func Name(ctx context.Context, name string) { trace.SpanFromContext(ctx).SetName(name) }

// TraceID is the id of ctx's trace, when this process sends it somewhere; "" otherwise.
func TraceID(ctx context.Context) string {
	span := trace.SpanFromContext(ctx)
	if c := span.SpanContext(); span.IsRecording() && c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}

// Server opens the span of a request, which continues the caller's trace (W3C
// Trace Context) when it sent one; end closes it with the pattern that matched,
// the method and the status.
func Server(r *http.Request) (_ context.Context, end func(route, method string, status int)) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := otel.Tracer(scope).Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(route, method string, status int) {
		span.SetAttributes(attribute.String("http.route", route), attribute.String("http.request.method", method),
			attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Handler adds trace_id and span_id to log lines that are written inside a span.
func Handler(next slog.Handler) slog.Handler { return handler{next} }

type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		r.AddAttrs(slog.String("trace_id", c.TraceID().String()), slog.String("span_id", c.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// FlushWithin bounds what Start's stop may take at the end of a process.
const FlushWithin = 3 * time.Second
