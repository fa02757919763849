package dispatch

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/enrichd/enrichd/internal/access"
)

// store holds every statement about webhooks, events and deliveries, except
// those that move a delivery along, which are in settle.go.
type store struct{}

type webhookSecret struct {
	bun.BaseModel `bun:"table:webhook_secrets,alias:s"`

	ID        string     `bun:"id,pk"`
	WebhookID string     `bun:"webhook_id"`
	Secret    []byte     `bun:"secret"` // sealed
	Hint      string     `bun:"hint"`
	CreatedAt time.Time  `bun:"created_at"`
	ExpiresAt *time.Time `bun:"expires_at"`
}

// eventRow is an event with the id under which it is stored.
type eventRow struct {
	Event
	ID string
}

// receiver says that the event at Index goes to WebhookID.
type receiver struct {
	Index     int    `bun:"index"`
	WebhookID string `bun:"webhook_id"`
}

// matching finds who is to hear of which event. A company hears through its
// own webhooks that ask for all runs; a run through the one that it names, which may be a global one of the company's key.
const matching = `
	WITH input AS (
		SELECT * FROM jsonb_to_recordset(?::jsonb) AS e(
			index int, id text, type text, company_id text, run_id text, sequence int, webhook_id text, test bool, at timestamptz)),
	listening AS (
		SELECT w.id, w.company_id, w.api_key_id, w.test, w.event_types, w.all_runs
		  FROM webhooks w WHERE w.enabled AND w.deleted_at IS NULL),
	matched AS (
		SELECT e.index, w.id AS webhook_id FROM input e JOIN listening w ON w.company_id = e.company_id
		 WHERE w.all_runs AND w.test = e.test AND e.type = ANY (w.event_types)
		UNION
		SELECT e.index, w.id FROM input e JOIN listening w ON w.id = e.webhook_id
		 WHERE w.test = e.test AND e.type = ANY (w.event_types)
		   AND (w.company_id = e.company_id OR w.company_id IS NULL AND EXISTS (
		       SELECT FROM api_keys k WHERE k.id = w.api_key_id AND k.company_id = e.company_id)))`

const pickMatched = ` SELECT index, webhook_id FROM matched ORDER BY index, webhook_id`

const writeMatched = `,
	written AS (
		INSERT INTO dispatch_events (id, company_id, type, run_id, sequence, at)
		SELECT e.id, e.company_id, e.type, e.run_id, e.sequence, e.at FROM input e
		 WHERE e.index IN (SELECT index FROM matched))` + pickMatched

func (store) match(ctx context.Context, db bun.IDB, query string, rows []eventRow) (found []receiver, err error) {
	type input struct {
		Index     int       `json:"index"`
		ID        string    `json:"id"`
		Type      EventType `json:"type"`
		CompanyID string    `json:"company_id"`
		RunID     *string   `json:"run_id"`
		Sequence  int       `json:"sequence"`
		WebhookID *string   `json:"webhook_id"`
		Test      bool      `json:"test"`
		At        time.Time `json:"at"`
	}
	in := make([]input, len(rows))
	for i, r := range rows {
		in[i] = input{Index: i, ID: r.ID, Type: r.Type, CompanyID: r.CompanyID, Sequence: r.Sequence, WebhookID: r.WebhookID, Test: r.Test, At: r.At}
		if r.RunID != "" {
			in[i].RunID = &r.RunID
		}
	}
	list, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	if err := db.NewRaw(query, string(list)).Scan(ctx, &found); err != nil {
		return nil, fmt.Errorf("receivers of %d events: %w", len(rows), err)
	}
	return found, nil
}

// receivers only looks; addEvents also writes the events that somebody receives.
func (s store) receivers(ctx context.Context, db bun.IDB, rows []eventRow) ([]receiver, error) {
	return s.match(ctx, db, matching+pickMatched, rows)
}

func (s store) addEvents(ctx context.Context, db bun.IDB, rows []eventRow) ([]receiver, error) {
	return s.match(ctx, db, matching+writeMatched, rows)
}

func (store) addDeliveries(ctx context.Context, db bun.IDB, rows []*Delivery) error {
	if _, err := db.NewInsert().Model(&rows).Exec(ctx); err != nil {
		return fmt.Errorf("add %d deliveries: %w", len(rows), err)
	}
	return nil
}

