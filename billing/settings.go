package billing

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// Settings are what an operator may change of an account; nil leaves as it is.
type Settings struct {
	Mode *Mode
	// CreditLimit is the most that may be owed and held together; -1 for no limit.
	CreditLimit *int64
	// CycleAnchor is the day of the month, 1 to 31, on which a period begins.
	CycleAnchor *int
	// TimeZone is the IANA name of the zone in which it begins at midnight.
	TimeZone *string
	// LowThreshold is below what the company is told that its credits run low; 0 for never.
	LowThreshold *int64
	// CreditLeftover, with a change to Postpaid, has the credits that are left taken off the next invoice.
	CreditLeftover bool
	Actor          string
}

func (s Settings) check() error {
	switch {
	case s.Mode != nil && *s.Mode != Prepaid && *s.Mode != Postpaid:
		return fault.Invalid("mode", "must be %s or %s, not %q", Prepaid, Postpaid, *s.Mode)
	case s.CreditLeftover && (s.Mode == nil || *s.Mode != Postpaid):
		return fault.Invalid("creditLeftover", "goes with a change of the mode to %s", Postpaid)
	case s.CreditLimit != nil && (*s.CreditLimit < -1 || *s.CreditLimit > maxCredits):
		return fault.Invalid("creditLimit", "must be between 0 and %d, or -1 for none", int64(maxCredits))
	case s.CycleAnchor != nil && (*s.CycleAnchor < 1 || *s.CycleAnchor > 31):
		return fault.Invalid("cycleAnchor", "must be a day of the month, 1 to 31")
	case s.LowThreshold != nil && (*s.LowThreshold < 0 || *s.LowThreshold > maxCredits):
		return fault.Invalid("lowThreshold", "must be between 0 and %d", int64(maxCredits))
	case s.TimeZone != nil:
		return fault.Text("timeZone", *s.TimeZone, 100)
	}
	return nil
}

// Set changes the company's account. Periods that have ended are closed first, by
// the old settings. A new anchor or zone moves the end of the current period,
// never its begin, so that no moment is in two periods or in none, and always to
// a time ahead: a day that has passed is passed over.
//
// The mode is changed only while nothing is held, since a run ends as it began: a
// Conflict, HELD, otherwise. A postpaid account holds no credits, so going postpaid
// with some left is a Conflict, AVAILABLE, unless CreditLeftover says what becomes
// of them: each grant loses what is left of it by an entry of its own, and the
// invoice of the current period takes off what those credits cost when they were
// turned; where no price is set that would be nothing, which is a Conflict, UNPRICED.
// What is owed when an account goes prepaid is invoiced at the end of its period.
func (l *Ledger) Set(ctx context.Context, companyID string, s Settings) (*Account, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var set *standing
	err := pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		a, err := l.lockClosed(ctx, tx, companyID)
		if err != nil {
			return err
		}
		if s.TimeZone != nil {
			if known, err := knownZone(ctx, tx, *s.TimeZone); err != nil || !known {
				return firstOf(err, fault.Invalid("timeZone", "no time zone is named %q", *s.TimeZone))
			}
		}
		next := a.with(s)
		if err := next.admits(a, s.CreditLeftover); err != nil {
			return err
		}
		if a.Mode != next.Mode && a.Available > 0 {
			if err := l.turnLeftover(ctx, tx, a, s.Actor); err != nil {
				return err
			}
		}
		if err := updateSettings(ctx, tx, next, a.Now, a.CycleAnchor != next.CycleAnchor || a.TimeZone != next.TimeZone); err != nil {
			return err
		}
		if a.Mode != next.Mode {
			// An entry that moves nothing, so that the ledger says since when.
			memo := fmt.Sprintf("the account is %s from here on", next.Mode)
			_, err = moveOwed(ctx, tx, a, correction{Kind: KindAdjust, Memo: memo, Actor: s.Actor, Key: ident.New("set")})
		} else {
			err = l.tellLow(ctx, tx, a)
		}
		if err == nil {
			set, err = accountOf(ctx, tx, companyID)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", companyID, err)
	}
	return &set.Account, nil
}

// with is the account as the settings would make it.
func (a *standing) with(s Settings) *Account {
	next := a.Account
	if s.Mode != nil {
		next.Mode = *s.Mode
		if next.Mode == Prepaid && s.CreditLimit == nil {
			next.CreditLimit = nil
		}
	}
	if s.CreditLimit != nil {
		next.CreditLimit = s.CreditLimit
		if *s.CreditLimit < 0 {
			next.CreditLimit = nil
		}
	}
	if s.CycleAnchor != nil {
		next.CycleAnchor = *s.CycleAnchor
	}
	if s.TimeZone != nil {
		next.TimeZone = *s.TimeZone
	}
	if s.LowThreshold != nil {
		next.LowThreshold = s.LowThreshold
		if *s.LowThreshold == 0 {
			next.LowThreshold = nil
		}
	}
	return &next
}

// admits refuses settings that the account, as it stands, cannot take.
func (next *Account) admits(a *standing, creditLeftover bool) error {
	switch {
	case next.Mode == Prepaid && next.CreditLimit != nil:
		return fault.Invalid("creditLimit", "only a postpaid account has a credit limit")
	case next.Mode == a.Mode:
		return nil
	case a.Held > 0:
		return fault.Conflict{
			Head:  fault.Head{Message: fmt.Sprintf("%d credits are held: the mode changes only when no run holds any; wait for the runs that do, or cancel them", a.Held), Field: []string{"mode"}},
			State: "HELD",
		}
	case next.Mode == Postpaid && a.Available > 0 && !creditLeftover:
		return fault.Conflict{
			Head: fault.Head{
				Message: fmt.Sprintf("%d credits are left, and a postpaid account holds none: have them taken off the next invoice (--credit-leftover), "+
					"or take them off the account (enrichd credits adjust --credits -%d), or wait until they are used", a.Available, a.Available),
				Field: []string{"mode"},
			},
			State: "AVAILABLE",
		}
	}
	return nil
}

// turnLeftover turns the credits that are left in a locked account, which holds
// none, into what its next invoice takes off.
func (l *Ledger) turnLeftover(ctx context.Context, tx bun.Tx, a *standing, actor string) error {
	priced, err := pricedAt(ctx, tx, a.ID, a.Now)
	switch {
	case err != nil:
		return err
	case !priced:
		return fault.Conflict{
			Head: fault.Head{
				Message: fmt.Sprintf("%d credits are left and no price is set, so that they would be worth nothing: set one first (enrichd price set)", a.Available),
				Field:   []string{"creditLeftover"},
			},
			State: "UNPRICED",
		}
	}
	return takeLeftover(ctx, tx, a, actor)
}

// Sweep ends, in every account, what has expired and is not held, and returns in how many.
func (l *Ledger) Sweep(ctx context.Context) (int, error) {
	ids, err := overdueCompanies(ctx, l.DB)
	if err != nil {
		return 0, fmt.Errorf("look for expired credits: %w", err)
	}
	for n, id := range ids {
		if _, err := l.current(ctx, id); err != nil {
			return n, fmt.Errorf("end what has expired of %s: %w", id, err)
		}
	}
	return len(ids), nil
}
