package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
)

const (
	acceptors     = 8
	settleWindow  = 5 * time.Second
	settleRounds  = 3
	settleTenants = 100
	backlog       = 150 // runs that may wait, so that acceptors do not run away from the workers
)

// settle measures profiles a second from accept to captured and announced,
// through River, without the pipeline's own work.
func settle(ctx context.Context, dsn string) (result, error) {
	r := result{
		Name: "settle", Unit: "profiles/s",
		What:    fmt.Sprintf("accept by %d callers, River, settler: outcome, counters, sequence, events, capture entry, balances; runs of %d", acceptors, perRun),
		Against: fmt.Sprintf("one hand-written CTE a profile by %d goroutines on runs that exist: outcome, counters, sequence, event, capture entry, balance; no River, no accept", callers),
	}
	h, err := newHouse(ctx, dsn, settleTenants)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)
	for range settleRounds {
		ours, err := settleOurs(ctx, h)
		if err != nil {
			return r, err
		}
		reference, err := settleByHand(ctx, h)
		if err != nil {
			return r, err
		}
		r.OursEach, r.RefEach = append(r.OursEach, ours), append(r.RefEach, reference)
	}
	return r, nil
}

// settleWorker is the product's worker with the pipeline taken out: it hands the settler a result at once.
type settleWorker struct {
	river.WorkerDefaults[enrichment.ProfileArgs]
	settler *enrichment.Settler
	company func(run string) string
	settled *atomic.Int64
}

func (w *settleWorker) Work(ctx context.Context, job *river.Job[enrichment.ProfileArgs]) error {
	err := w.settler.Settle(ctx, job.Args.Run, w.company(job.Args.Run), job.Args.Profile, enrichment.Finish{
		Outcome: enrichment.OutcomeEnriched, Candidate: &pipeline.Candidate{ProfileID: job.Args.Profile, Name: "Ada Lindqvist"},
	})
	if err == nil {
		w.settled.Add(1)
	}
	return err
}

