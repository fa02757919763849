package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

const (
	captureBatch   = 64
	captureRounds  = 3
	captureWindow  = 3 * time.Second
	captureWorkers = 2 * captureBatch // while one batch commits the next one gathers
	captureRuns    = 6000             // runs that a round may capture
	settleRuns     = 1200             // runs that a round may settle
)

// captures measures credits captured a second on one account that everybody
// spends from. Many workers hand over one capture each and wait for its commit;
// what waits is moved together, at most 64 at once, as the settler does it.
func captures(ctx context.Context, dsn string) (result, error) {
	r := result{
		Name: "captures", Unit: "captures/s",
		What: fmt.Sprintf("one account, %d workers, each hands over one capture of runs of %d and waits for its commit; "+
			"Ledger.Move of up to %d in one durable transaction: entries, draws, grants, reservations, releases, balance, every constraint and trigger", captureWorkers, perRun, captureBatch),
		Against: "the better of 16 and 64 clients, each one CTE a capture: entry, reservation and balance, no draws, no grants and no triggers of ours",
	}
	h, err := newHouse(ctx, dsn, 1)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)
	crowd, err := pg.OpenPool(ctx, dsn, 64)
	if err != nil {
		return r, err
	}
	defer crowd.Close()
	if err := makeReference(ctx, crowd); err != nil {
		return r, err
	}
	for round := range captureRounds + 1 {
		ours, p50, p99, err := capturesOurs(ctx, h, round)
		if err != nil {
			return r, err
		}
		var best float64
		for _, clients := range []int{16, 64} {
			each, err := capturesByHand(ctx, crowd, clients)
			if err != nil {
				return r, err
			}
			if best = max(best, each); round > 0 {
				r.part("reference", fmt.Sprintf("%d clients", clients), each)
			}
		}
		settled, err := capturesSettled(ctx, h)
		if err != nil {
			return r, err
		}
		if round == 0 { // the first warms all of them up
			continue
		}
		r.OursEach, r.RefEach = append(r.OursEach, ours), append(r.RefEach, best)
		r.part("ours", "p50 ms", p50)
		r.part("ours", "p99 ms", p99)
		r.part("ours", "with run, profile, event and announcement (Settler)", settled)
	}
	found, err := h.service.Ledger.Audit(ctx, h.db)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("the books do not add up: %+v", found)
	}
	return r, err
}

// handed is a capture that a worker waits for.
type handed struct {
	billing.Capture
	last bool // of its run, which then ends
	done chan error
}

// capturesOurs holds credits for runs before the clock starts, then captures them.
func capturesOurs(ctx context.Context, h *house, round int) (each, p50, p99 float64, err error) {
	t := h.tenants[0]
	name := func(n int64) string { return fmt.Sprintf("enr_00000000-0000-7000-8000-%03d%09d", round, n) }
	const block = 200
	for n := int64(0); n < captureRuns; n += block {
		if err := hold(ctx, h, t.company, block, func(i int64) string { return name(n + i) }); err != nil {
			return 0, 0, 0, err
		}
	}
	in := make(chan handed, captureBatch)
	var lane sync.WaitGroup
	lane.Go(func() { batches(ctx, h, in) })
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	each, err = hammer(ctx, captureWorkers, captureWindow, func(ctx context.Context, _, _ int) (int64, error) {
		n := next.Add(1) - 1
		if n >= captureRuns*perRun {
			return 0, errSpent
		}
		run, profile := spread(n)
		c := handed{
			Capture: billing.Capture{CompanyID: t.company, RunID: name(run), ProfileID: t.profiles[profile], Outcome: "ENRICHED"},
			last:    profile == perRun-1, done: make(chan error, 1),
		}
		began := time.Now()
		in <- c
		err := <-c.done
		d := time.Since(began)
		mu.Lock()
		took = append(took, d)
		mu.Unlock()
		return 1, err
	})
	close(in)
	lane.Wait()
	if err != nil && !errors.Is(err, errSpent) { // what was prepared may end before the window does
		return 0, 0, 0, err
	}
	slices.Sort(took)
	ms := func(part float64) float64 { return took[int(part*float64(len(took)-1))].Seconds() * 1000 }
	return each, ms(0.5), ms(0.99), nil
}

// spread is the run and the profile of the n-th capture: neighbours are of
// different runs, as with profiles that end at different times.
func spread(n int64) (run, profile int64) {
	const together = 50
	block, inside := n/(together*perRun), n%(together*perRun)
	return block*together + inside%together, inside / together
}

