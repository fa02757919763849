package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
	"github.com/enrichd/enrichd/rest"
)

const (
	accounts = 1000
	callers  = 16
	rounds   = 9
	window   = 2 * time.Second
	perRun   = 10
)

// house is the product's services on one database, and companies to act for.
type house struct {
	db      *bun.DB
	pool    *pgxpool.Pool
	service *enrichment.Service
	wake    *wake.Postgres
	log     *slog.Logger
	tenants []tenant
}

type tenant struct {
	ctx      context.Context
	company  string
	key      string
	account  string
	profiles []string
}

func newHouse(ctx context.Context, dsn string, companies int) (*house, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := pg.Open(dsn, 20)
	if err != nil {
		return nil, err
	}
	pool, err := pg.OpenPool(ctx, dsn, callers+4)
	if err != nil {
		return nil, err
	}
	box, err := seal.New(seal.NewKey())
	if err != nil {
		return nil, err
	}
	h := &house{db: db, pool: pool, log: log, wake: wake.NewPostgres(dsn, log)}
	inserter, err := jobs.NewInserter(db, h.wake, log)
	if err != nil {
		return nil, err
	}
	h.service = &enrichment.Service{
		DB: db, Ledger: &billing.Ledger{DB: db, Log: log}, Jobs: inserter, Wake: h.wake, Box: box, Log: log,
		Dispatch: &dispatch.Service{DB: db, Box: box, Jobs: inserter, Log: log}, Render: rest.Open{}.RenderResults,
	}
	if err := h.wake.Start(ctx); err != nil {
		return nil, err
	}
	who := &access.Service{DB: db, Box: box, Wake: h.wake}
	for i := range companies {
		t, err := h.tenant(ctx, who, i)
		if err != nil {
			return nil, err
		}
		h.tenants = append(h.tenants, t)
	}
	return h, nil
}

func (h *house) tenant(ctx context.Context, who *access.Service, i int) (t tenant, err error) {
	var company *access.Company
	err = pg.InTx(ctx, h.db, func(ctx context.Context, tx bun.Tx) error {
		if company, err = who.CreateCompany(ctx, tx, fmt.Sprintf("Company %d", i), "none"); err != nil {
			return err
		}
		return h.service.Ledger.OpenAccount(ctx, tx, company.ID, billing.Prepaid, nil)
	})
	if err != nil {
		return t, err
	}
	if _, _, err = h.service.Ledger.Grant(ctx, billing.Grant{
		CompanyID: company.ID, Credits: 1_000_000_000, Kind: billing.KindGrant, Memo: "bench", Actor: "bench", Key: "bench",
	}); err != nil {
		return t, err
	}
	account, err := h.service.Ledger.Account(ctx, company.ID)
	if err != nil {
		return t, err
	}
	key := access.Key{ID: "bench", CompanyID: company.ID, Scopes: access.Scopes}
	t = tenant{ctx: access.With(ctx, &access.Principal{Company: *company, Key: key}), company: company.ID, key: key.ID, account: account.ID}
	rows := make([]enrichment.ImportRow, perRun)
	for n := range rows {
		rows[n].Input = enrichment.ProfileInput{ExternalID: fmt.Sprint(n), Name: "Ada Lindqvist"}
	}
	im, err := h.service.Import(t.ctx, "bench", rows)
	if err != nil {
		return t, err
	}
	for _, p := range im.Profiles {
		t.profiles = append(t.profiles, p.ID)
	}
	return t, nil
}

func (h *house) close(ctx context.Context) {
	h.wake.Stop(ctx)
	h.pool.Close()
	h.db.Close()
}

// hammer lets n callers do f until the window is over, and returns how many calls were done a second.
func hammer(ctx context.Context, n int, window time.Duration, f func(ctx context.Context, caller, turn int) (int64, error)) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var done int64
	began := time.Now()
	for c := range n {
		wg.Go(func() {
			for turn := 0; time.Since(began) < window && ctx.Err() == nil; turn++ {
				did, err := f(ctx, c, turn)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				done += did
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return rate(done, time.Since(began)), context.Cause(ctx)
}
