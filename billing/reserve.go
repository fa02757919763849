package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
)

// Reservation is what a run asks to hold before it starts.
type Reservation struct {
	CompanyID string
	RunID     string
	// Hold is how many credits the run may spend at most: one for each distinct profile.
	Hold int64
	// Required is how many must be available for the run to be accepted, at least Hold.
	Required int64
	// Settled is how many of Hold are released at once, for profiles that were settled free at accept.
	Settled int64
	Actor   string
	// ExpiresAt is when a reservation still open is looked at as possibly abandoned.
	ExpiresAt time.Time
}

// InsufficientCredits refuses work that the account cannot pay for.
type InsufficientCredits struct {
	fault.Head
	Required  int64
	Available int64
	// Limit is true when the account is postpaid and its credit limit stood in the way;
	// Available is then what the limit still leaves.
	Limit bool
}

// Code is INSUFFICIENT_CREDITS.
func (InsufficientCredits) Code() fault.Code { return fault.CodeInsufficientCredits }

// Reserve holds credits for a run in the caller's transaction, as its last
// statement, since it locks the account's row until the commit. It returns the
// run's credits, or InsufficientCredits, after which the caller rolls back.
// Hold 0 is legal and writes nothing.
func (l *Ledger) Reserve(ctx context.Context, tx bun.Tx, r Reservation) (RunCredits, error) {
	switch {
	case r.Hold == 0:
		return RunCredits{}, nil
	case r.Hold < 0 || r.Required < r.Hold || r.Settled < 0 || r.Settled > r.Hold || r.RunID == "":
		return RunCredits{}, fmt.Errorf("reserve for run %q: hold %d, required %d, settled %d make no sense", r.RunID, r.Hold, r.Required, r.Settled)
	}
	err := l.reserve(ctx, tx, r)
	if err != nil {
		return RunCredits{}, fmt.Errorf("reserve for run %s: %w", r.RunID, err)
	}
	return RunCredits{Reserved: r.Hold, Released: r.Settled, Held: r.Hold - r.Settled}, nil
}

// Reopen raises the reservation of a run whose profiles are tried again, and
// opens it if it had ended.
type Reopen struct {
	CompanyID string
	RunID     string
	// Add is how many more credits the run may spend at most, at least 1: one for each profile that is tried again.
	Add   int64
	Actor string
	// ExpiresAt is when the reservation, if still open, is looked at as possibly abandoned.
	ExpiresAt time.Time
}

// Reopen holds Add more credits for a run, under the same conditions as Reserve
// and like it as the last statement of the caller's transaction, which has locked
// the run's row. It returns the run's credits, or InsufficientCredits, after
// which the caller rolls back. A run that never held any is a NotFound.
func (l *Ledger) Reopen(ctx context.Context, tx bun.Tx, r Reopen) (RunCredits, error) {
	if r.Add < 1 || r.Add > maxCredits || r.RunID == "" {
		return RunCredits{}, fmt.Errorf("reopen run %q: adding %d makes no sense", r.RunID, r.Add)
	}
	known, err := runCredits(ctx, tx, []string{r.RunID})
	if _, ok := known[r.RunID]; err == nil && !ok {
		err = fault.NotFound{Head: fault.Head{Message: "the run never held any credits"}, Type: "EnrichmentRun", ID: r.RunID}
	}
	var credits RunCredits
	if err == nil {
		err = l.admit(ctx, tx, r.CompanyID, r.Add, func() (ok bool, err error) {
			credits, ok, err = reopen(ctx, tx, r)
			return ok, err
		})
	}
	if err != nil {
		return RunCredits{}, fmt.Errorf("reopen run %s: %w", r.RunID, err)
	}
	return credits, nil
}

func (l *Ledger) reserve(ctx context.Context, tx bun.Tx, r Reservation) error {
	return l.admit(ctx, tx, r.CompanyID, r.Required, func() (bool, error) { return reserve(ctx, tx, r) })
}

// admit tries to hold credits, and when the account did not admit that, finds
// out why. An unlocked look may refuse but never admit; what it cannot explain is
// tried again under the lock, after ending what has expired. A third try is
// needed only if another grant expires between the two.
func (l *Ledger) admit(ctx context.Context, tx bun.Tx, companyID string, required int64, try func() (bool, error)) error {
	for range 4 {
		if ok, err := try(); ok || err != nil {
			return err
		}
		a, err := accountOf(ctx, tx, companyID)
		switch {
		case err != nil:
			return err
		case a == nil:
			return noAccount(companyID)
		}
		if !a.Overdue {
			if err := a.refusal(required); err != nil {
				return err
			}
		}
		if a, err = lockCurrent(ctx, tx, companyID); err == nil {
			err = l.tellLow(ctx, tx, a)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the account neither admits nor refuses the run")
}

// Affords reports whether the account would admit work that may cost required credits.
func (a *Account) Affords(required int64) bool { return a.refusal(required) == nil }

// refusal says why the account does not admit work that may cost required credits; nil when it does.
func (a *Account) refusal(required int64) error {
	left, limited := a.Available, false
	if a.Mode == Postpaid {
		if a.CreditLimit == nil {
			return nil
		}
		left, limited = *a.CreditLimit-a.Owed-a.Held, true
	}
	if required <= left {
		return nil
	}
	left = max(left, 0)
	message := fmt.Sprintf("%d credits are required and %d are available", required, left)
	if limited {
		message = fmt.Sprintf("%d credits are required and the spend limit leaves %d", required, left)
	}
	return InsufficientCredits{Head: fault.Head{Message: message}, Required: required, Available: left, Limit: limited}
}