// batches moves what waits, and at once: while one batch commits the next gathers.
func batches(ctx context.Context, h *house, in <-chan handed) {
	for first := range in {
		batch := []handed{first}
		for len(batch) < captureBatch {
			select {
			case c, more := <-in:
				if more {
					batch = append(batch, c)
					continue
				}
			default:
			}
			break
		}
		var captures []billing.Capture
		var settles []billing.Settle
		for _, c := range batch {
			captures = append(captures, c.Capture)
			if c.last {
				settles = append(settles, billing.Settle{CompanyID: c.CompanyID, RunID: c.RunID})
			}
		}
		err := pg.InTx(ctx, h.db, func(ctx context.Context, tx bun.Tx) error {
			_, err := h.service.Ledger.Move(ctx, tx, captures, settles)
			return err
		})
		for _, c := range batch {
			c.done <- err
		}
	}
}

// hold reserves for n runs.
func hold(ctx context.Context, h *house, company string, n int64, name func(int64) string) error {
	return pg.InTx(ctx, h.db, func(ctx context.Context, tx bun.Tx) error {
		for i := range n {
			if _, err := h.service.Ledger.Reserve(ctx, tx, billing.Reservation{
				CompanyID: company, RunID: name(i), Hold: perRun, Required: perRun, Actor: "bench", ExpiresAt: time.Now().Add(time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// capturesSettled hands whole outcomes to the product's settler, of runs that were accepted before the clock starts.
func capturesSettled(ctx context.Context, h *house) (float64, error) {
	t := h.tenants[0]
	runs := make([]string, settleRuns)
	for i := range runs {
		run, _, err := h.service.Start(t.ctx, enrichment.StartInput{ProfileIDs: t.profiles})
		if err != nil {
			return 0, err
		}
		runs[i] = run.ID
	}
	if _, err := h.pool.Exec(ctx, "TRUNCATE river_job"); err != nil {
		return 0, err
	}
	settler := &enrichment.Settler{Service: h.service, Log: h.log}
	if err := settler.Start(ctx); err != nil {
		return 0, err
	}
	var next atomic.Int64
	each, err := hammer(ctx, captureWorkers, captureWindow, func(ctx context.Context, _, _ int) (int64, error) {
		n := next.Add(1) - 1
		if n >= settleRuns*perRun {
			return 0, errSpent
		}
		run, place := spread(n)
		profile := t.profiles[place]
		return 1, settler.Settle(ctx, runs[run], t.company, profile, enrichment.Finish{
			Outcome: enrichment.OutcomeEnriched, Candidate: &pipeline.Candidate{ProfileID: profile, Name: "Ada Lindqvist"},
		})
	})
	if errors.Is(err, errSpent) {
		err = nil
	}
	return each, errors.Join(err, settler.Stop(ctx))
}

// The reference has tables of its own, as narrow as a hand-written ledger's, so
// that no rule of ours slows it down.
const (
	referenceSQL = `
CREATE TABLE hand_accounts (id text PRIMARY KEY, held bigint NOT NULL, captured bigint NOT NULL, last_seq bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE hand_reservations (run_id text PRIMARY KEY, amount bigint NOT NULL, captured bigint NOT NULL DEFAULT 0) WITH (fillfactor = 70);
CREATE TABLE hand_entries (account_id text NOT NULL, seq bigint NOT NULL, amount bigint NOT NULL, held_after bigint NOT NULL, at timestamptz NOT NULL,
	run_id text NOT NULL, profile_id text NOT NULL, PRIMARY KEY (account_id, seq), UNIQUE (account_id, run_id, profile_id));
INSERT INTO hand_accounts VALUES ('hot', 1000000000, 0, 0);
INSERT INTO hand_reservations SELECT 'run-' || n, 1000000 FROM generate_series(0, 999) AS n`
	handCaptureSQL = `
WITH a AS (
	UPDATE hand_accounts SET held = held - 1, captured = captured + 1, last_seq = last_seq + 1
	 WHERE id = 'hot' AND held > 0
	RETURNING last_seq, held),
r AS (
	UPDATE hand_reservations SET captured = captured + 1 WHERE run_id = $1 AND captured < amount)
INSERT INTO hand_entries SELECT 'hot', a.last_seq, 1, a.held, clock_timestamp(), $1, $2 FROM a`
)

func makeReference(ctx context.Context, pool *pgxpool.Pool) error {
	// One text of several statements.
	_, err := pool.Exec(ctx, referenceSQL, pgx.QueryExecModeSimpleProtocol)
	return err
}

// capturesByHand captures one by one, from a number of clients.
func capturesByHand(ctx context.Context, pool *pgxpool.Pool, clients int) (float64, error) {
	return hammer(ctx, clients, captureWindow, func(ctx context.Context, caller, turn int) (int64, error) {
		tag, err := pool.Exec(ctx, handCaptureSQL, fmt.Sprintf("run-%d", (caller+turn*clients)%1000), ident.NewProfile())
		if err == nil && tag.RowsAffected() != 1 {
			err = errors.New("reference: nothing was captured")
		}
		return 1, err
	})
}
