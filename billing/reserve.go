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

func insufficient(required, available int64, limit bool) error {
	message := fmt.Sprintf("%d credits are required and %d are available", required, available)
	if limit {
		message = fmt.Sprintf("%d credits are required and the spend limit leaves %d", required, available)
	}
	return InsufficientCredits{Head: fault.Head{Message: message}, Required: required, Available: available, Limit: limit}
}

// Reserve holds credits for a run in the caller's transaction, as its last
// statement, since it locks the account's row until the commit. It returns the
// run's credits, or InsufficientCredits, after which the caller rolls back.
// Hold 0 is legal and writes nothing.
func (l *Ledger) Reserve(ctx context.Context, tx bun.Tx, r Reservation) (RunCredits, error) {
	return RunCredits{}, errors.ErrUnsupported
}
