package spans

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// kept is an exporter whose spans outlive its shutdown.
type kept struct{ *tracetest.InMemoryExporter }

func (kept) Shutdown(context.Context) error { return nil }

func TestSpans(t *testing.T) {
	// Off, everything works and nothing is said.
	ctx, end := Begin(t.Context(), "nothing", slog.String("run_id", "r"))
	end(errors.New("x"))
	var out bytes.Buffer
	log := slog.New(Handler(slog.NewTextHandler(&out, nil)))
	log.InfoContext(ctx, "hello")
	if strings.Contains(out.String(), "trace_id") {
		t.Errorf("a trace without tracing: %s", out.String())
	}

	if id := TraceID(ctx); id != "" {
		t.Errorf("a trace without tracing: %s", id)
	}

	exporter := kept{tracetest.NewInMemoryExporter()}
	stop := StartWith(exporter, "test")
	r := httptest.NewRequest("GET", "/secret/path?secret=query", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx, done := Server(r)
	if id := TraceID(ctx); id != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the trace is %s", id)
	}
	Name(ctx, "query")
	Note(ctx, slog.Int("n", 7), slog.Duration("took", time.Second))
	inner, end := Begin(ctx, "profile", slog.String("run_id", "enr_1"))
	log.With("a", 1).WithGroup("g").InfoContext(inner, "hello")
	end(errors.New("secret text"))
	Past(ctx, "subscription", time.Second)
	done("/graphql", "GET", 500)
	if err := stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "trace_id=0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("the caller's trace does not go on: %s", out.String())
	}
	said := fmt.Sprintf("%+v", exporter.GetSpans())
	for _, wanted := range []string{"Name:query", "Name:profile", "Name:subscription", "enr_1", "took_ms", "/graphql"} {
		if !strings.Contains(said, wanted) {
			t.Errorf("%s is not among %s", wanted, said)
		}
	}
	if strings.Contains(said, "secret") {
		t.Errorf("a span holds what is a caller's: %s", said)
	}
}
