package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

const (
	// redeliverAtOnce is the most deliveries that one call queues again.
	redeliverAtOnce = 1000
	// redeliverOperation scopes idempotency keys.
	redeliverOperation = "redeliver"
)

// RedeliverInput says what is to be sent again.
type RedeliverInput struct {
	IdempotencyKey string // required; see idem.CheckKey
	Select         RedeliverSelection
}

// RedeliverSelection is exactly one of the two.
type RedeliverSelection struct {
	DeliveryIDs []string
	FailedSince *FailedSince
}

// FailedSince is what was given up for one webhook since a time.
type FailedSince struct {
	WebhookID string
	Since     time.Time
}

// Redelivery is what a call queued again.
type Redelivery struct {
	bun.BaseModel `bun:"table:redeliveries,alias:rd"`

	ID        string `bun:"id,pk"`
	CompanyID string `bun:"company_id"`
	Requeued  int    `bun:"requeued"`
	// Remaining still match: another call with a new key goes on.
	Remaining int `bun:"remaining"`
}

// Redeliver queues deliveries again, whatever became of them: same event id, same
// bytes, a fresh count of retries, attempts marked manual. One that is under way
// or waiting is made due. A list is queued whole or not at all; of what failed
// since a time at most 1,000 are, oldest first. The same key gets the same
// answer. Refusals: InvalidInput, LimitExceeded, IdempotencyKeyReused; NotFound;
// Conflict for a webhook that is disabled, an erased body, or a test.
func (s *Service) Redeliver(ctx context.Context, in RedeliverInput) (*Redelivery, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	out := &Redelivery{ID: ident.New("rdl"), CompanyID: p.Company.ID}
	replayed := false
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		prior, err := idem.Take(ctx, tx, idem.Claim{
			CompanyID: p.Company.ID, Operation: redeliverOperation, Key: in.IdempotencyKey,
			Fingerprint: idem.Fingerprint(redeliverOperation, in.Select), ResourceID: out.ID,
		})
		if err != nil {
			return err
		}
		if replayed = prior != ""; replayed {
			out, err = s.store.redelivery(ctx, tx, p.Company.ID, prior)
			return err
		}
		var chosen []*requeued
		if in.Select.FailedSince != nil {
			chosen, out.Remaining, err = s.failedSince(ctx, tx, p, *in.Select.FailedSince)
		} else {
			chosen, err = s.listed(ctx, tx, p, in.Select.DeliveryIDs)
		}
		if err != nil {
			return err
		}
		out.Requeued = len(chosen)
		if err := s.requeue(ctx, tx, chosen); err != nil {
			return err
		}
		return s.store.addRedelivery(ctx, tx, out)
	})
	if err != nil {
		return nil, err
	}
	if replayed {
		s.Metrics.Replayed(redeliverOperation)
	}
	return out, nil
}

func (in RedeliverInput) check() error {
	if err := idem.CheckKey("idempotencyKey", in.IdempotencyKey); err != nil {
		return err
	}
	ids, since := in.Select.DeliveryIDs, in.Select.FailedSince
	switch {
	case (ids != nil) == (since != nil):
		return fault.Invalid("select", "must name deliveries or a time, and not both")
	case since != nil && (since.Since.Year() < 1 || since.Since.Year() > 9999):
		return fault.Invalid("select.failedSince.since", "is out of range")
	case since != nil:
		return nil
	case len(ids) == 0:
		return fault.Invalid("select.deliveryIds", "must name at least one delivery")
	case len(ids) > redeliverAtOnce:
		return fault.LimitExceeded{
			Head:  fault.Head{Message: fmt.Sprintf("at most %d deliveries a call, not %d", redeliverAtOnce, len(ids)), Field: []string{"select", "deliveryIds"}},
			Limit: redeliverAtOnce, Actual: len(ids),
		}
	}
	return nil
}

// requeued is a delivery that is to be queued again, with what speaks against it.
type requeued struct {
	Delivery `bun:",extend"`
	Enabled  bool `bun:"enabled"` // its webhook is, and is not deleted
}

// failedSince locks what was given up for a webhook, and counts what more there is.
func (s *Service) failedSince(ctx context.Context, tx bun.Tx, p *access.Principal, f FailedSince) (chosen []*requeued, remaining int, err error) {
	w, err := s.find(ctx, tx, f.WebhookID, "select.failedSince.webhookId")
	switch {
	case errors.Is(err, errForeign):
		return nil, 0, unknownWebhook(f.WebhookID, "select.failedSince.webhookId")
	case err != nil:
		return nil, 0, err
	case !w.Enabled:
		return nil, 0, disabledConflict("select.failedSince.webhookId")
	}
	return s.store.failedSince(ctx, tx, p, f, redeliverAtOnce)
}

// listed locks the deliveries of a list, each once, or refuses every one that cannot be sent again.
func (s *Service) listed(ctx context.Context, tx bun.Tx, p *access.Principal, ids []string) ([]*requeued, error) {
	var known []string
	for _, id := range ids {
		if ident.IsUUID(id) {
			known = append(known, id)
		}
	}
	rows, err := s.store.lockDeliveries(ctx, tx, p, known)
	if err != nil {
		return nil, err
	}
	by := make(map[string]*requeued, len(rows))
	for _, d := range rows {
		by[d.ID] = d
	}
	var refusals []error
	for i, id := range ids {
		path := fmt.Sprintf("select.deliveryIds.%d", i)
		switch d := by[id]; {
		case d == nil:
			refusals = append(refusals, fault.NotFound{
				Head: fault.Head{Message: "no such delivery", Field: []string{"select", "deliveryIds", fmt.Sprint(i)}}, Type: "Delivery", ID: id,
			})
		case d.Ping:
			refusals = append(refusals, conflict("TEST", "a test is not sent again; test the webhook anew", path))
		case d.Body == nil:
			refusals = append(refusals, conflict("ERASED", "a person in it was erased; its body is gone", path))
		case !d.Enabled:
			refusals = append(refusals, disabledConflict(path))
		}
	}
	if err := errors.Join(refusals...); err != nil {
		return nil, err
	}
	return rows, nil
}

func disabledConflict(path string) error {
	return conflict("DISABLED", "the webhook is disabled or deleted; nothing would be sent", path)
}

func conflict(state, message, path string) error {
	return fault.Conflict{State: state, Head: fault.Head{Message: message, Field: fault.Invalid(path, "").Field}}
}

// requeue queues deliveries again in the caller's transaction. One whose job
// still waits keeps it; an attempt under way keeps its lease, and what follows it counts anew.
func (s *Service) requeue(ctx context.Context, tx bun.Tx, chosen []*requeued) error {
	var ended []*Delivery
	ids := make([]string, len(chosen))
	for i, d := range chosen {
		ids[i] = d.ID
		if d.CompletedAt != nil || d.JobID == nil {
			ended = append(ended, &d.Delivery)
			continue
		}
		if _, err := s.Jobs.RetryNow(ctx, tx, *d.JobID); err != nil {
			return err
		}
	}
	if len(ended) > 0 {
		if err := s.enqueue(ctx, tx, ended, priorityRedelivery); err != nil {
			return err
		}
		if err := s.store.adopt(ctx, tx, ended); err != nil {
			return err
		}
	}
	return s.store.requeue(ctx, tx, ids)
}
