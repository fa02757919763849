package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/graph"
	gen "github.com/enrichd/enrichd/graph/exec"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/wake"
	"github.com/enrichd/enrichd/resolvers"
)

// serveArg makes the bench's own program a GraphQL server, so that what is
// measured of a server holds nothing of its clients: `bench serve ours|stock DSN COMPANY`.
const serveArg = "serve"

// edge is such a server, seen from its parent.
type edge struct {
	cmd  *exec.Cmd
	addr string
}

func startEdge(ctx context.Context, kind, dsn, company string) (*edge, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &edge{cmd: exec.CommandContext(ctx, self, serveArg, kind, dsn, company)}
	e.cmd.Stderr = os.Stderr
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	line := make([]byte, 100)
	n, err := out.Read(line)
	if err != nil {
		return nil, fmt.Errorf("the %s server does not start: %w", kind, err)
	}
	e.addr = strings.TrimSpace(string(line[:n]))
	return e, nil
}

func (e *edge) stop() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

// usage is what a server holds.
type usage struct {
	RSS        int64 // bytes, after a collection whose pages were given back
	Grown      int64 // bytes, before it
	Goroutines int
}

func (e *edge) usage() (u usage, err error) {
	res, err := http.Get("http://" + e.addr + "/usage")
	if err != nil {
		return u, err
	}
	defer res.Body.Close()
	return u, json.NewDecoder(res.Body).Decode(&u)
}

// serveEdge runs one server until the process is killed.
func serveEdge(ctx context.Context, kind, dsn, company string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := pg.Open(dsn, 10)
	if err != nil {
		return err
	}
	waker := wake.NewPostgres(dsn, log)
	if err := waker.Start(ctx); err != nil {
		return err
	}
	feed := &enrichment.Feed{DB: db, Wake: waker, Log: log}
	if err := feed.Start(ctx); err != nil {
		return err
	}
	schema := gen.NewExecutableSchema(gen.Config{
		Resolvers:  &resolvers.Resolver{Enrichment: &enrichment.Service{DB: db, Wake: waker, Feed: feed, Log: log}},
		Directives: gen.DirectiveRoot{Auth: graph.Auth},
	})
	who := &access.Principal{Company: access.Company{ID: company}, Key: access.Key{ID: "bench", CompanyID: company, Scopes: []access.Scope{access.EnrichRead}}}
	mux := http.NewServeMux()
	mux.Handle("/graphql", edgeOf(kind, schema, who, log))
	mux.HandleFunc("/usage", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(measureSelf()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, mux)
}

// edgeOf is the product's server, or the one that gqlgen brings along, over the same schema and services.
func edgeOf(kind string, schema graphql.ExecutableSchema, who *access.Principal, log *slog.Logger) http.Handler {
	if kind == "stock" {
		s := handler.New(schema)
		s.AddTransport(transport.Websocket{
			KeepAlivePingInterval: 20 * time.Second,
			InitFunc: func(ctx context.Context, _ transport.InitPayload) (context.Context, *transport.InitPayload, error) {
				return access.With(ctx, who), nil, nil
			},
		})
		s.AddTransport(transport.POST{})
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.ServeHTTP(w, r.WithContext(access.With(r.Context(), who)))
		})
	}
	return graph.NewServer(graph.Options{
		Schema: schema, Log: log, Sockets: graph.Sockets{MaxPerCompany: 1 << 20},
		Authenticate: func(ctx context.Context, _ string, _ *http.Request) (context.Context, error) {
			return access.With(ctx, who), nil
		},
	})
}

func measureSelf() (u usage) {
	u.Goroutines, u.Grown = runtime.NumGoroutine(), rss()
	runtime.GC() // twice, for the pools keep what they hold over one
	debug.FreeOSMemory()
	u.RSS = rss()
	return u
}

// rss is the resident set of this process in bytes.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			n, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			return n << 10
		}
	}
	return 0
}
