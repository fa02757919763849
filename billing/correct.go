package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
)

// Adjust is a command of an operator that corrects an account by hand.
type Adjust struct {
	CompanyID string
	// Credits is in the company's favour when positive: added to what a prepaid
	// account holds, taken off what a postpaid one owes. Negative is the reverse. Not 0.
	Credits int64
	// Memo says why, as the ledger and the next invoice show it.
	Memo  string
	Actor string
	// Key makes the command idempotent within the account.
	Key string
}

// Refund is a command of an operator that takes one capture back.
type Refund struct {
	CompanyID string
	RunID     string
	ProfileID string
	Memo      string
	Actor     string
	Key       string
}

// check refuses what a correction may not say, joined.
func check(key, memo, actor string) error {
	var refusals []error
	if key == "" {
		refusals = append(refusals, fault.Invalid("idempotencyKey", "must not be empty"))
	}
	if memo == "" {
		refusals = append(refusals, fault.Invalid("memo", "must say why"))
	}
	for path, value := range map[string]string{"idempotencyKey": key, "memo": memo, "actor": actor} {
		if err := fault.Text(path, value, 1000); err != nil {
			refusals = append(refusals, err)
		}
	}
	return errors.Join(refusals...)
}

// Adjust corrects the account, in a transaction of its own, and returns the entry
// and the balance; a repeat of the key is answered as Grant does. Credits that a
// prepaid account does not have available are an InsufficientCredits, as is more
// than a postpaid account may owe; more than it owes is a Conflict, since what is
// on an invoice is corrected there. Credits added never expire.
func (l *Ledger) Adjust(ctx context.Context, in Adjust) (*Entry, *CreditBalance, error) {
	err := check(in.Key, in.Memo, in.Actor)
	if in.Credits == 0 || in.Credits > maxCredits || in.Credits < -maxCredits {
		err = errors.Join(err, fault.Invalid("credits", "must be between %d and %d, and not 0", int64(-maxCredits), int64(maxCredits)))
	}
	if err != nil {
		return nil, nil, err
	}
	made := func(e *Entry, _ *CreditGrant) bool {
		return e.Kind == KindAdjust && e.Amount-e.OwedChange == in.Credits && text(e.Memo) == in.Memo
	}
	entry, balance, err := l.command(ctx, "adjustCredits", in.CompanyID, in.Key, made, l.lockClosed, func(ctx context.Context, tx bun.Tx, a *standing) (*Entry, error) {
		switch {
		case a.Mode == Prepaid && in.Credits > 0:
			return insertGrant(ctx, tx, a, Grant{Credits: in.Credits, Kind: KindAdjust, Memo: in.Memo, Actor: in.Actor, Key: in.Key}, nil)
		case a.Mode == Postpaid && in.Credits > a.Owed:
			return nil, owesLess(a, in.Credits)
		case in.Credits < 0:
			if err := a.refusal(-in.Credits); err != nil {
				return nil, err
			}
		}
		if a.Mode == Postpaid {
			return moveOwed(ctx, tx, a, correction{Kind: KindAdjust, Owed: -in.Credits, Memo: in.Memo, Actor: in.Actor, Key: in.Key})
		}
		return takeCredits(ctx, tx, a, in)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("adjust %s: %w", in.CompanyID, err)
	}
	return entry, balance, nil
}

// Refund takes one capture back, in a transaction of its own, and returns the
// entry and the balance; a repeat of the key is answered as Grant does. What
// credits paid for comes back as a grant that expires as the original would have,
// at once if that has passed. What is owed is owed no longer; if it is on an
// invoice already that is a Conflict, since an invoice is corrected by itself. A
// capture is refunded once.
func (l *Ledger) Refund(ctx context.Context, in Refund) (*Entry, *CreditBalance, error) {
	if err := check(in.Key, in.Memo, in.Actor); err != nil {
		return nil, nil, err
	}
	for path, id := range map[string]string{"runId": in.RunID, "profileId": in.ProfileID} {
		if err := fault.Text(path, id, 255); err != nil {
			return nil, nil, err
		}
	}
	made := func(e *Entry, _ *CreditGrant) bool {
		return e.Kind == KindRefund && text(e.RunID) == in.RunID && text(e.ProfileID) == in.ProfileID && text(e.Memo) == in.Memo
	}
	entry, balance, err := l.command(ctx, "refundCredits", in.CompanyID, in.Key, made, l.lockClosed, func(ctx context.Context, tx bun.Tx, a *standing) (*Entry, error) {
		c, err := captureOf(ctx, tx, a.ID, in.RunID, in.ProfileID)
		switch {
		case err != nil:
			return nil, err
		case c == nil:
			return nil, fault.NotFound{Head: fault.Head{Message: "the run captured no such profile", Field: []string{"profileId"}}, Type: "LedgerEntry", ID: in.ProfileID}
		case c.Refunded:
			return nil, fault.Conflict{Head: fault.Head{Message: "the capture was refunded already"}, State: string(KindRefund)}
		case c.OwedChange > 0 && (c.OwedChange > a.Owed || c.Invoiced):
			return nil, owesLess(a, c.OwedChange)
		case c.OwedChange > 0:
			return moveOwed(ctx, tx, a, correction{
				Kind: KindRefund, Owed: -c.OwedChange, RunID: c.RunID, ProfileID: c.ProfileID, Memo: in.Memo, Actor: in.Actor, Key: in.Key,
			})
		case a.Mode != Prepaid:
			return nil, fault.Conflict{Head: fault.Head{Message: "the account is postpaid now and holds no credits; adjust what it owes"}, State: string(a.Mode)}
		}
		e, err := insertGrant(ctx, tx, a, Grant{
			Credits: c.CapturedChange, Kind: KindRefund, Memo: in.Memo, Actor: in.Actor, Key: in.Key, ExpiresAt: c.ExpiresAt, Priority: c.Priority,
		}, &c.Entry)
		if err != nil || c.ExpiresAt == nil || c.ExpiresAt.After(a.Now) {
			return e, err
		}
		return e, expire(ctx, tx, []string{a.ID})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("refund %s of %s: %w", in.ProfileID, in.RunID, err)
	}
	if entry.Amount > 0 {
		// What came back may have expired at once.
		a, err := l.Account(ctx, in.CompanyID)
		if err != nil {
			return nil, nil, err
		}
		now := a.Balance()
		balance = &now
	}
	return entry, balance, nil
}

func owesLess(a *standing, credits int64) error {
	return fault.Conflict{
		Head:  fault.Head{Message: fmt.Sprintf("%d credits are owed and not on an invoice, fewer than %d: correct the invoice", a.Owed, credits), Field: []string{"credits"}},
		State: string(a.Mode),
	}
}

// correction is an entry that moves what is owed.
type correction struct {
	Kind             EntryKind
	Owed             int64
	RunID, ProfileID *string
	Memo, Actor, Key string
}
