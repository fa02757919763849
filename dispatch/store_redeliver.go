package dispatch

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/enrichd/enrichd/internal/access"
)

func (store) redelivery(ctx context.Context, db bun.IDB, companyID, id string) (*Redelivery, error) {
	r := new(Redelivery)
	if err := db.NewSelect().Model(r).Where("rd.id = ?", id).Where("rd.company_id = ?", companyID).Scan(ctx); err != nil {
		return nil, fmt.Errorf("redelivery %s: %w", id, err)
	}
	return r, nil
}

func (store) addRedelivery(ctx context.Context, db bun.IDB, r *Redelivery) error {
	if _, err := db.NewInsert().Model(r).Exec(ctx); err != nil {
		return fmt.Errorf("add redelivery: %w", err)
	}
	return nil
}

// failedSince locks the oldest given-up deliveries of a webhook to the asking
// company, and counts those beyond limit. Tests and erased bodies are not among them.
func (store) failedSince(ctx context.Context, db bun.IDB, p *access.Principal, f FailedSince, limit int) (rows []*requeued, remaining int, err error) {
	const matching = ` FROM deliveries d WHERE d.webhook_id = ? AND d.company_id = ? AND d.status = 'EXHAUSTED' AND d.completed_at >= ?
		AND NOT d.ping AND d.body IS NOT NULL`
	var total int
	err = db.NewRaw(`SELECT count(*)`+matching, f.WebhookID, p.Company.ID, f.Since).Scan(ctx, &total)
	if err == nil {
		err = db.NewRaw(`SELECT d.id, d.company_id, d.event_id, d.webhook_id, d.status, d.completed_at`+matching+`
			ORDER BY d.completed_at, d.id LIMIT ? FOR UPDATE`, f.WebhookID, p.Company.ID, f.Since, limit).Scan(ctx, &rows)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("failed deliveries of webhook %s: %w", f.WebhookID, err)
	}
	return rows, max(0, total-len(rows)), nil
}

// lockDeliveries locks those of ids that the principal may see, in id order.
func (store) lockDeliveries(ctx context.Context, db bun.IDB, p *access.Principal, ids []string) (rows []*requeued, err error) {
	err = db.NewRaw(`
		SELECT d.id, d.company_id, d.event_id, d.webhook_id, d.status, d.ping, d.job_id, d.completed_at,
		       CASE WHEN d.body IS NOT NULL THEN '\x00'::bytea END AS body, w.enabled AND w.deleted_at IS NULL AS enabled
		  FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
		 WHERE d.id = ANY (?) AND d.company_id = ? AND w.test = ? ORDER BY d.id FOR UPDATE OF d`,
		pgdialect.Array(ids), p.Company.ID, p.Key.Test).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("lock %d deliveries: %w", len(ids), err)
	}
	return rows, nil
}

// requeue makes deliveries due with a fresh count of retries and a fresh age. A
// held one stays held: its turn comes with the circuit.
func (store) requeue(ctx context.Context, db bun.IDB, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := db.NewRaw(`
		UPDATE deliveries SET manual = true, attempts_before = attempts, queued_at = now(), completed_at = NULL,
		       status = CASE WHEN status = 'HELD' THEN 'HELD' ELSE 'PENDING' END,
		       next_attempt_at = CASE WHEN status <> 'HELD' THEN now() END
		 WHERE id = ANY (?)`, pgdialect.Array(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("queue %d deliveries again: %w", len(ids), err)
	}
	return nil
}
