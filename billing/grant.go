package billing

import (
	"context"
	"errors"
	"time"
)

// maxCredits bounds one command, so that no sum comes near the end of a bigint.
const maxCredits = 1_000_000_000_000

// Grant is a command that adds credits to a company's account.
type Grant struct {
	CompanyID string
	// Credits is how many, 1 to 10^12.
	Credits int64
	// Kind is KindPurchase (money was taken for them) or KindGrant (an operator gives them).
	Kind  EntryKind
	Memo  string
	Actor string
	// Key makes the command idempotent within the account.
	Key string
	// Reference is the payment provider's own, unique within the account; "" for none.
	Reference string
	// ExpiresAt is when what is left is lost; nil for never.
	ExpiresAt *time.Time
	// Priority orders spending: lower is spent first, then what expires sooner.
	Priority int
}

// Grant adds credits, in a transaction of its own. The same key with the same
// input returns the entry that the first call made, and the balance of now; the
// same key with other input is an IdempotencyKeyReused.
func (l *Ledger) Grant(ctx context.Context, in Grant) (*Entry, *CreditBalance, error) {
	return nil, nil, errors.ErrUnsupported
}