// hints selects what a webhook is shown with: the first characters of the secrets in force, and whose it is.
const hints = `ARRAY(SELECT s.hint FROM webhook_secrets s WHERE s.webhook_id = w.id
	AND (s.expires_at IS NULL OR s.expires_at > now()) ORDER BY s.created_at DESC, s.id DESC) AS secret_hints,
	coalesce(w.company_id, (SELECT k.company_id FROM api_keys k WHERE k.id = w.api_key_id)) AS owner_id`

// lockAndCount locks the company and counts its webhooks, the global ones of its keys included.
func (store) lockAndCount(ctx context.Context, db bun.IDB, companyID string) (n int, err error) {
	var id string
	if err := db.NewRaw(`SELECT id FROM companies WHERE id = ? FOR NO KEY UPDATE`, companyID).Scan(ctx, &id); err != nil {
		return 0, fmt.Errorf("lock company %s: %w", companyID, err)
	}
	err = db.NewRaw(`
		SELECT count(*) FROM webhooks w
		 WHERE w.deleted_at IS NULL AND (w.company_id = ? OR w.company_id IS NULL
		   AND w.api_key_id IN (SELECT k.id FROM api_keys k WHERE k.company_id = ?))`, companyID, companyID).Scan(ctx, &n)
	if err != nil {
		return 0, fmt.Errorf("count webhooks of company %s: %w", companyID, err)
	}
	return n, nil
}

func (store) addWebhook(ctx context.Context, db bun.IDB, w *Webhook, secret *webhookSecret) error {
	if _, err := db.NewInsert().Model(w).Exec(ctx); err != nil {
		return fmt.Errorf("add webhook: %w", err)
	}
	if _, err := db.NewInsert().Model(secret).Exec(ctx); err != nil {
		return fmt.Errorf("add webhook secret: %w", err)
	}
	return nil
}

// webhook reads one webhook of whichever company, nil when unknown or deleted;
// the caller decides what the asker may know of it.
func (store) webhook(ctx context.Context, db bun.IDB, id string) (*Webhook, error) {
	w := new(Webhook)
	err := db.NewSelect().Model(w).ColumnExpr("?TableColumns").ColumnExpr(hints).
		Where("w.id = ?", id).Where("w.deleted_at IS NULL").Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w", id, err)
	}
	return w, nil
}

// usable narrows to what the principal may see; it is Webhook.usableBy in SQL.
func usable(p *access.Principal) func(*bun.SelectQuery) *bun.SelectQuery {
	return func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("w.test = ?", p.Key.Test).
			Where("(w.company_id = ? OR w.company_id IS NULL AND w.api_key_id = ?)", p.Company.ID, p.Key.ID)
	}
}

