package dispatch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// The statements that move a delivery along. They name it by its id, which only
// its own job knows, and the database's clock decides, so that nodes need not agree on the time.

// open are the statuses of a delivery that has not ended.
const open = `('PENDING', 'RETRYING', 'HELD')`

// leaseMargin is how long a lease outlives its attempt's timeout, for the bookkeeping.
const leaseMargin = 5 * time.Second

// dueSlack lets a job begin a little early: its timer and the row's are two clocks.
const dueSlack = time.Second

// admission is a delivery that this execution, and no other, may attempt.
type admission struct {
	DeliveryID    string         `bun:"id"`
	EventID       string         `bun:"event_id"`
	Body          []byte         `bun:"body"`
	Number        int            `bun:"attempts"`
	AgeSeconds    float64        `bun:"age"`
	WebhookID     string         `bun:"webhook_id"`
	URL           string         `bun:"url"`
	SealedHeaders []byte         `bun:"sealed_headers"`
	MaxRetries    int            `bun:"max_retries"`
	TimeoutMillis int            `bun:"timeout_millis"`
	Secrets       []sealedSecret `bun:"secrets,type:jsonb"`
	LeaseID       string         `bun:"lease_id"`
}

type sealedSecret struct {
	ID  string `json:"id"`
	Hex string `json:"secret"`
}

// secretsInForce selects the sealed secrets that sign for webhook w now, newest first.
const secretsInForce = `(SELECT jsonb_agg(jsonb_build_object('id', s.id, 'secret', encode(s.secret, 'hex')) ORDER BY s.created_at DESC, s.id DESC)
	FROM webhook_secrets s WHERE s.webhook_id = w.id AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets`

// admit takes the lease of a delivery that is due, and counts the attempt; nil
// when it may not be attempted now. A lease that an earlier execution of the same
// job holds is taken over at once: River runs a job again only when it has given that execution up for dead.
func (store) admit(ctx context.Context, db bun.IDB, id string, job int64, lease string, maxAge time.Duration) (*admission, error) {
	a := new(admission)
	err := db.NewRaw(`
		UPDATE deliveries d
		   SET lease_id = ?, lease_job_id = ?, lease_until = now() + make_interval(secs => w.timeout_millis / 1000.0 + ?), attempts = d.attempts + 1
		  FROM webhooks w
		 WHERE d.id = ? AND w.id = d.webhook_id AND w.enabled AND w.deleted_at IS NULL
		   AND d.status IN `+open+` AND d.body IS NOT NULL
		   AND (d.lease_until IS NULL OR d.lease_until < now() OR d.lease_job_id = ?)
		   AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= now() + make_interval(secs => ?))
		   AND d.created_at > now() - make_interval(secs => ?)
		RETURNING d.id, d.event_id, d.body, d.attempts, extract(epoch FROM now() - d.created_at)::float8 AS age, d.lease_id,
		          w.id AS webhook_id, w.url, w.sealed_headers, w.max_retries, w.timeout_millis,
		          `+secretsInForce,
		lease, job, leaseMargin.Seconds(), id, job, dueSlack.Seconds(), maxAge.Seconds()).Scan(ctx, a)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("admit delivery %s: %w", id, err)
	}
	return a, nil
}

// refusal says why a delivery was not admitted. Seconds are from now and may be negative.
type refusal struct {
	Status   DeliveryStatus `bun:"status"`
	Hopeless bool           `bun:"hopeless"` // its webhook is gone or disabled, its body erased, or it is too old
	Lease    float64        `bun:"lease"`
	Due      float64        `bun:"due"`
}

// whyNot reads why a delivery was not admitted; nil when there is none with this id.
func (store) whyNot(ctx context.Context, db bun.IDB, id string, maxAge time.Duration) (*refusal, error) {
	r := new(refusal)
	err := db.NewRaw(`
		SELECT d.status, NOT w.enabled OR w.deleted_at IS NOT NULL OR d.body IS NULL
		         OR d.created_at <= now() - make_interval(secs => ?) AS hopeless,
		       coalesce(extract(epoch FROM d.lease_until - now()), 0)::float8 AS lease,
		       coalesce(extract(epoch FROM d.next_attempt_at - now()), 0)::float8 AS due
		  FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = ?`, maxAge.Seconds(), id).Scan(ctx, r)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	return r, nil
}

