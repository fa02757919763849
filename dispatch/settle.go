package dispatch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
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
	CompanyID     string         `bun:"company_id"`
	Test          bool           `bun:"test"`
	Manual        bool           `bun:"manual"`
	Before        int            `bun:"attempts_before"` // attempts made before it was queued again
	Probe         bool           `bun:"probe"`           // on it hangs whether the circuit closes
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
// While the circuit is not closed, only the delivery that probes is admitted.
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
		   AND d.queued_at > now() - make_interval(secs => ?)
		   AND (w.circuit_state = 'CLOSED' OR w.circuit_state = 'HALF_OPEN' AND w.probe_delivery_id = d.id)
		RETURNING d.id, d.event_id, d.body, d.attempts, extract(epoch FROM now() - d.queued_at)::float8 AS age, d.lease_id,
		          d.company_id, w.test, d.manual, d.attempts_before, w.circuit_state <> 'CLOSED' AS probe,
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
	Status    DeliveryStatus `bun:"status"`
	CompanyID string         `bun:"company_id"`
	WebhookID string         `bun:"webhook_id"`
	Test      bool           `bun:"test"`
	Attempts  int            `bun:"attempts"`
	Hopeless  bool           `bun:"hopeless"` // its webhook is gone or disabled, or its body erased
	Old       bool           `bun:"old"`
	Circuit   CircuitState   `bun:"circuit_state"`
	Lease     float64        `bun:"lease"`
	Due       float64        `bun:"due"`
	Probe     *float64       `bun:"probe"` // when the circuit may be probed; nil: never
}

// whyNot reads why a delivery was not admitted; nil when there is none with this id.
func (store) whyNot(ctx context.Context, db bun.IDB, id string, maxAge time.Duration) (*refusal, error) {
	r := new(refusal)
	err := db.NewRaw(`
		SELECT d.status, d.company_id, d.webhook_id, w.test, d.attempts,
		       NOT w.enabled OR w.deleted_at IS NOT NULL OR d.body IS NULL AS hopeless,
		       d.queued_at <= now() - make_interval(secs => ?) AS old, w.circuit_state,
		       coalesce(extract(epoch FROM d.lease_until - now()), 0)::float8 AS lease,
		       coalesce(extract(epoch FROM d.next_attempt_at - now()), 0)::float8 AS due,
		       extract(epoch FROM greatest(w.circuit_retry_at, w.probe_until) - now())::float8 AS probe
		  FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = ?`, maxAge.Seconds(), id).Scan(ctx, r)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	return r, nil
}

