package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// orphans locks open deliveries that are long due although no job will look at
// them: their job was discarded after too many faults, or removed by hand.
func (store) orphans(ctx context.Context, db bun.IDB, limit int) (rows []*Delivery, err error) {
	err = db.NewRaw(`
		SELECT d.id, d.company_id, d.event_id, d.webhook_id FROM deliveries d
		 WHERE d.status IN `+open+` AND coalesce(d.next_attempt_at, d.created_at) < now() - interval '1 minute'
		   AND (d.lease_until IS NULL OR d.lease_until < now())
		   AND NOT EXISTS (SELECT FROM river_job j WHERE j.id = d.job_id AND j.state NOT IN ('completed', 'cancelled', 'discarded'))
		 LIMIT ? FOR UPDATE OF d SKIP LOCKED`, limit).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("deliveries without a job: %w", err)
	}
	return rows, nil
}

// adopt notes the new jobs of orphans.
func (store) adopt(ctx context.Context, db bun.IDB, rows []*Delivery) error {
	ids, jobIDs := make([]string, len(rows)), make([]int64, len(rows))
	for i, d := range rows {
		ids[i], jobIDs[i] = d.ID, *d.JobID
	}
	_, err := db.NewRaw(`UPDATE deliveries d SET job_id = n.job_id FROM unnest(?::text[], ?::bigint[]) AS n(id, job_id) WHERE d.id = n.id`,
		pgdialect.Array(ids), pgdialect.Array(jobIDs)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give %d deliveries new jobs: %w", len(rows), err)
	}
	return nil
}

// maintainAttempts makes the coming months of the attempt log and drops those older than keep.
func (store) maintainAttempts(ctx context.Context, db bun.IDB, now time.Time, keep time.Duration) (made, dropped int, err error) {
	err = db.NewRaw(`SELECT made, dropped FROM maintain_delivery_attempts(?, 2, make_interval(secs => ?))`, now, keep.Seconds()).Scan(ctx, &made, &dropped)
	if err != nil {
		return 0, 0, fmt.Errorf("maintain the attempt log: %w", err)
	}
	return made, dropped, nil
}

// forget removes what is kept for a while only: activity, what redeliveries answered, and secrets that
// have long ceased to sign. Each statement is small; what is left over waits for the next upkeep.
func (store) forget(ctx context.Context, db bun.IDB, before time.Time) (forgotten int, err error) {
	for _, statement := range []string{
		`DELETE FROM company_activity WHERE ctid = ANY (ARRAY(SELECT ctid FROM company_activity WHERE occurred_at < ? LIMIT 5000))`,
		`DELETE FROM redeliveries WHERE ctid = ANY (ARRAY(SELECT ctid FROM redeliveries WHERE created_at < ? LIMIT 5000))`,
		`DELETE FROM webhook_secrets WHERE expires_at < ?`,
	} {
		res, err := db.NewRaw(statement, before).Exec(ctx)
		if err != nil {
			return forgotten, fmt.Errorf("forget what is old: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return forgotten, fmt.Errorf("forget what is old: %w", err)
		}
		forgotten += int(n)
	}
	return forgotten, nil
}