// giveUp ends a delivery that nobody is attempting.
func (store) giveUp(ctx context.Context, db bun.IDB, id string) error {
	_, err := db.NewRaw(`
		UPDATE deliveries SET status = 'EXHAUSTED', completed_at = now(), next_attempt_at = NULL
		 WHERE id = ? AND status IN `+open+` AND (lease_until IS NULL OR lease_until < now())`, id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give up delivery %s: %w", id, err)
	}
	return nil
}

// release gives the lease back without an outcome, when the attempt was cut short by us.
func (store) release(ctx context.Context, db bun.IDB, a *admission) error {
	_, err := db.NewRaw(`UPDATE deliveries SET lease_id = NULL, lease_until = NULL, lease_job_id = NULL WHERE id = ? AND lease_id = ?`, a.DeliveryID, a.LeaseID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("release delivery %s: %w", a.DeliveryID, err)
	}
	return nil
}

// record writes an attempt and what it means, in one statement, and only while
// the lease is still ours: false means that it was taken over, or the delivery
// ended meanwhile, and nothing was written. A success touches the webhook's row only after a failure.
func (store) record(ctx context.Context, db bun.IDB, a *admission, log *DeliveryAttempt, v verdict) (bool, error) {
	var moved int
	err := db.NewRaw(`
		WITH done AS (
			UPDATE deliveries d
			   SET status = ?0, lease_id = NULL, lease_until = NULL, lease_job_id = NULL,
			       next_attempt_at = CASE WHEN ?0 = 'RETRYING' THEN now() + make_interval(secs => ?1) END,
			       completed_at = CASE WHEN ?0 <> 'RETRYING' THEN now() END
			 WHERE d.id = ?2 AND d.lease_id = ?3 AND d.status IN `+open+`
			RETURNING d.webhook_id),
		logged AS (
			INSERT INTO delivery_attempts (delivery_id, number, started_at, dns_millis, connect_millis, tls_millis, first_byte_millis,
			       duration_millis, remote_ip, status_code, error_class, response_headers, response_body, response_sha256, truncated, secret_ids)
			SELECT ?2, ?4::integer, ?5::timestamptz, ?6::integer, ?7::integer, ?8::integer, ?9::integer,
			       ?10::integer, ?11, ?12::integer, ?13, ?14::jsonb, ?15::bytea, ?16::bytea, ?17::boolean, ?18::text[]
			  FROM done),
		counted AS (
			UPDATE webhooks w
			   SET consecutive_failures = CASE WHEN ?0 = 'DELIVERED' THEN 0 ELSE w.consecutive_failures + 1 END,
			       failing_since = CASE WHEN ?0 <> 'DELIVERED' THEN coalesce(w.failing_since, ?5::timestamptz) END,
			       enabled = w.enabled AND NOT ?19::boolean,
			       disabled_reason = CASE WHEN ?19::boolean THEN 'GONE' ELSE w.disabled_reason END,
			       updated_at = CASE WHEN ?19::boolean THEN now() ELSE w.updated_at END
			  FROM done
			 WHERE w.id = done.webhook_id AND (?0 <> 'DELIVERED' OR w.consecutive_failures > 0))
		SELECT count(*) FROM done`,
		v.Status, v.Delay.Seconds(), a.DeliveryID, a.LeaseID,
		a.Number, log.StartedAt, log.DNSMillis, log.ConnectMillis, log.TLSMillis, log.FirstByteMillis,
		log.DurationMillis, log.RemoteIP, log.StatusCode, log.Error, headersJSON(log.ResponseHeaders), log.Response, log.ResponseSHA256,
		log.Truncated, pgdialect.Array(log.SecretIDs), v.Disable).Scan(ctx, &moved)
	if err != nil {
		return false, fmt.Errorf("record attempt %d of delivery %s: %w", a.Number, a.DeliveryID, err)
	}
	return moved == 1, nil
}

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
