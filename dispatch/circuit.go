package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// CircuitState says whether a webhook is being tried.
type CircuitState string

// A circuit is CLOSED while deliveries go out. It is OPEN, and they are held,
// after many failures in a row, and HALF_OPEN while one of them probes.
const (
	CircuitClosed   CircuitState = "CLOSED"
	CircuitOpen     CircuitState = "OPEN"
	CircuitHalfOpen CircuitState = "HALF_OPEN"
)

// Circuit is a webhook's circuit as its owner sees it.
type Circuit struct {
	State               CircuitState
	ConsecutiveFailures int
	OpenedAt            *time.Time // nil while it is closed
	RetryAt             *time.Time // when the next probe goes out; nil while it is closed, or when only a reset closes it
}

// Circuit returns the state of the webhook's circuit.
func (w *Webhook) Circuit() *Circuit {
	return &Circuit{State: w.CircuitState, ConsecutiveFailures: w.ConsecutiveFailures, OpenedAt: w.CircuitOpenedAt, RetryAt: w.CircuitRetryAt}
}

// Active reports whether deliveries go out: enabled, and the circuit closed.
func (w *Webhook) Active() bool { return w.Enabled && w.CircuitState == CircuitClosed }

// CircuitRule says when a circuit opens and for how long; the zero value is the documented default.
type CircuitRule struct {
	Failures     int           // failed attempts in a row; default 10
	Span         time.Duration // over at least this long, so that a restart does not open it; default 30 s
	FirstPause   time.Duration // until the first probe, doubled with each reopening; default 1 min
	LongestPause time.Duration // default 1 h
	// ManualOnly is the strict reading of the older contract, in which nothing but a reset closes a circuit.
	ManualOnly bool
	// Patience is how long a webhook may do nothing but fail before it is disabled; default 5 days, negative: for ever.
	Patience time.Duration
}

func (r CircuitRule) withDefaults() CircuitRule {
	if r.Failures == 0 {
		r.Failures = 10
	}
	if r.Span == 0 {
		r.Span = 30 * time.Second
	}
	if r.FirstPause == 0 {
		r.FirstPause = time.Minute
	}
	if r.LongestPause == 0 {
		r.LongestPause = time.Hour
	}
	if r.Patience == 0 {
		r.Patience = 5 * 24 * time.Hour
	}
	return r
}

// Why the service disabled a webhook on its owner's behalf.
const (
	disabledGone    = "GONE"    // its receiver answered 410
	disabledFailing = "FAILING" // nothing but failures for longer than CircuitRule.Patience
)

func (c consequence) opened() bool { return c.Is == CircuitOpen && c.Was != CircuitOpen }
func (c consequence) closed() bool { return c.Is == CircuitClosed && c.Was != CircuitClosed }

// record writes an attempt with all that follows from it in one transaction:
// the circuit's transition, the job that resumes, and what the company is told.
// A success of a closed circuit has no consequence, and is one statement.
func (s *Service) record(ctx context.Context, a *admission, log *DeliveryAttempt, v verdict, config Config) (c consequence, err error) {
	chance := rand.Float64()
	if v.Status == DeliveryDelivered && !a.Probe {
		err = s.briefly(ctx, func(ctx context.Context) (err error) {
			c, err = s.store.record(ctx, s.DB.DB, a, log, v, config.Circuit, chance)
			return err
		})
		return c, err
	}
	var news []Activity
	err = pg.InTx(context.WithoutCancel(ctx), s.DB, func(ctx context.Context, tx bun.Tx) error {
		if c, err = s.store.record(ctx, tx.Tx, a, log, v, config.Circuit, chance); err != nil || !c.Recorded {
			return err
		}
		if c.closed() {
			if err := s.enqueueResume(ctx, tx, a.WebhookID); err != nil {
				return err
			}
		}
		news = s.news(a, v, c)
		return Announce(ctx, tx, news...)
	})
	if err != nil {
		return consequence{}, err
	}
	if len(news) > 0 {
		s.wakeCompany(a.CompanyID)
	}
	return c, nil
}

