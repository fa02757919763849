package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
)

// CreditGrant is credits that came in together: what a Grant, a refund or a
// correction left behind. What is left of it only ever falls.
type CreditGrant struct {
	bun.BaseModel `bun:"table:billing_grants,alias:g"`

	ID        string `bun:"id,pk"`
	AccountID string `bun:"account_id"`
	// Origin is PURCHASE, GRANT, REFUND or ADJUST.
	Origin    EntryKind `bun:"origin"`
	Amount    int64     `bun:"amount"`
	Remaining int64     `bun:"remaining"`
	// Priority orders spending: lower is spent first, then what expires sooner.
	Priority int `bun:"priority"`
	// ExpiresAt is when what is left is lost; nil for never.
	ExpiresAt *time.Time `bun:"expires_at"`
	// Reference is the payment provider's own; nil for none.
	Reference *string   `bun:"reference"`
	CreatedAt time.Time `bun:"created_at"`
}

// IsNode marks CreditGrant as a GraphQL Node.
func (*CreditGrant) IsNode() {}

// CreditGrantEdge is one grant and its place in the list.
type CreditGrantEdge struct{ page.Edge[*CreditGrant] }

// CreditGrantConnection is one page of an account's grants.
type CreditGrantConnection struct {
	page.Connection[CreditGrantEdge, *CreditGrant]
}

// CreditGrants returns a page of an account's grants, newest first, those that are spent included.
func (l *Ledger) CreditGrants(ctx context.Context, accountID string, a page.Args) (CreditGrantConnection, error) {
	if err := a.Check(); err != nil {
		return CreditGrantConnection{}, err
	}
	before, err := a.Position()
	if err != nil || fault.Text("after", before, 200) != nil {
		return CreditGrantConnection{}, firstOf(err, fault.Invalid("after", "is not a cursor of this list"))
	}
	rows, err := grantsBefore(ctx, l.DB, accountID, before, a.First+1)
	if err != nil {
		return CreditGrantConnection{}, fmt.Errorf("grants of %s: %w", accountID, err)
	}
	return CreditGrantConnection{page.Make(rows, a,
		func(g *CreditGrant) string { return g.ID },
		func(e page.Edge[*CreditGrant]) CreditGrantEdge { return CreditGrantEdge{e} },
	)}, nil
}
