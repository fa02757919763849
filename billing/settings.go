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
	Actor        string
}

func (s Settings) check() error {
	switch {
	case s.Mode != nil && *s.Mode != Prepaid && *s.Mode != Postpaid:
		return fault.Invalid("mode", "must be %s or %s, not %q", Prepaid, Postpaid, *s.Mode)
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
// the old settings. The mode is changed only while nothing is held, since a run
// ends as it began; and to postpaid only when no credits are left, since a
// postpaid account holds none: what a prepaid one still owes is invoiced at the
// end of its period. A new anchor or zone moves the end of the current period,
// never its begin, so that no moment is in two periods or in none, and always to
// a time ahead: a day that has passed is passed over.
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
		if err := next.admits(a); err != nil {
			return err
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
func (next *Account) admits(a *standing) error {
	switch {
	case next.Mode == Prepaid && next.CreditLimit != nil:
		return fault.Invalid("creditLimit", "only a postpaid account has a credit limit")
	case next.Mode == a.Mode:
		return nil
	case a.Held > 0:
		return fault.Conflict{
			Head:  fault.Head{Message: fmt.Sprintf("%d credits are held: the mode changes only when no run holds any", a.Held), Field: []string{"mode"}},
			State: "HELD",
		}
	case next.Mode == Postpaid && a.Available > 0:
		return fault.Conflict{
			Head:  fault.Head{Message: fmt.Sprintf("%d credits are left: use them or adjust them away first", a.Available), Field: []string{"mode"}},
			State: "AVAILABLE",
		}
	}
	return nil
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
