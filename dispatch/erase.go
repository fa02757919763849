package dispatch

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// Erase destroys what was sent, or was to be sent, about runs of a company, and
// what receivers answered, in the caller's transaction: the bodies hold the
// results of people who must be forgotten. Deliveries keep their place and
// their attempts; what was still to be sent is given up when it is next looked at.
func (s *Service) Erase(ctx context.Context, tx bun.Tx, companyID string, runIDs []string) error {
	if len(runIDs) == 0 {
		return nil
	}
	return s.store.erase(ctx, tx, companyID, runIDs)
}

// erase takes two statements: an attempt that is being recorded holds its
// delivery's row, and what it writes is seen only by a statement that begins afterwards.
func (store) erase(ctx context.Context, db bun.IDB, companyID string, runIDs []string) error {
	var gone []string
	err := db.NewRaw(`
		UPDATE deliveries AS d SET body = NULL
		  FROM dispatch_events AS e
		 WHERE e.id = d.event_id AND e.company_id = ?0 AND d.company_id = ?0 AND e.run_id IN (?1)
		RETURNING d.id`, companyID, bun.List(runIDs)).Scan(ctx, &gone)
	if err == nil && len(gone) > 0 {
		_, err = db.NewRaw(`
			UPDATE delivery_attempts SET response_body = NULL, response_headers = NULL, response_sha256 = NULL
			 WHERE delivery_id IN (?)`, bun.List(gone)).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("erase deliveries of company %s: %w", companyID, err)
	}
	return nil
}

// Sent is one delivery about a run, with what was sent: for whoever must show a person everything that is held.
type Sent struct {
	ID        string         `bun:"id" json:"id"`
	WebhookID string         `bun:"webhook_id" json:"webhookId"`
	RunID     string         `bun:"run_id" json:"requestId"`
	Status    DeliveryStatus `bun:"status" json:"status"`
	Body      []byte         `bun:"body" json:"-"`
}

// SentAbout lists what deliveries about runs of a company still hold.
func (s *Service) SentAbout(ctx context.Context, db bun.IDB, companyID string, runIDs []string) (sent []Sent, err error) {
	if len(runIDs) == 0 {
		return nil, nil
	}
	err = db.NewRaw(`
		SELECT d.id, d.webhook_id, e.run_id, d.status, d.body
		  FROM deliveries AS d JOIN dispatch_events AS e ON e.id = d.event_id
		 WHERE e.company_id = ?0 AND d.company_id = ?0 AND e.run_id IN (?1) AND d.body IS NOT NULL
		 ORDER BY d.created_at, d.id`, companyID, bun.List(runIDs)).Scan(ctx, &sent)
	if err != nil {
		return nil, fmt.Errorf("deliveries about runs of company %s: %w", companyID, err)
	}
	return sent, nil
}
