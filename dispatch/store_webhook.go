package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

func pgArray[T any](list []T) any { return pgdialect.Array(list) }

func (store) webhooksOfKey(ctx context.Context, db bun.IDB, keyID string, companyID *string, offset, limit int) (rows []*Webhook, total int, err error) {
	q := db.NewSelect().Model(&rows).ColumnExpr("?TableColumns").ColumnExpr(hints).
		Where("w.api_key_id = ?", keyID).Where("w.deleted_at IS NULL").
		OrderExpr("w.created_at DESC, w.id DESC").Offset(int64(offset)).Limit(int64(limit))
	if companyID != nil {
		q = q.Where("w.company_id = ?", *companyID)
	}
	n, err := q.ScanAndCount(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("webhooks of key %s: %w", keyID, err)
	}
	return rows, int(n), nil
}

// updateWebhook writes columns. Whoever enables a webhook that the service
// disabled starts its count of failures anew, or the next failure would disable it again.
func (store) updateWebhook(ctx context.Context, db bun.IDB, id string, columns []column) error {
	q := db.NewUpdate().Table("webhooks").Where("id = ?", id)
	for _, c := range columns {
		q = q.Set("? = ?", bun.Ident(c.name), c.value)
		if c.name == "enabled" {
			q = q.Set("disabled_reason = CASE WHEN ? THEN NULL ELSE disabled_reason END", c.value).
				Set("failing_since = CASE WHEN ? AND disabled_reason IS NOT NULL THEN NULL ELSE failing_since END", c.value)
		}
	}
	if _, err := q.Exec(ctx); err != nil {
		return fmt.Errorf("update webhook %s: %w", id, err)
	}
	return nil
}

// resetCircuit closes the circuit of a webhook unless it is closed (neither done
// nor a wait) or the cooldown since it opened or was last reset is not over (wait
// says how long). The count of openings stays: until a success the circuit is closed on trust.
func (store) resetCircuit(ctx context.Context, db bun.IDB, id string, cooldown time.Duration) (wait time.Duration, done bool, err error) {
	var state CircuitState
	var left float64
	err = db.NewRaw(`
		SELECT circuit_state, (extract(epoch FROM greatest(circuit_opened_at, last_reset_at) - now()) + ?)::float8
		  FROM webhooks WHERE id = ? FOR NO KEY UPDATE`, cooldown.Seconds(), id).Scan(ctx, &state, &left)
	if err != nil {
		return 0, false, fmt.Errorf("circuit of webhook %s: %w", id, err)
	}
	switch {
	case state == CircuitClosed:
		return 0, false, nil
	case left > 0:
		return seconds(left), false, nil
	}
	_, err = db.NewRaw(`
		UPDATE webhooks SET circuit_state = 'CLOSED', consecutive_failures = 0, circuit_opened_at = NULL, circuit_retry_at = NULL,
		       probe_delivery_id = NULL, probe_until = NULL, last_reset_at = now() WHERE id = ?`, id).Exec(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("reset circuit of webhook %s: %w", id, err)
	}
	return 0, true, nil
}

// mayTest notes a test of a webhook, unless most of them were made within the
// last minute: then wait says when the next one may be.
func (store) mayTest(ctx context.Context, db bun.IDB, id string, most int) (wait time.Duration, err error) {
	var left float64
	err = db.NewRaw(`
		WITH recent AS (
			SELECT w.id, ARRAY(SELECT t FROM unnest(w.tested_at) AS t WHERE t > now() - interval '1 minute' ORDER BY t) AS times
			  FROM webhooks w WHERE w.id = ? FOR NO KEY UPDATE),
		noted AS (
			UPDATE webhooks w SET tested_at = r.times || now() FROM recent r WHERE w.id = r.id AND cardinality(r.times) < ?)
		SELECT CASE WHEN cardinality(r.times) < ? THEN 0
		       ELSE extract(epoch FROM r.times[cardinality(r.times) - ? + 1] + interval '1 minute' - now()) END::float8
		  FROM recent r`, id, most, most, most).Scan(ctx, &left)
	if err != nil {
		return 0, fmt.Errorf("tests of webhook %s: %w", id, err)
	}
	return seconds(left), nil
}

// addPing writes a delivery that a test sends itself, and its event. Until the answer is recorded it counts as failed.
func (store) addPing(ctx context.Context, db bun.IDB, d *Delivery, at time.Time) error {
	_, err := db.NewRaw(`
		WITH event AS (INSERT INTO dispatch_events (id, company_id, type, sequence, at) VALUES (?, ?, ?, 0, ?))
		INSERT INTO deliveries (id, company_id, event_id, webhook_id, body, status, attempts, ping, created_at, completed_at)
		SELECT ?, ?, ?, ?, ?, ?, ?, true, ?, now()`,
		d.EventID, d.CompanyID, d.EventType, at,
		d.ID, d.CompanyID, d.EventID, d.WebhookID, d.Body, d.Status, d.AttemptCount, d.CreatedAt).Exec(ctx)
	if err != nil {
		return fmt.Errorf("add test of webhook %s: %w", d.WebhookID, err)
	}
	return nil
}

// pinging reads what a test needs to be signed and sent; nobody else is at its delivery.
func (store) pinging(ctx context.Context, db bun.IDB, deliveryID string) (*admission, error) {
	a := new(admission)
	err := db.NewRaw(`
		SELECT d.id, d.event_id, d.body, d.attempts, w.id AS webhook_id, w.url, w.sealed_headers, w.max_retries, w.timeout_millis, `+secretsInForce+`
		  FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = ?`, deliveryID).Scan(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("test delivery %s: %w", deliveryID, err)
	}
	return a, nil
}