// news is what a company hears of an attempt.
func (s *Service) news(a *admission, v verdict, c consequence) (news []Activity) {
	if v.Status == DeliveryExhausted {
		news = append(news, exhausted(a.CompanyID, a.DeliveryID, a.Number, a.Test))
	}
	tell := func(kind ActivityKind, summary string) {
		news = append(news, aboutWebhook(a.CompanyID, a.WebhookID, a.Test, kind, summary))
	}
	switch {
	case c.opened():
		tell(ActivityCircuitOpened, fmt.Sprintf("A webhook's circuit opened after %d failed attempts in a row; its deliveries are held", c.Failures))
	case c.closed():
		tell(ActivityCircuitClosed, "A webhook answered again; its circuit closed and deliveries go out")
	}
	switch c.Disabled {
	case disabledGone:
		tell(ActivityWebhookDisabled, "A webhook was disabled: its receiver answered 410 Gone")
	case disabledFailing:
		tell(ActivityWebhookDisabled, "A webhook was disabled: nothing but failures for too long")
	}
	return news
}

func aboutWebhook(companyID, webhookID string, test bool, kind ActivityKind, summary string) Activity {
	return Activity{
		CompanyID: companyID, Kind: kind, OccurredAt: time.Now().UTC(), Summary: summary,
		SubjectType: SubjectWebhook, SubjectID: webhookID, Test: test,
	}
}

func exhausted(companyID, deliveryID string, attempts int, test bool) Activity {
	return Activity{
		CompanyID: companyID, Kind: ActivityDeliveryExhausted, OccurredAt: time.Now().UTC(),
		Summary:     fmt.Sprintf("A webhook delivery was given up after %d attempts", attempts),
		SubjectType: SubjectDelivery, SubjectID: deliveryID, Test: test,
	}
}

// CircuitResetTooSoon refuses a reset within the cooldown since the circuit opened or was last reset.
type CircuitResetTooSoon struct {
	fault.Conflict
	// RetryAfter is when a reset will be allowed, from now.
	RetryAfter time.Duration
}

// General is the refusal by the type that the schema knows.
func (c CircuitResetTooSoon) General() fault.User { return c.Conflict }

// ResetCircuit closes an open circuit and resumes delivery; one failure opens it
// again, for longer, until a success has been seen. On a closed circuit it
// changes nothing, the count of failures included: otherwise resets would defeat
// the circuit. Refusals: NotFound; CircuitResetTooSoon.
func (s *Service) ResetCircuit(ctx context.Context, id string) (*Webhook, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	config := s.Config.withDefaults()
	var w *Webhook
	reset := false
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		if w, err = s.own(ctx, tx, id); err != nil {
			return err
		}
		wait, done, err := s.store.resetCircuit(ctx, tx, id, config.ResetCooldown)
		switch {
		case err != nil:
			return err
		case wait > 0:
			return CircuitResetTooSoon{
				Conflict: fault.Conflict{State: string(CircuitOpen), Head: fault.Head{
					Message: fmt.Sprintf("The circuit may be reset again in %d seconds", int(wait/time.Second)+1), Field: []string{"id"},
				}},
				RetryAfter: wait,
			}
		case !done:
			return nil
		}
		reset = true
		if w, err = s.own(ctx, tx, id); err != nil {
			return err
		}
		if err := s.enqueueResume(ctx, tx, w.ID); err != nil {
			return err
		}
		return Announce(ctx, tx, aboutWebhook(w.OwnerID, w.ID, w.Test, ActivityCircuitClosed, "A webhook's circuit was reset; its deliveries go out again"))
	})
	if err != nil {
		return nil, err
	}
	if reset {
		s.Log.InfoContext(ctx, "webhook circuit reset", "webhook", id, "key", p.Key.ID)
		s.wakeCompany(w.OwnerID)
	}
	return w, nil
}
