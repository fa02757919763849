package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/migrations"
)

// admin is the private listener that every serving process has: figures,
// profiles of the process, its health, and the level of its log. It stops last.
type admin struct {
	app    *App
	server *http.Server
	failed chan error
	// started is set once everything runs.
	started atomic.Bool
	// ready says why the process should get no requests, "" when it should.
	ready func(ctx context.Context) string
}

func newAdmin(a *App) *admin {
	s := &admin{app: a, failed: make(chan error, 1), ready: a.unready}
	a.Metrics.Registry.MustRegister(collectors.NewDBStatsCollector(a.DB.DB, "enrichd"), a.Ledger.Collector())
	a.Dispatch.Measure(a.Metrics)
	mux := http.NewServeMux()
	// Who asks for OpenMetrics gets exemplars too, which the older text format has no place for.
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /log/level", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, strings.ToLower(a.Level.Level().String()))
	})
	mux.HandleFunc("PUT /log/level", s.setLevel)
	health(mux, s.started.Load, func(ctx context.Context) string { return s.ready(ctx) })
	s.server = server(mux)
	s.server.WriteTimeout = 0 // a profile takes as long as it was asked to
	return s
}

// health mounts what orchestrators ask: whether the process lives (which says
// nothing about the database), has started, and wants requests.
func health(mux *http.ServeMux, started func() bool, ready func(ctx context.Context) string) {
	answer := func(w http.ResponseWriter, why string) {
		if why != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, why)
			return
		}
		fmt.Fprintln(w, "ok")
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, "") })
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) {
		if !started() {
			answer(w, "starting")
			return
		}
		answer(w, "")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		answer(w, ready(ctx))
	})
}

// unready says why this process should get no requests: all there is to say, or
// that the database is away, without which nothing else can be known.
func (a *App) unready(ctx context.Context) string {
	if a.DB.PingContext(ctx) != nil {
		return "database away"
	}
	var why []string
	switch pending, err := migrations.PendingOn(ctx, a.DB); {
	case err != nil:
		why = append(why, "the state of the migrations cannot be read")
	case len(pending) > 0:
		why = append(why, "migrations pending: "+strings.Join(pending, ", "))
	}
	if !a.Wake.Listening() {
		why = append(why, "not listening for wake-ups")
	}
	return strings.Join(why, "; ")
}

// setLevel changes the level of the log while the process runs: PUT debug, info, warn or error.
func (s *admin) setLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16))
	if err == nil {
		err = s.app.Level.UnmarshalText([]byte(strings.TrimSpace(string(body))))
	}
	if err != nil {
		http.Error(w, "the level is debug, info, warn or error", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, strings.ToLower(s.app.Level.Level().String()))
}

// Start listens. An address that nobody chose may be taken: the process then goes without.
func (s *admin) Start(ctx context.Context) error {
	addr := s.app.Config.AdminAddr
	if addr == "" || addr == "off" {
		return nil
	}
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
	case s.app.Config.AdminChosen:
		return fmt.Errorf("listen on ENRICHD_ADMIN_ADDR: %w", err)
	default:
		s.app.Log.WarnContext(ctx, "no metrics: the admin address is taken", "addr", addr)
		return nil
	}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return nil
}

// Stop closes the listener.
func (s *admin) Stop(ctx context.Context) error { return s.server.Shutdown(ctx) }

// streamFigures are looked up when somebody asks.
var streamFigures = []metrics.Figure{
	{Name: "ws_connections", Help: "Sockets and event streams that are open.", Kind: metrics.Gauge},
	{Name: "ws_subscriptions", Help: "Subscriptions on them.", Kind: metrics.Gauge},
	{Name: "ws_messages_sent_total", Help: "Messages sent to sockets.", Kind: metrics.Counter},
	{Name: "ws_dropped_total", Help: "Sockets cut because the peer was too slow, or gone.", Kind: metrics.Counter, Labels: []string{"reason"}},
	{Name: "ws_close_total", Help: "Sockets closed, by code; 0 is any that is not usual.", Kind: metrics.Counter, Labels: []string{"code"}},
}
