package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/email"
	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/enrichment/source"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/config"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/limit"
	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/service"
	"github.com/enrichd/enrichd/internal/wake"
	"github.com/enrichd/enrichd/migrations"
	"github.com/enrichd/enrichd/rest"
)

// App is everything wired together: what commands and servers work with.
type App struct {
	Config     *config.Config
	Log        *slog.Logger
	Level      *slog.LevelVar // of Log; changes while the process runs
	Metrics    *metrics.Metrics
	DSN        string
	DB         *bun.DB
	Box        *seal.Box
	Wake       *wake.Postgres
	Access     *access.Service
	Limit      *limit.Limiter // nil: no limits
	Ledger     *billing.Ledger
	Dispatch   *dispatch.Service
	Enrichment *enrichment.Service

	inserter *jobs.Inserter
	egress   egress.Policy
	closers  []func() error
}

// newApp opens the database, migrates it, and makes the services. It starts no
// worker and no listener. Close it.
func newApp(ctx context.Context, c *config.Config, hold holdTime, log *slog.Logger) (a *App, err error) {
	a = &App{Config: c, Log: log, Level: new(slog.LevelVar), Metrics: metrics.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
			a = nil
		}
	}()
	dsn, stop, err := openDatabase(ctx, c, hold, log)
	if err != nil {
		return a, err
	}
	a.DSN = dsn
	a.closers = append(a.closers, stop)
	if err := migrations.Up(ctx, dsn, log, a.connect()...); err != nil {
		return a, err
	}
	conns := c.DBConns
	if hold == forCommand {
		conns = min(conns, 4)
	}
	if a.DB, err = pg.Open(dsn, conns, a.connect()...); err != nil {
		return a, err
	}
	a.closers = append(a.closers, a.DB.Close)
	if a.Box, err = openBox(ctx, c, a.DB); err != nil {
		return a, err
	}
	a.egress = egress.Policy{
		Allow: c.EgressAllow, Ports: c.EgressPorts, Resolver: c.DNSServer,
		UserAgent: "enrichd/" + Version + " (+" + c.ContactURL + ")",
	}
	a.Wake = wake.NewPostgres(dsn, log)
	a.Wake.Connect = a.connect()
	if a.inserter, err = jobs.NewInserter(a.DB, a.Wake, log); err != nil {
		return a, err
	}
	a.Access = &access.Service{DB: a.DB, Box: a.Box, Wake: a.Wake, Log: log, Proxies: c.TrustedProxies, Failures: c.AuthFailures, Metrics: a.Metrics}
	if a.Access.Peppers, err = access.ParsePeppers(string(c.KeyPeppers)); err != nil {
		return a, fmt.Errorf("ENRICHD_KEY_PEPPERS: %w", err)
	}
	if c.RateLimits {
		a.Limit = &limit.Limiter{DB: a.DB, Log: log, Rejected: func(b limit.Bucket) { a.Metrics.Limited(string(b)) }}
	}
	a.Ledger = &billing.Ledger{DB: a.DB, Log: log, Grace: c.InvoiceGrace, Metrics: a.Metrics}
	if c.LedgerChain {
		if err := a.Ledger.Chain(ctx); err != nil {
			return a, err
		}
	}
	hooks := a.egress
	hooks.AllowHTTP = c.WebhookHTTP
	outbound := egress.NewClient(hooks, egress.ForWebhook)
	a.closers = append(a.closers, func() error { outbound.Close(); return nil })
	a.Dispatch = &dispatch.Service{
		DB: a.DB, Box: a.Box, Jobs: a.inserter, Metrics: a.Metrics, Egress: outbound, Wake: a.Wake, Log: log,
		Config: dispatchConfig(c),
	}
	a.Ledger.Dispatch = a.Dispatch
	a.Enrichment = &enrichment.Service{
		DB: a.DB, Ledger: a.Ledger, Dispatch: a.Dispatch, Jobs: a.inserter, Wake: a.Wake, Box: a.Box, Log: log, Metrics: a.Metrics,
		Feed: &enrichment.Feed{DB: a.DB, Wake: a.Wake, Log: log, Metrics: a.Metrics}, Render: openOf(c).RenderResults,
	}
	return a, nil
}

// openOf are the configured readings of what the older contract leaves open.
func openOf(c *config.Config) rest.Open {
	return rest.Open{
		FailedRunFails: c.FailedRunFails, LimitEnvelope: c.LimitEnvelope,
		MinutesPerCredit: c.MinutesPerCredit, MinutesCompanies: c.MinutesCompanies, CostKey: c.CostKey,
	}
}

// connect is how connections to the database are made.
func (a *App) connect() []pg.Option {
	return []pg.Option{pg.AllowInsecure(a.Config.DBAllowInsecure)}
}

