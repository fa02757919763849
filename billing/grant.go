package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
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

// check returns every refusal of the input, joined.
func (g Grant) check() error {
	var refusals []error
	if g.Credits < 1 || g.Credits > maxCredits {
		refusals = append(refusals, fault.Invalid("credits", "must be between 1 and %d, not %d", int64(maxCredits), g.Credits))
	}
	if g.Key == "" {
		refusals = append(refusals, fault.Invalid("idempotencyKey", "must not be empty"))
	}
	if g.Kind == KindPurchase && g.Reference == "" {
		refusals = append(refusals, fault.Invalid("paymentReference", "must not be empty"))
	}
	for _, text := range []struct {
		path, value string
		max         int
	}{
		{"idempotencyKey", g.Key, 255},
		{"paymentReference", g.Reference, 255},
		{"memo", g.Memo, 1000},
		{"companyId", g.CompanyID, 255},
		{"actor", g.Actor, 255},
	} {
		if err := fault.Text(text.path, text.value, text.max); err != nil {
			refusals = append(refusals, err)
		}
	}
	return errors.Join(refusals...)
}

// made reports whether this command is the one that made the entry and its
// grant. Who sent it is not compared: a colleague may repeat it.
func (g Grant) made(e *Entry, row *CreditGrant) bool {
	sameExpiry := g.ExpiresAt == nil && row.ExpiresAt == nil ||
		g.ExpiresAt != nil && row.ExpiresAt != nil && g.ExpiresAt.Truncate(time.Microsecond).Equal(*row.ExpiresAt)
	return e.Kind == g.Kind && e.Amount == g.Credits && text(e.Memo) == g.Memo &&
		text(row.Reference) == g.Reference && row.Priority == g.Priority && sameExpiry
}

// Grant adds credits to a prepaid account, in a transaction of its own, and
// returns the entry and the balance. The same key with the same input returns
// the entry that the first call made, and the balance of now; the same key with
// other input is an IdempotencyKeyReused. A second key with a payment reference
// that is known is a Conflict, so that one payment is never credited twice.
func (l *Ledger) Grant(ctx context.Context, in Grant) (*Entry, *CreditBalance, error) {
	if in.Kind != KindPurchase && in.Kind != KindGrant {
		return nil, nil, fmt.Errorf("grant for %s: kind %q adds no credits", in.CompanyID, in.Kind)
	}
	if err := in.check(); err != nil {
		return nil, nil, err
	}
	operation := "grantCredits"
	if in.Kind == KindPurchase {
		operation = "purchaseCredits"
	}
	entry, balance, err := l.command(ctx, operation, in.CompanyID, in.Key, in.made, lockCurrent, func(ctx context.Context, tx bun.Tx, a *standing) (*Entry, error) {
		if err := in.admit(ctx, tx, a); err != nil {
			return nil, err
		}
		return insertGrant(ctx, tx, a, in, nil)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s for %s: %w", in.Kind, in.CompanyID, err)
	}
	return entry, balance, nil
}

// Purchase records, for the caller's company, credits that money was taken for,
// under the payment provider's reference. However often a provider's callback is
// repeated, the payment is credited once: with the same key it is answered as at
// first, with another it is a Conflict whose state is CREDITED. A test key moves no credits.
func (l *Ledger) Purchase(ctx context.Context, key string, credits int64, reference string) (*Entry, *CreditBalance, error) {
	p := access.From(ctx)
	if p.Key.Test {
		return nil, nil, fault.Conflict{Head: fault.Head{Message: "a test key moves no credits"}, State: "TEST"}
	}
	return l.Grant(ctx, Grant{CompanyID: p.Company.ID, Credits: credits, Kind: KindPurchase, Actor: p.Key.ID, Key: key, Reference: reference})
}

// command runs one command of a caller on the company's account, once per key: a
// repeat returns the entry that the first made and the balance of now; made says
// whether an entry is this command's, and one that is not is an
// IdempotencyKeyReused. lock locks the account and does what is due in it; operation
// is what a repeat counts as (metrics.KeyedOperations).
func (l *Ledger) command(ctx context.Context, operation, companyID, key string, made func(*Entry, *CreditGrant) bool,
	lock func(context.Context, bun.Tx, string) (*standing, error), do func(context.Context, bun.Tx, *standing) (*Entry, error),
) (entry *Entry, balance *CreditBalance, err error) {
	replayed := false
	err = pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		a, err := lock(ctx, tx, companyID)
		if err != nil {
			return err
		}
		e, row, err := grantOf(ctx, tx, a.ID, key)
		switch {
		case err != nil:
			return err
		case e != nil && !made(e, row):
			return fault.IdempotencyKeyReused{
				Head:              fault.Head{Message: "the idempotency key was used with other input", Field: []string{"idempotencyKey"}},
				OriginalRequestID: e.ID(),
			}
		case e != nil:
			of := a.Balance()
			entry, balance, replayed = e, &of, true
			return l.tellLow(ctx, tx, a)
		}
		if entry, err = do(ctx, tx, a); err != nil {
			return err
		}
		balance = &CreditBalance{Posted: entry.AvailableAfter + entry.HeldAfter, Held: entry.HeldAfter, Available: entry.AvailableAfter}
		return l.tellLow(ctx, tx, a)
	})
	if err == nil && replayed {
		l.Metrics.Replayed(operation)
	}
	return entry, balance, err
}

// admit refuses what the account, which is locked, cannot take.
func (g Grant) admit(ctx context.Context, tx bun.Tx, a *standing) error {
	if a.Mode != Prepaid {
		return fault.Conflict{Head: fault.Head{Message: "the account is postpaid: it owes what it uses and holds no credits"}, State: string(a.Mode)}
	}
	if g.ExpiresAt != nil && !g.ExpiresAt.After(a.Now) {
		return fault.Invalid("expiresAt", "must lie in the future")
	}
	if g.Reference == "" {
		return nil
	}
	used, err := referenceUsed(ctx, tx, a.ID, g.Reference)
	if err != nil {
		return err
	}
	if used {
		return fault.Conflict{
			Head:  fault.Head{Message: "the payment reference was credited already", Field: []string{"paymentReference"}},
			State: "CREDITED",
		}
	}
	return nil
}

// lockCurrent locks the company's account and first ends what has expired in it.
func lockCurrent(ctx context.Context, tx bun.Tx, companyID string) (*standing, error) {
	a, err := lockAccount(ctx, tx, companyID)
	if err == nil && a != nil && a.Overdue {
		was := a.was
		if err = expire(ctx, tx, []string{a.ID}); err == nil {
			a, err = lockAccount(ctx, tx, companyID)
		}
		if a != nil {
			a.was = was
		}
	}
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return nil, noAccount(companyID)
	}
	return a, nil
}

// lockByID is lockCurrent by the account's own id; nil when there is none.
func (l *Ledger) lockByID(ctx context.Context, tx bun.Tx, id string) (*standing, error) {
	a, err := accountByID(ctx, tx, id)
	if a == nil || err != nil {
		return nil, err
	}
	return lockCurrent(ctx, tx, a.CompanyID)
}

// text is what an optional text says; "" for none.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
