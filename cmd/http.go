package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

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
	readyTimeout      = 2 * time.Second
)

// api is the public listener.
type api struct {
	app      *App
	graphql  *graph.Server
	rest     *rest.API
	public   *http.Server
	draining atomic.Bool
	// Addr is where the public listener really listens, once started.
	Addr   string
	failed chan error
}

func newAPI(a *App) (*api, error) {
	s := &api{app: a, failed: make(chan error, 1)}
	known, err := operations(a.Config.Operations)
	if err != nil {
		return nil, err
	}
	s.graphql = graph.NewServer(graph.Options{
		Schema: resolvers.NewSchema(&resolvers.Resolver{
			Access: a.Access, Enrichment: a.Enrichment, Billing: a.Ledger, Dispatch: a.Dispatch, Limit: a.Limit,
		}, exec.DirectiveRoot{Auth: graph.Auth}),
		Operations: known, PersistedOnly: a.Config.PersistedOnly,
		Authenticate: s.authenticate, Admit: s.admit, Charge: s.charge, Recheck: a.Access.Ended, Observe: s.operated,
		DrainWindow: a.Config.DrainWindow, Log: a.Log, Dev: a.Config.Dev, AllowedOrigins: a.Config.AllowedOrigins,
	})
	if err := s.graphql.CheckOperations(); err != nil {
		return nil, fmt.Errorf("ENRICHD_GRAPHQL_OPERATIONS: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/graphql", s.graphql)
	s.rest = &rest.API{
		Access: a.Access, Enrichment: a.Enrichment, Billing: a.Ledger, Dispatch: a.Dispatch, Limit: a.Limit,
		Open: openOf(a.Config), Log: a.Log,
	}
	s.rest.Mount(mux)
	health(mux, func() bool { return true }, s.unready) // whoever is heard has started
	s.public = server(s.observed(mux))
	s.measureStreams()
	return s, nil
}

// operations reads the file of GraphQL operations that clients may send by hash alone; none without a path.
func operations(path string) (graph.Operations, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ENRICHD_GRAPHQL_OPERATIONS: %w", err)
	}
	known, err := graph.ParseOperations(b)
	if err != nil {
		return nil, fmt.Errorf("ENRICHD_GRAPHQL_OPERATIONS: %s: %w", path, err)
	}
	return known, nil
}

func server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes}
}

// unready says why this process should get no requests.
func (s *api) unready(ctx context.Context) string {
	if s.draining.Load() {
		return "draining"
	}
	return s.app.unready(ctx)
}

// Start listens. Keys that are revoked anywhere lose their sockets here.
func (s *api) Start(ctx context.Context) error {
	public, err := net.Listen("tcp", s.app.Config.Addr)
	if err != nil {
		return fmt.Errorf("listen on ENRICHD_ADDR: %w", err)
	}
	s.Addr = public.Addr().String()
	s.public.RegisterOnShutdown(s.app.Wake.Notify(s.announced))
	s.public.RegisterOnShutdown(s.app.Wake.Notify(s.rest.Announced))
	go func() {
		if err := s.public.Serve(public); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return nil
}

// Retreat says to load balancers that this process wants no more requests, and
// gives them the time to hear it. Everything works on meanwhile.
func (s *api) Retreat(ctx context.Context) {
	s.draining.Store(true)
	select {
	case <-time.After(s.app.Config.DrainDelay):
	case <-ctx.Done():
	}
}

// Stop ends what is open: event streams are told when to come back and sockets
// are closed over the drain window, so that their clients do not all come back
// at once; then requests under way are answered. What is left when ctx ends is cut off.
func (s *api) Stop(ctx context.Context) error {
	s.draining.Store(true)
	s.rest.Drain()
	err := errors.Join(s.graphql.Shutdown(ctx), s.public.Shutdown(ctx))
	if err != nil {
		err = errors.Join(err, s.public.Close())
	}
	return err
}
