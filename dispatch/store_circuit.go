package dispatch

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// heldBlock locks the oldest held deliveries of a webhook whose circuit is
// closed, as many as are missing to a block of due ones: none of them while the
// block before is still at work. nil says that there is nothing to resume.
func (store) heldBlock(ctx context.Context, db bun.IDB, webhookID string, block int) ([]*Delivery, error) {
	var due int
	var more bool
	err := db.NewRaw(`
		SELECT (SELECT count(*) FROM (SELECT FROM deliveries d WHERE d.webhook_id = w.id AND d.status IN ('PENDING', 'RETRYING')
		           AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= now()) LIMIT ?) AS due),
		       w.circuit_state = 'CLOSED' AND EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'HELD')
		  FROM webhooks w WHERE w.id = ?`, block, webhookID).Scan(ctx, &due, &more)
	if err != nil {
		return nil, fmt.Errorf("held deliveries of webhook %s: %w", webhookID, err)
	}
	if !more {
		return nil, nil
	}
	rows := []*Delivery{}
	if due >= block {
		return rows, nil
	}
	err = db.NewRaw(`
		SELECT d.id, d.job_id FROM deliveries d WHERE d.webhook_id = ? AND d.status = 'HELD'
		 ORDER BY d.created_at, d.id LIMIT ? FOR UPDATE SKIP LOCKED`, webhookID, block-due).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("held deliveries of webhook %s: %w", webhookID, err)
	}
	return rows, nil
}

// unhold makes held deliveries due.
func (store) unhold(ctx context.Context, db bun.IDB, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := db.NewRaw(`
		UPDATE deliveries SET status = CASE WHEN attempts > attempts_before THEN 'RETRYING' ELSE 'PENDING' END, next_attempt_at = now()
		 WHERE id IN (?) AND status = 'HELD'`, bun.List(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("resume %d deliveries: %w", len(ids), err)
	}
	return nil
}
