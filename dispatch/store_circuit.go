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

// hold marks a delivery held while its webhook's circuit is not closed, and
// reports whether it is. It shares the webhook's lock, so that whoever closes
// the circuit either comes first, and this finds it closed, or finds the delivery held.
func (store) hold(ctx context.Context, db bun.IDB, id, webhookID string) (bool, error) {
	res, err := db.NewRaw(`
		WITH shut AS (SELECT w.id FROM webhooks w WHERE w.id = ? AND w.circuit_state <> 'CLOSED' FOR SHARE)
		UPDATE deliveries d SET status = 'HELD', next_attempt_at = NULL FROM shut
		 WHERE d.id = ? AND d.webhook_id = shut.id AND d.status IN `+open+` AND (d.lease_until IS NULL OR d.lease_until < now())`,
		webhookID, id).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("hold delivery %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// probe makes a delivery the one that tries a webhook whose circuit is open,
// if that is due and nobody else does. A probe that outlived its time died with its node.
func (store) probe(ctx context.Context, db bun.IDB, id, webhookID string) (bool, error) {
	res, err := db.NewRaw(`
		UPDATE webhooks SET circuit_state = 'HALF_OPEN', probe_delivery_id = ?,
		       probe_until = now() + make_interval(secs => timeout_millis / 1000.0 + ?)
		 WHERE id = ? AND enabled AND deleted_at IS NULL
		   AND (circuit_state = 'OPEN' AND circuit_retry_at <= now() OR circuit_state = 'HALF_OPEN' AND probe_until < now())`,
		id, leaseMargin.Seconds(), webhookID).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("probe webhook %s: %w", webhookID, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
