package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/exec"
	"github.com/enrichd/enrichd/resolvers"
	"github.com/enrichd/enrichd/rest"
)

// Bounds of the listeners (edge.md section 4).
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 16 << 10
	drainTime         = 25 * time.Second
	readyTimeout      = 2 * time.Second
)

// api is the public listener and the private one beside it.
type api struct {
	app      *App
	graphql  *graph.Server
	rest     *rest.API
	public   *http.Server
	admin    *http.Server
	draining atomic.Bool
	// Addr is where the public listener really listens, once started.
	Addr   string
	failed chan error
}

func newAPI(a *App) *api {
	s := &api{app: a, failed: make(chan error, 2)}
	s.graphql = graph.NewServer(graph.Options{
		Schema: resolvers.NewSchema(&resolvers.Resolver{
			Access: a.Access, Enrichment: a.Enrichment, Billing: a.Ledger, Dispatch: a.Dispatch, Limit: a.Limit,
		}, exec.DirectiveRoot{Auth: graph.Auth}),
		Authenticate: s.authenticate, Admit: s.admit, Charge: s.charge, Recheck: a.Access.Ended, Log: a.Log, Dev: a.Config.Dev, AllowedOrigins: a.Config.AllowedOrigins,
	})
	mux := http.NewServeMux()
	mux.Handle("/graphql", s.graphql)
	s.rest = &rest.API{
		Access: a.Access, Enrichment: a.Enrichment, Billing: a.Ledger, Dispatch: a.Dispatch, Limit: a.Limit,
		Open: openOf(a.Config), Log: a.Log,
	}
	s.rest.Mount(mux)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	s.public = server(mux)

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewDBStatsCollector(a.DB.DB, "enrichd"), a.Ledger.Collector())
	private := http.NewServeMux()
	private.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	s.admin = server(private)
	return s
}

func server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes}
}

func (s *api) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	why := ""
	switch {
	case s.draining.Load():
		why = "draining"
	case s.app.DB.PingContext(ctx) != nil:
		why = "database away"
	case !s.app.Wake.Listening():
		why = "not listening for wake-ups"
	}
	if why != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, why)
		return
	}
	fmt.Fprintln(w, "ok")
}

// Start listens. Keys that are revoked anywhere lose their sockets here.
func (s *api) Start(ctx context.Context) error {
	public, err := net.Listen("tcp", s.app.Config.Addr)
	if err != nil {
		return fmt.Errorf("listen on ENRICHD_ADDR: %w", err)
	}
	s.Addr = public.Addr().String()
	if addr := s.app.Config.AdminAddr; addr != "" && addr != "off" {
		admin, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			go s.serve(s.admin, admin)
		case s.app.Config.AdminChosen:
			public.Close()
			return fmt.Errorf("listen on ENRICHD_ADMIN_ADDR: %w", err)
		default:
			s.app.Log.WarnContext(ctx, "no metrics: the admin address is taken", "addr", addr)
		}
	}
	s.public.RegisterOnShutdown(s.app.Wake.Notify(s.announced))
	s.public.RegisterOnShutdown(s.app.Wake.Notify(s.rest.Announced))
	go s.serve(s.public, public)
	return nil
}

func (s *api) serve(server *http.Server, l net.Listener) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- err
	}
}

// Stop drains: not ready first, then sockets, then requests under way.
func (s *api) Stop(ctx context.Context) error {
	s.draining.Store(true)
	if d := s.app.Config.DrainDelay; d > 0 {
		time.Sleep(d)
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	s.rest.Drain()
	return errors.Join(s.graphql.Shutdown(ctx), s.public.Shutdown(ctx), s.admin.Shutdown(ctx))
}