// Close gives back what newApp opened, last first.
func (a *App) Close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// openBox makes the box of secrets from the configured master key, or from one
// that the server made itself and keeps in its database, so that all nodes agree.
func openBox(ctx context.Context, c *config.Config, db *bun.DB) (*seal.Box, error) {
	key, err := access.Store{}.MasterKey(ctx, db, seal.NewKey())
	if c.MasterKey != "" {
		key, err = seal.ParseKey(string(c.MasterKey))
	}
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return seal.New(key)
}

// roles are what one process does.
type roles struct{ api, enrich, dispatch bool }

// background makes what runs until the process stops, in the order to start it.
func (a *App) background(ctx context.Context, r roles) ([]service.Service, error) {
	services := []service.Service{a.Wake, a.Enrichment.Feed}
	if !r.enrich && !r.dispatch {
		return services, nil
	}
	settler := &enrichment.Settler{Service: a.Enrichment, Log: a.Log}
	workers := river.NewWorkers()
	periodic := a.Ledger.AddWorkers(workers, settler.Runs())
	wc := jobs.WorkerConfig{NodeID: nodeID(), Log: a.Log}
	if r.enrich {
		live, err := a.liveRunner()
		if err != nil {
			return nil, err
		}
		river.AddWorker(workers, &enrichment.ProfileWorker{
			Service: a.Enrichment, Settler: settler, Live: live, Sandbox: a.sandboxRunner(), Log: a.Log,
		})
		river.AddWorker(workers, &enrichment.SweepWorker{Service: a.Enrichment, Settler: settler})
		river.AddWorker(workers, &enrichment.RetentionWorker{Service: a.Enrichment})
		periodic = append(periodic, enrichment.Periodic()...)
		wc.EnrichWorkers = a.Config.EnrichWorkers
	}
	if r.dispatch {
		river.AddWorker(workers, &dispatch.DeliveryWorker{Service: a.Dispatch})
		river.AddWorker(workers, &dispatch.ResumeWorker{Service: a.Dispatch})
		river.AddWorker(workers, &dispatch.UpkeepWorker{Service: a.Dispatch})
		periodic = append(periodic, river.NewPeriodicJob(river.PeriodicInterval(dispatch.UpkeepEvery),
			func() (river.JobArgs, *river.InsertOpts) { return dispatch.UpkeepArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true}))
		wc.WebhookWorkers = a.Config.WebhookWorkers
	}
	wc.Periodic = periodic
	pool, err := pg.OpenPool(ctx, a.DSN, workerConns, a.connect()...)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, closePool(pool))
	worker, err := jobs.NewWorker(pool, workers, wc)
	if err != nil {
		return nil, err
	}
	node := &jobs.Node{ID: wc.NodeID, DSN: a.DSN, Connect: a.connect(), Worker: worker, Log: a.Log}
	// The worker stops before the settler, which still writes what its last jobs hand over.
	return append(services, settler, node, worker), nil
}

// workerConns is the pool that River works on.
const workerConns = 12

func closePool(pool *pgxpool.Pool) func() error {
	return func() error { pool.Close(); return nil }
}

func nodeID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), uuid.NewString()[:8])
}

// liveRunner works with the enabled sources.
func (a *App) liveRunner() (*pipeline.Runner, error) {
	tokens := map[string]string{}
	for name, key := range a.Config.SourceKeys {
		tokens[name] = string(key)
	}
	var enabled []string
	for _, name := range a.Config.Sources {
		if !slices.Contains(source.Names, name) {
			a.Log.Warn("this source has no connector yet and is left out", "source", name)
			continue
		}
		enabled = append(enabled, name)
	}
	set, err := source.New(source.Config{
		Enabled: enabled, URLs: a.Config.SourceURLs, Tokens: tokens, Contact: a.Config.ContactURL,
		Policy: a.egress, RobotsToken: "enrichd", CrawlRate: a.Config.CrawlRate,
	})
	if err != nil {
		return nil, err
	}
	cancel := a.Wake.Notify(func(ids []string) {
		if ids == nil || slices.Contains(ids, enrichment.ErasedTopic) {
			set.Forget()
		}
	})
	a.closers = append(a.closers, func() error { cancel(); set.Close(); return nil })
	return a.runner(set.Sources, &email.Verifier{DNS: egress.NewClient(a.egress, egress.ForAPI).Resolver()}), nil
}

// sandboxRunner plays the reserved profiles for test keys, without a network.
func (a *App) sandboxRunner() *pipeline.Runner {
	r := a.runner(source.Sandbox(), source.SandboxVerifier{})
	r.Prepare = source.SandboxInput
	return r
}

func (a *App) runner(sources []pipeline.Source, verifier pipeline.Verifier) *pipeline.Runner {
	return &pipeline.Runner{
		Sources: sources, Verifier: verifier, Identify: extract.Identify, Now: func() time.Time { return time.Now().UTC() },
		OnPanic: func(where, detail string) { a.Log.Error("recovered", "where", where, "panic", detail) },
	}
}
