package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
)

// accept measures starting a run of ten profiles: idempotency claim, profiles
// read, run, members, events, jobs, hold and entry, in one durable transaction.
func accept(ctx context.Context, dsn string) (result, error) {
	r := result{
		Name: "accept", Unit: "runs/s",
		What:    fmt.Sprintf("Service.Start of %d profiles, %d callers over %d companies, idempotency key and profile look-up included", perRun, callers, accounts),
		Against: "hand-written pgx batch, one round trip: the same claim, look-up, hold, reservation, entry, run, members, events and jobs",
	}
	h, err := newHouse(ctx, dsn, accounts)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)

	for range 50 { // each connection prepares its statements at their first use
		counted, count := pg.CountStatements(h.tenants[0].ctx)
		in := enrichment.StartInput{IdempotencyKey: ident.New("key"), ProfileIDs: h.tenants[0].profiles}
		if _, _, err := h.service.Start(counted, in); err != nil {
			return r, err
		}
		if n := int64(count.N()); r.Trips == 0 || n < r.Trips {
			r.Trips = n
		}
	}

	ours := func(ctx context.Context, caller, turn int) (int64, error) {
		t := h.tenants[(caller+turn*callers)%accounts]
		_, _, err := h.service.Start(t.ctx, enrichment.StartInput{IdempotencyKey: ident.New("key"), ProfileIDs: t.profiles})
		return 1, err
	}
	reference := func(ctx context.Context, caller, turn int) (int64, error) {
		return 1, acceptByHand(ctx, h.pool, h.tenants[(caller+turn*callers)%accounts])
	}
	for round := range rounds + 1 {
		for _, side := range []struct {
			into *[]float64
			f    func(context.Context, int, int) (int64, error)
		}{{&r.OursEach, ours}, {&r.RefEach, reference}} {
			each, err := hammer(ctx, callers, window, side.f)
			if err != nil {
				return r, err
			}
			if round > 0 { // the first warms both up
				*side.into = append(*side.into, each)
			}
		}
	}
	return r, nil
}

const (
	claimSQL = `
INSERT INTO idempotency_keys (company_id, operation, key, fingerprint, resource_id) VALUES ($1, 'byHand', $2, $3, $4) ON CONFLICT DO NOTHING`
	lookUpSQL = `
SELECT p.id, EXISTS (SELECT 1 FROM suppressions s WHERE s.company_id = p.company_id AND s.digest = ANY (p.person_digests))
  FROM profiles AS p WHERE p.company_id = $1 AND p.id = ANY ($2::text[])`
	holdSQL = `
WITH a AS (
	UPDATE billing_accounts SET available = available - $3::bigint, held = held + $3::bigint, last_seq = last_seq + 1,
	       last_at = greatest(last_at, clock_timestamp())
	 WHERE company_id = $1 AND mode = 'PREPAID' AND available >= $3::bigint
	RETURNING id, last_seq, last_at, available, held),
r AS (
	INSERT INTO billing_reservations (run_id, account_id, amount, expires_at, created_at)
	SELECT $2::text, a.id, $3::bigint, a.last_at + interval '11 minutes', a.last_at FROM a)
INSERT INTO billing_entries (account_id, seq, d_available, d_held, available_after, held_after, at, kind, run_id, actor)
SELECT a.id, a.last_seq, -($3::bigint), $3::bigint, a.available, a.held, a.last_at, 'RESERVE', $2::text, 'bench' FROM a`
	runSQL = `
INSERT INTO runs (id, company_id, api_key_id, status, total, queued, stages, reserved, last_sequence)
VALUES ($1, $2, 'bench', 'QUEUED', $3::int, $3::int, $4, $3::int, 2)`
	membersSQL = `
INSERT INTO run_profiles (run_id, ordinal, company_id, profile_id, outcome)
SELECT $1, n, $2, p, 'QUEUED' FROM unnest($3::text[]) WITH ORDINALITY AS t (p, n)`
	eventsSQL = `
INSERT INTO run_events (run_id, sequence, kind, occurred_at, data)
SELECT $1, n, k, now(), d::json FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS t (k, d, n)`
	jobsSQL = `
INSERT INTO river_job (args, kind, max_attempts, queue, state)
SELECT jsonb_build_object('run', $1::text, 'profile', p), 'enrich_profile', 3, $2, 'available' FROM unnest($3::text[]) AS t (p)`
)

func acceptByHand(ctx context.Context, pool *pgxpool.Pool, t tenant) error {
	id := ident.NewRun()
	stages, err := json.Marshal(make([]enrichment.StageProgress, 8))
	if err != nil {
		return err
	}
	event := `{"sequence":1,"occurredAt":"2026-01-01T00:00:00Z","progress":{"total":10,"queued":10,"active":0,"enriched":0,"partial":0,"noMatch":0,"notFound":0,"suppressed":0,"timedOut":0,"failed":0,"cancelled":0},"status":"QUEUED"}`
	b := &pgx.Batch{}
	b.Queue(claimSQL, t.company, ident.New("key"), make([]byte, 32), id)
	b.Queue(lookUpSQL, t.company, t.profiles)
	b.Queue(runSQL, id, t.company, len(t.profiles), string(stages))
	b.Queue(membersSQL, id, t.company, t.profiles)
	b.Queue(eventsSQL, id, []string{"RunStatusChanged", "CreditsMoved"}, []string{event, event})
	b.Queue(jobsSQL, id, jobs.QueueEnrich, t.profiles)
	b.Queue(holdSQL, t.company, id, int64(len(t.profiles)))
	// One implicit transaction: the batch has one Sync.
	return pool.SendBatch(ctx, b).Close()
}
