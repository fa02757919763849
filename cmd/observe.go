package cmd

import (
	"bufio"
	"context"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/internal/spans"
	"github.com/enrichd/enrichd/internal/trail"
)

// observed writes one wide line, one measurement and one span about every
// request that next answers. Nothing of the request itself is in them but its
// method and the pattern that its path matched.
func (s *api) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, end := spans.Server(r)
		ctx, line := trail.Begin(ctx)
		r = r.WithContext(ctx)
		rec := &recorder{ResponseWriter: w}
		defer func() {
			route, method := routeOf(r.Pattern), methodOf(r.Method)
			traceID := spans.TraceID(ctx)
			end(route, method, rec.status())
			took := time.Since(began)
			measured := took
			if media, _, _ := mime.ParseMediaType(w.Header().Get("Content-Type")); media == "text/event-stream" {
				measured = rec.answered.Sub(began) // how long it lasts is the client's choice
			}
			s.app.Metrics.Request(route, method, strconv.Itoa(rec.status()), traceID, measured)
			level := slog.LevelInfo
			switch {
			case rec.status() >= http.StatusInternalServerError:
				level = slog.LevelWarn
			case strings.HasSuffix(route, "z"): // /livez, /readyz, /startupz
				level = slog.LevelDebug
			}
			s.app.Log.LogAttrs(ctx, level, "request", append([]slog.Attr{
				slog.String("request_id", w.Header().Get("X-Request-Id")), slog.String("route", route), slog.String("method", method),
				slog.Int("status", rec.status()), slog.Int64("bytes", rec.bytes), slog.Float64("millis", millis(took)),
			}, line.End()...)...)
		}()
		next.ServeHTTP(rec, r)
	})
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// routeOf is the path of a ServeMux pattern, "other" when none matched.
func routeOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	if pattern == "" {
		return "other"
	}
	return pattern
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// methodOf keeps callers from making labels.
func methodOf(m string) string {
	if slices.Contains(methods, m) {
		return m
	}
	return "other"
}

// recorder notes status and size of an answer. http.ResponseController finds the writer below it.
type recorder struct {
	http.ResponseWriter
	code     int
	bytes    int64
	answered time.Time
}

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && code >= 200 {
		r.code, r.answered = code, time.Now()
	}
	if code == http.StatusRequestEntityTooLarge {
		// http.MaxBytesReader would say so itself, if it could see through this writer.
		r.Header().Set("Connection", "close")
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code, r.answered = http.StatusOK, time.Now()
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack implements http.Hijacker: the connection becomes a socket.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.code = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// operated notes a GraphQL operation: in the line of its request, or, on a
// socket, whose request ended long ago, in one of its own.
func (s *api) operated(ctx context.Context, o graph.Observation) {
	name := o.Name
	if name == "" {
		name = "other" // what callers call their operations is theirs
	}
	switch o.Outcome {
	case graph.OutcomeRejected:
		s.app.Metrics.Rejected(o.Reason())
	case graph.OutcomeStarted:
	default:
		s.app.Metrics.Operation(o.Type, name, o.Outcome, o.Took)
	}
	attrs := []slog.Attr{slog.String("graphql_outcome", o.Outcome), slog.Int64("graphql_cost", o.Cost)}
	if o.Type != "" {
		attrs = append(attrs, slog.String("graphql_type", o.Type), slog.String("graphql_name", name))
	}
	if o.Code != "" {
		attrs = append(attrs, slog.String("graphql_code", o.Code))
	}
	about := []slog.Attr{slog.String("graphql.operation.type", o.Type), slog.String("graphql.operation.name", name), slog.String("graphql.outcome", o.Outcome)}
	if trail.Add(ctx, attrs...) {
		if o.Type != "" {
			spans.Name(ctx, o.Type)
		}
		spans.Note(ctx, about...)
		return
	}
	if o.Type != "" {
		spans.Past(ctx, o.Type, o.Took, about...)
	}
	attrs = append(attrs, slog.String("request_id", graph.RequestID(ctx)), slog.Float64("millis", millis(o.Took)))
	if p := access.From(ctx); p != nil {
		attrs = append(attrs, slog.String("company_id", p.Company.ID), slog.String("key_id", p.Key.ID))
	}
	s.app.Log.LogAttrs(ctx, slog.LevelInfo, "operation", attrs...)
}

// measureStreams publishes how many sockets there are, and what became of them.
func (s *api) measureStreams() {
	s.app.Metrics.Sample(streamFigures, 0, func(emit metrics.Emit) {
		f := s.graphql.Figures()
		emit("ws_connections", float64(f.Connections))
		emit("ws_subscriptions", float64(f.Subscriptions))
		emit("ws_messages_sent_total", float64(f.Sent))
		for reason, n := range f.Dropped {
			emit("ws_dropped_total", float64(n), reason)
		}
		for code, n := range f.Closes {
			emit("ws_close_total", float64(n), strconv.Itoa(code))
		}
	})
}
