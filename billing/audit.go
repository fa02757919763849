package billing

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// Violation is one broken invariant of one account (README.md names them I1 to I13).
type Violation struct {
	Invariant string `bun:"invariant"`
	AccountID string `bun:"account_id"`
	Detail    string `bun:"detail"`
}

// Audit proves the books from the entries alone and returns what is wrong with
// them; an empty answer is the only good one.
func (l *Ledger) Audit(ctx context.Context, db bun.IDB) ([]Violation, error) {
	found, err := audit(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("billing audit: %w", err)
	}
	return found, nil
}
