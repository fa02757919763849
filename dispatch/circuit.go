package dispatch

import (
	"context"
	"fmt"
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
		return s.closed(ctx, tx, w, "A webhook's circuit was reset; deliveries go out again")
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

// closed follows the closing of a circuit in its transaction: the held
// deliveries are to be made due, and the company hears of it.
func (s *Service) closed(ctx context.Context, tx bun.Tx, w *Webhook, summary string) error {
	if err := s.enqueueResume(ctx, tx, w.ID); err != nil {
		return err
	}
	return Announce(ctx, tx, Activity{
		CompanyID: w.OwnerID, Kind: ActivityCircuitClosed, OccurredAt: time.Now().UTC(), Summary: summary,
		SubjectType: SubjectWebhook, SubjectID: w.ID, Test: w.Test,
	})
}