// recordPing writes what came back from a test, and nothing about its webhook.
func (store) recordPing(ctx context.Context, db bun.IDB, log *DeliveryAttempt, status DeliveryStatus) (completed time.Time, err error) {
	err = db.NewRaw(`
		WITH logged AS (
			INSERT INTO delivery_attempts (delivery_id, number, started_at, dns_millis, connect_millis, tls_millis, first_byte_millis,
			       duration_millis, remote_ip, status_code, error_class, secret_ids)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::text[]))
		UPDATE deliveries SET status = ?, completed_at = now() WHERE id = ? RETURNING completed_at`,
		log.DeliveryID, log.Number, log.StartedAt, log.DNSMillis, log.ConnectMillis, log.TLSMillis, log.FirstByteMillis,
		log.DurationMillis, log.RemoteIP, log.StatusCode, log.Error, pgArray(log.SecretIDs), status, log.DeliveryID).Scan(ctx, &completed)
	if err != nil {
		return time.Time{}, fmt.Errorf("record test delivery %s: %w", log.DeliveryID, err)
	}
	return completed, nil
}

// lockSecrets locks a webhook for a rotation. It returns the database's time and,
// while two secrets are in force, when the old one ceases.
func (store) lockSecrets(ctx context.Context, db bun.IDB, webhookID string) (now time.Time, overlapEnds *time.Time, err error) {
	err = db.NewRaw(`SELECT clock_timestamp() FROM webhooks WHERE id = ? FOR NO KEY UPDATE`, webhookID).Scan(ctx, &now)
	if err == nil {
		err = db.NewRaw(`SELECT max(expires_at) FROM webhook_secrets WHERE webhook_id = ? AND expires_at > ?`, webhookID, now).Scan(ctx, &overlapEnds)
	}
	if err != nil {
		return now, nil, fmt.Errorf("secrets of webhook %s: %w", webhookID, err)
	}
	return now.UTC(), overlapEnds, nil
}

// rotate adds a secret, and lets those in force sign until ends; what has ceased by now is destroyed.
func (store) rotate(ctx context.Context, db bun.IDB, secret *webhookSecret, ends time.Time) error {
	_, err := db.NewRaw(`UPDATE webhook_secrets SET expires_at = least(expires_at, ?) WHERE webhook_id = ?`, ends, secret.WebhookID).Exec(ctx)
	if err == nil {
		_, err = db.NewInsert().Model(secret).Exec(ctx)
	}
	if err == nil {
		_, err = db.NewRaw(`DELETE FROM webhook_secrets WHERE webhook_id = ? AND expires_at <= ?`, secret.WebhookID, secret.CreatedAt).Exec(ctx)
	}
	if err == nil {
		_, err = db.NewRaw(`UPDATE webhooks SET updated_at = ? WHERE id = ?`, secret.CreatedAt, secret.WebhookID).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("rotate secret of webhook %s: %w", secret.WebhookID, err)
	}
	return nil
}

func (store) health(ctx context.Context, db bun.IDB, webhookIDs []string, hours int) (map[string]*WebhookHealth, error) {
	var rows []struct {
		WebhookID string
		WebhookHealth
	}
	err := db.NewRaw(`
		SELECT w.id AS webhook_id, ended.delivered, ended.failed,
		       coalesce(round(p.times[1]), 0)::integer AS p50_millis, coalesce(round(p.times[2]), 0)::integer AS p95_millis
		  FROM unnest(?0::text[]) AS w (id)
		 CROSS JOIN LATERAL (
				SELECT count(*) FILTER (WHERE d.status = 'DELIVERED') AS delivered, count(*) FILTER (WHERE d.status = 'EXHAUSTED') AS failed
				  FROM deliveries d
				 WHERE d.webhook_id = w.id AND NOT d.ping AND d.created_at > now() - make_interval(hours => ?1)) AS ended
		 CROSS JOIN LATERAL (
				SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY a.duration_millis) AS times
				  FROM (SELECT d.id FROM deliveries d
				         WHERE d.webhook_id = w.id AND NOT d.ping AND d.created_at > now() - make_interval(hours => ?1)
				         ORDER BY d.created_at DESC, d.id DESC LIMIT ?2) AS newest
				  JOIN delivery_attempts a ON a.delivery_id = newest.id
				 WHERE a.started_at > now() - make_interval(hours => ?1)) AS p`, pgdialect.Array(webhookIDs), hours, healthSample).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("health of %d webhooks: %w", len(webhookIDs), err)
	}
	by := make(map[string]*WebhookHealth, len(rows))
	for i := range rows {
		by[rows[i].WebhookID] = &rows[i].WebhookHealth
	}
	return by, nil
}

// listeners reads the webhooks that may hear of a company's events: its own, and the global ones of its keys.
func (store) listeners(ctx context.Context, db bun.IDB, companyID string) (rows []listener, err error) {
	err = db.NewRaw(`
		SELECT w.id, w.test, w.all_runs, w.event_types FROM webhooks w
		 WHERE w.company_id = ?0 AND w.enabled AND w.deleted_at IS NULL
		UNION ALL
		SELECT w.id, w.test, false, w.event_types FROM webhooks w JOIN api_keys k ON k.id = w.api_key_id
		 WHERE k.company_id = ?0 AND w.company_id IS NULL AND w.enabled AND w.deleted_at IS NULL`, companyID).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("webhooks that listen to company %s: %w", companyID, err)
	}
	return rows, nil
}