// giveUp ends a delivery that nobody is attempting, and reports whether it did.
func (store) giveUp(ctx context.Context, db bun.IDB, id string) (bool, error) {
	res, err := db.NewRaw(`
		UPDATE deliveries SET status = 'EXHAUSTED', completed_at = now(), next_attempt_at = NULL
		 WHERE id = ? AND status IN `+open+` AND (lease_until IS NULL OR lease_until < now())`, id).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("give up delivery %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// release gives the lease back without an outcome, when the attempt was cut
// short by us; a probe may be taken over at once.
func (store) release(ctx context.Context, db bun.IDB, a *admission) error {
	_, err := db.NewRaw(`
		WITH released AS (
			UPDATE deliveries SET lease_id = NULL, lease_until = NULL, lease_job_id = NULL WHERE id = ? AND lease_id = ? RETURNING id)
		UPDATE webhooks SET probe_until = now() FROM released
		 WHERE webhooks.id = ? AND circuit_state = 'HALF_OPEN' AND probe_delivery_id = released.id`, a.DeliveryID, a.LeaseID, a.WebhookID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("release delivery %s: %w", a.DeliveryID, err)
	}
	return nil
}

// recordSQL writes an attempt and what it means for the delivery, the webhook
// and its circuit, only while the lease is still ours. A success after a success
// does not touch the webhook: a healthy busy one is no hot row. The lock makes
// the transitions of one circuit follow each other, so each is seen by exactly one recorder.
var recordSQL = pg.Named(`
	WITH done AS (
		UPDATE deliveries d
		   SET status = :status, lease_id = NULL, lease_until = NULL, lease_job_id = NULL,
		       next_attempt_at = CASE WHEN :status = 'RETRYING' THEN now() + make_interval(secs => :delay) END,
		       completed_at = CASE WHEN :status <> 'RETRYING' THEN now() END
		 WHERE d.id = :delivery AND d.lease_id = :lease AND d.status IN `+open+`
		RETURNING d.webhook_id, d.manual, d.body IS NULL AS erased), -- an answer may say back what was erased while it came
	logged AS (
		INSERT INTO delivery_attempts (delivery_id, number, started_at, dns_millis, connect_millis, tls_millis, first_byte_millis,
		       duration_millis, remote_ip, status_code, error_class, response_headers, response_body, response_sha256, truncated, manual, secret_ids)
		SELECT :delivery, :number::integer, :started::timestamptz, :dns::integer, :connect::integer, :tls::integer, :first_byte::integer,
		       :duration::integer, :ip::text, :code::integer, :error::text, CASE WHEN NOT done.erased THEN :headers::jsonb END,
		       CASE WHEN NOT done.erased THEN :body::bytea END, CASE WHEN NOT done.erased THEN :sha::bytea END, :truncated::boolean, done.manual, :secrets::text[]
		  FROM done),
	locked AS (
		SELECT w.id, w.circuit_state AS was, w.circuit_opens AS opens, w.enabled,
		       w.circuit_state = 'HALF_OPEN' AND w.probe_delivery_id = :delivery AS probing,
		       CASE WHEN :ok::boolean THEN 0 ELSE w.consecutive_failures + 1 END AS failures,
		       CASE WHEN NOT :ok THEN coalesce(w.failing_since, :started) END AS since
		  FROM webhooks w JOIN done ON w.id = done.webhook_id
		 WHERE NOT :ok OR w.consecutive_failures > 0 OR w.circuit_opens > 0 OR w.circuit_state <> 'CLOSED'
		   FOR NO KEY UPDATE OF w),
	judged AS (
		SELECT l.*,
		       CASE WHEN :ok AND l.probing THEN 'CLOSED'
		            WHEN NOT :ok AND l.probing THEN 'OPEN'
		            WHEN NOT :ok AND l.was = 'CLOSED' AND (l.opens > 0 OR l.failures >= :threshold::integer
		                 AND l.since <= now() - make_interval(secs => :span)) THEN 'OPEN'
		            ELSE l.was END AS state,
		       CASE WHEN NOT l.enabled THEN NULL WHEN :gone::boolean THEN 'GONE'
		            WHEN :patience::float8 > 0 AND l.since <= now() - make_interval(secs => :patience) THEN 'FAILING' END AS disable
		  FROM locked l),
	moved AS (
		UPDATE webhooks w
		   SET consecutive_failures = j.failures, failing_since = j.since,
		       circuit_state = j.state,
		       circuit_opens = CASE WHEN j.state = 'OPEN' AND j.was <> 'OPEN' THEN j.opens + 1 WHEN j.state = 'CLOSED' AND :ok THEN 0 ELSE j.opens END,
		       circuit_opened_at = CASE WHEN j.state = 'CLOSED' THEN NULL WHEN j.was = 'CLOSED' THEN now() ELSE w.circuit_opened_at END,
		       circuit_retry_at = CASE
		           WHEN j.state = 'CLOSED' OR NOT :auto_probe::boolean THEN NULL
		           WHEN j.state = 'OPEN' AND j.was <> 'OPEN' THEN now() + make_interval(secs => least(:first_pause * power(2, least(j.opens, 30)), :longest_pause) * :jitter)
		           ELSE w.circuit_retry_at END,
		       probe_delivery_id = CASE WHEN NOT j.probing THEN w.probe_delivery_id END,
		       probe_until = CASE WHEN NOT j.probing THEN w.probe_until END,
		       enabled = w.enabled AND j.disable IS NULL,
		       disabled_reason = coalesce(j.disable, w.disabled_reason),
		       updated_at = CASE WHEN j.disable IS NOT NULL THEN now() ELSE w.updated_at END
		  FROM judged j WHERE w.id = j.id
		RETURNING j.was, j.state, j.failures, coalesce(j.disable, '') AS disable)
	SELECT (SELECT count(*) FROM done), coalesce(m.was, ''), coalesce(m.state, ''), coalesce(m.failures, 0), coalesce(m.disable, '')
	  FROM (SELECT) AS one LEFT JOIN moved m ON true`,
	"status", "delay", "delivery", "lease", "number", "started", "dns", "connect", "tls", "first_byte", "duration", "ip", "code", "error",
	"headers", "body", "sha", "truncated", "secrets", "ok", "gone", "threshold", "span", "patience", "auto_probe", "first_pause", "longest_pause", "jitter")

// consequence is what recording an attempt did beside ending or postponing its delivery.
type consequence struct {
	Recorded bool // false: the lease was taken over, or the delivery ended meanwhile, and nothing was written
	Was, Is  CircuitState
	Failures int
	Disabled string // GONE or FAILING when this attempt disabled the webhook
}

// record writes an attempt and what it means. chance, in [0,1), spreads the pause of a circuit that opens.
func (store) record(ctx context.Context, db queryer, a *admission, log *DeliveryAttempt, v verdict, rule CircuitRule, chance float64) (c consequence, err error) {
	var moved int
	err = db.QueryRowContext(ctx, recordSQL,
		string(v.Status), v.Delay.Seconds(), a.DeliveryID, a.LeaseID, a.Number, log.StartedAt, log.DNSMillis, log.ConnectMillis,
		log.TLSMillis, log.FirstByteMillis, log.DurationMillis, log.RemoteIP, log.StatusCode, log.Error, headersJSON(log.ResponseHeaders),
		log.Response, log.ResponseSHA256, log.Truncated, pg.Texts(log.SecretIDs), v.Status == DeliveryDelivered, v.Disable,
		rule.Failures, rule.Span.Seconds(), rule.Patience.Seconds(), !rule.ManualOnly, rule.FirstPause.Seconds(), rule.LongestPause.Seconds(),
		1-jitter+2*jitter*chance).Scan(&moved, &c.Was, &c.Is, &c.Failures, &c.Disabled)
	if err != nil {
		return c, fmt.Errorf("record attempt %d of delivery %s: %w", a.Number, a.DeliveryID, err)
	}
	c.Recorded = moved == 1
	return c, nil
}

// queryer is the database or a transaction, below Bun, where statements have arguments.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