func (store) webhooks(ctx context.Context, db bun.IDB, p *access.Principal, before *place, limit int) (rows []*Webhook, err error) {
	q := db.NewSelect().Model(&rows).ColumnExpr("?TableColumns").ColumnExpr(hints).
		Apply(usable(p)).Where("w.deleted_at IS NULL").
		OrderExpr("w.created_at DESC, w.id DESC").Limit(int64(limit))
	if before != nil {
		q = q.Where("(w.created_at, w.id) < (?, ?)", before.At, before.ID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("webhooks of company %s: %w", p.Company.ID, err)
	}
	return rows, nil
}

func (store) webhooksByID(ctx context.Context, db bun.IDB, p *access.Principal, ids []string) (rows []*Webhook, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = db.NewSelect().Model(&rows).ColumnExpr("?TableColumns").ColumnExpr(hints).Apply(usable(p)).
		Where("w.id IN (?)", bun.List(ids)).Scan(ctx)
	return rows, err
}

// deleteWebhook marks the row deleted, destroys what is secret and gives up what is unfinished.
func (store) deleteWebhook(ctx context.Context, db bun.IDB, id string) error {
	for _, statement := range []string{
		`UPDATE webhooks SET deleted_at = now(), updated_at = now(), enabled = false, sealed_headers = NULL WHERE id = ?`,
		`DELETE FROM webhook_secrets WHERE webhook_id = ?`,
		`UPDATE deliveries SET status = 'EXHAUSTED', completed_at = now(), next_attempt_at = NULL
		  WHERE webhook_id = ? AND status IN ('PENDING', 'RETRYING', 'HELD')`,
	} {
		if _, err := db.NewRaw(statement, id).Exec(ctx); err != nil {
			return fmt.Errorf("delete webhook %s: %w", id, err)
		}
	}
	return nil
}

// seen selects deliveries of webhooks that the principal may see, with their events.
func seen(q *bun.SelectQuery, p *access.Principal) *bun.SelectQuery {
	return q.ColumnExpr("?TableColumns").ColumnExpr("e.type AS event_type, e.run_id, e.at AS event_at").
		Join("JOIN dispatch_events AS e ON e.id = d.event_id").
		Join("JOIN webhooks AS w ON w.id = d.webhook_id").
		Where("d.company_id = ?", p.Company.ID).Where("w.test = ?", p.Key.Test)
}

func (store) delivery(ctx context.Context, db bun.IDB, p *access.Principal, id string) (*Delivery, error) {
	d := new(Delivery)
	err := seen(db.NewSelect().Model(d), p).Where("d.id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	return d, nil
}

func (store) deliveries(ctx context.Context, db bun.IDB, p *access.Principal, f DeliveryFilter, before *place, limit int) (rows []*Delivery, err error) {
	q := seen(db.NewSelect().Model(&rows), p).OrderExpr("d.created_at DESC, d.id DESC").Limit(int64(limit))
	if before != nil {
		q = q.Where("(d.created_at, d.id) < (?, ?)", before.At, before.ID)
	}
	if f.WebhookID != nil {
		q = q.Where("d.webhook_id = ?", *f.WebhookID)
	}
	if f.RequestID != nil {
		q = q.Where("e.company_id = d.company_id").Where("e.run_id = ?", *f.RequestID)
	}
	if len(f.Status) > 0 {
		q = q.Where("d.status IN (?)", bun.List(f.Status))
	}
	if len(f.EventTypes) > 0 {
		q = q.Where("e.type IN (?)", bun.List(f.EventTypes))
	}
	if f.CreatedAfter != nil {
		q = q.Where("d.created_at >= ?", *f.CreatedAfter)
	}
	if f.CreatedBefore != nil {
		q = q.Where("d.created_at < ?", *f.CreatedBefore)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("deliveries of company %s: %w", p.Company.ID, err)
	}
	return rows, nil
}

// deliveriesOf reads the newest deliveries of each webhook, by webhook, in one statement.
func (store) deliveriesOf(ctx context.Context, db bun.IDB, p *access.Principal, webhookIDs []string, status []DeliveryStatus, before *place, limit int) (map[string][]*Delivery, error) {
	end := place{At: time.Unix(1<<36, 0).UTC()} // behind every delivery
	if before != nil {
		end = *before
	}
	var rows []*Delivery
	err := seen(db.NewSelect().Model(&rows), p).
		Join(`JOIN (SELECT m.id FROM unnest(?0::text[]) AS h (id)
			CROSS JOIN LATERAL (SELECT o.id FROM deliveries AS o
			 WHERE o.webhook_id = h.id AND o.company_id = ?1 AND (o.created_at, o.id) < (?2, ?3) AND (?4 OR o.status = ANY (?5::text[]))
			 ORDER BY o.created_at DESC, o.id DESC LIMIT ?6) AS m) AS x ON x.id = d.id`,
			pgdialect.Array(webhookIDs), p.Company.ID, end.At, end.ID, len(status) == 0, pgdialect.Array(status), limit).
		OrderExpr("d.created_at DESC, d.id DESC").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("deliveries of %d webhooks: %w", len(webhookIDs), err)
	}
	by := map[string][]*Delivery{}
	for _, d := range rows {
		by[d.WebhookID] = append(by[d.WebhookID], d)
	}
	return by, nil
}

func (store) attempts(ctx context.Context, db bun.IDB, deliveryIDs []string) (rows []*DeliveryAttempt, err error) {
	if len(deliveryIDs) == 0 {
		return nil, nil
	}
	err = db.NewSelect().Model(&rows).Where("a.delivery_id = ANY (?)", pgdialect.Array(deliveryIDs)).
		OrderExpr("a.delivery_id, a.number, a.started_at").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("attempts of %d deliveries: %w", len(deliveryIDs), err)
	}
	return rows, nil
}
