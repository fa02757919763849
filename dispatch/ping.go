package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// testsPerMinute is how often one webhook may be tested.
const testsPerMinute = 6

// testData is the data of every test, whatever the type.
const testData = `{"message":"Webhook test"}`

// TestResult is what came back from a test: status, latency and an error class,
// never what the receiver said and never where it was found.
type TestResult struct {
	// Delivery is DELIVERED after a 2xx, EXHAUSTED otherwise; it is never tried again.
	Delivery *Delivery
	Attempt  *DeliveryAttempt
}

// TestsTooOften refuses a seventh test of a webhook within a minute.
type TestsTooOften struct {
	fault.LimitExceeded
	// RetryAfter is when a test will be allowed, from now.
	RetryAfter time.Duration
}

// General is the refusal by the type that the schema knows.
func (t TestsTooOften) General() fault.User { return t.LimitExceeded }

// TestWebhook sends one delivery of type t (Ping is usual) to a webhook at once,
// as any delivery is sent, whether or not the webhook is subscribed or enabled
// and whatever its circuit says; it counts for none of them. Refusals: NotFound,
// InvalidInput for a type that does not fire, TestsTooOften. That the receiver
// failed is no error.
func (s *Service) TestWebhook(ctx context.Context, id string, t EventType) (*TestResult, error) {
	if !t.Fires() {
		return nil, fault.Invalid("eventType", "is no type of event that fires")
	}
	config := s.Config.withDefaults()
	var d *Delivery
	var a *admission
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		w, err := s.own(ctx, tx, id)
		if err != nil {
			return err
		}
		wait, err := s.store.mayTest(ctx, tx, id, testsPerMinute)
		if err != nil {
			return err
		}
		if wait > 0 {
			return TestsTooOften{
				LimitExceeded: fault.LimitExceeded{
					Head: fault.Head{
						Message: fmt.Sprintf("A webhook may be tested %d times a minute; again in %d seconds", testsPerMinute, int(wait/time.Second)+1),
						Field:   []string{"id"},
					},
					Limit: testsPerMinute, Actual: testsPerMinute + 1,
				},
				RetryAfter: wait,
			}
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		d = &Delivery{
			ID: ident.NewRandomUUID(), CompanyID: w.OwnerID, EventID: ident.New("evt"), WebhookID: id, Status: DeliveryExhausted,
			AttemptCount: 1, Ping: true, CreatedAt: now, EventType: t, EventAt: now,
		}
		d.Body = envelope(t, now, d.ID, []byte(testData))
		if err := s.store.addPing(ctx, tx, d, now); err != nil {
			return err
		}
		a, err = s.store.pinging(ctx, tx, d.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	log, r, err := s.send(ctx, a, config)
	if err != nil {
		return nil, err
	}
	log.Response, log.ResponseSHA256, log.ResponseHeaders, log.Truncated = nil, nil, nil, false
	if !r.Failed && r.Status >= 200 && r.Status <= 299 {
		d.Status = DeliveryDelivered
	}
	err = s.briefly(ctx, func(ctx context.Context) error {
		at, err := s.store.recordPing(ctx, s.DB, log, d.Status)
		d.CompletedAt = &at
		return err
	})
	if err != nil {
		return nil, err
	}
	return &TestResult{Delivery: d, Attempt: log}, nil
}