func settleOurs(ctx context.Context, h *house) (float64, error) {
	var settled atomic.Int64
	var companies companyOf
	settler := &enrichment.Settler{Service: h.service, Log: h.log}
	if err := settler.Start(ctx); err != nil {
		return 0, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &settleWorker{settler: settler, company: companies.get, settled: &settled})
	worker, err := jobs.NewWorker(h.pool, workers, jobs.WorkerConfig{NodeID: ident.New("node"), EnrichWorkers: 300, Log: h.log})
	if err != nil {
		return 0, err
	}
	if err := worker.Start(ctx); err != nil {
		return 0, err
	}
	var accepted atomic.Int64
	began := time.Now()
	_, err = hammer(ctx, acceptors, settleWindow, func(_ context.Context, caller, turn int) (int64, error) {
		if accepted.Load()-settled.Load() > backlog*perRun {
			time.Sleep(time.Millisecond)
			return 0, nil
		}
		t := h.tenants[(caller+turn*acceptors)%settleTenants]
		run, _, err := h.service.Start(t.ctx, enrichment.StartInput{ProfileIDs: t.profiles})
		if err == nil {
			companies.set(run.ID, t.company)
			accepted.Add(perRun)
		}
		return 1, err
	})
	for err == nil && settled.Load() < accepted.Load() {
		if time.Since(began) > 4*settleWindow {
			err = fmt.Errorf("%d of %d profiles settled", settled.Load(), accepted.Load())
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	return rate(settled.Load(), took), errors.Join(err, worker.Stop(ctx), settler.Stop(ctx))
}

const finishSQL = `
WITH r AS (
	SELECT id FROM runs WHERE id = $1 FOR UPDATE),
done AS (
	UPDATE run_profiles SET outcome = 'ENRICHED', finished_at = now(), credits = 1, candidate = $4
	 WHERE run_id = (SELECT id FROM r) AND profile_id = $2 AND finished_at IS NULL
	RETURNING run_id),
bumped AS (
	UPDATE runs SET queued = queued - 1, enriched = enriched + 1, captured = captured + 1, last_sequence = last_sequence + 1,
	       status = CASE WHEN queued = 1 THEN 'COMPLETED' ELSE status END, finished_at = CASE WHEN queued = 1 THEN now() END
	 WHERE id = (SELECT run_id FROM done)
	RETURNING id, last_sequence, queued),
a AS (
	UPDATE billing_accounts SET held = held - 1, captured_total = captured_total + 1, last_seq = last_seq + 1,
	       last_at = greatest(last_at, clock_timestamp())
	 WHERE id = $3 AND EXISTS (SELECT FROM done)
	RETURNING id, last_seq, last_at, available, held),
res AS (
	UPDATE billing_reservations SET captured = captured + 1, state = CASE WHEN captured + 1 = amount THEN 'SETTLED' ELSE state END
	 WHERE run_id = (SELECT run_id FROM done)),
g AS (
	UPDATE billing_grants SET remaining = remaining - 1 WHERE account_id = (SELECT id FROM a) AND remaining > 0
	RETURNING id),
d AS (
	INSERT INTO billing_grant_draws (account_id, seq, grant_id, amount) SELECT a.id, a.last_seq, g.id, 1 FROM a, g),
e AS (
	INSERT INTO billing_entries (account_id, seq, d_held, d_captured, available_after, held_after, at, kind, run_id, profile_id, actor)
	SELECT a.id, a.last_seq, -1, 1, a.available, a.held, a.last_at, 'CAPTURE', $1, $2, 'bench' FROM a)
INSERT INTO run_events (run_id, sequence, kind, occurred_at, data)
SELECT b.id, b.last_sequence, 'ProfileAdvanced', now(), $5 FROM bumped b`

// settleByHand finishes profiles of runs that were accepted before the clock starts.
func settleByHand(ctx context.Context, h *house) (float64, error) {
	type item struct {
		run string
		t   tenant
	}
	const runs = 2400
	items := make([]item, runs)
	for i := range items {
		t := h.tenants[i%settleTenants]
		run, _, err := h.service.Start(t.ctx, enrichment.StartInput{ProfileIDs: t.profiles})
		if err != nil {
			return 0, err
		}
		items[i] = item{run.ID, t}
	}
	if _, err := h.pool.Exec(ctx, "DELETE FROM river_job WHERE state = 'available'"); err != nil {
		return 0, err
	}
	var next atomic.Int64
	each, err := hammer(ctx, callers, settleWindow, func(ctx context.Context, _, _ int) (int64, error) {
		// Neighbouring turns are of different runs, as with profiles that end at different times.
		n := next.Add(1) - 1
		if n >= runs*perRun {
			return 0, errSpent
		}
		it := items[n%runs]
		return 1, finishByHand(ctx, h.pool, it.run, it.t, it.t.profiles[n/runs])
	})
	if errors.Is(err, errSpent) {
		err = errors.New("the prepared runs were spent before the window ended: prepare more")
	}
	if err != nil {
		return 0, err
	}
	// What was not reached must not be swept into the next round.
	_, err = h.pool.Exec(ctx, "SELECT 1")
	return each, err
}

var errSpent = errors.New("no profile is left")

func finishByHand(ctx context.Context, pool *pgxpool.Pool, run string, t tenant, profile string) error {
	const candidate = `{"profileId":"p","name":"Ada Lindqvist"}`
	const event = `{"sequence":3,"occurredAt":"2026-01-01T00:00:00Z","progress":{"total":10,"queued":9,"active":0,"enriched":1,"partial":0,"noMatch":0,"notFound":0,"suppressed":0,"timedOut":0,"failed":0,"cancelled":0},"profileId":"p","outcome":"ENRICHED","fieldsChanged":[],"waitingOn":[]}`
	tag, err := pool.Exec(ctx, finishSQL, run, profile, t.account, candidate, event)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("profile %s of %s was not finished", profile, run)
	}
	if err != nil && pg.IsUnavailable(err) {
		return fmt.Errorf("reference: %w", err)
	}
	return err
}
