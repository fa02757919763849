package billing

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/dispatch"
)

// Credits run low when what is left falls below the company's threshold. What is
// left is what is there in all, held credits included (prepaid), or what the
// limit still leaves of what may be owed (postpaid). A hold is thus no fall, and
// giving it back no rise: each crossing is told once, in the transaction of the
// capture, expiry or correction that made it, and only credits that come in, or
// an invoice that is closed, can bring about another.

// watched is an account with what is left in it.
type watched struct {
	ID        string    `bun:"id"`
	CompanyID string    `bun:"company_id"`
	Available int64     `bun:"available"`
	Held      int64     `bun:"held"`
	Threshold *int64    `bun:"low_threshold"`
	LastAt    time.Time `bun:"last_at"`
	Remaining int64     `bun:"remaining"`
}

// left is watched.Remaining of a whole account.
func (a *Account) left() int64 {
	switch {
	case a.Mode == Prepaid:
		return a.Available + a.Held
	case a.CreditLimit == nil:
		return math.MaxInt64
	default:
		return *a.CreditLimit - a.Owed
	}
}

// tellLow announces that the account has fallen below its threshold since the
// transaction locked it, if it has.
func (l *Ledger) tellLow(ctx context.Context, tx bun.Tx, a *standing) error {
	if a == nil || a.LowThreshold == nil || a.was < *a.LowThreshold {
		return nil
	}
	return l.tell(ctx, tx, map[string]int64{a.ID: a.was})
}

// tellFallen is tellLow for accounts of which each but the overdue ones fell by most at most.
func (l *Ledger) tellFallen(ctx context.Context, tx bun.Tx, accounts []watched, most int64, overdue map[string]bool) error {
	was := map[string]int64{}
	for _, a := range accounts {
		if a.Threshold != nil && a.Remaining >= *a.Threshold && (overdue[a.ID] || a.Remaining-most < *a.Threshold) {
			was[a.ID] = a.Remaining
		}
	}
	return l.tell(ctx, tx, was)
}

// lowData is what a receiver of credits.low is told.
type lowData struct {
	CompanyID string `json:"companyId"`
	Threshold int64  `json:"threshold"`
	Remaining int64  `json:"remaining"`
	Available int64  `json:"available"`
	Held      int64  `json:"held"`
}

// tell announces those accounts that stood at or above their threshold and are below it now.
func (l *Ledger) tell(ctx context.Context, tx bun.Tx, was map[string]int64) error {
	if l.Dispatch == nil || len(was) == 0 {
		return nil
	}
	ids := make([]string, 0, len(was))
	for id := range was {
		ids = append(ids, id)
	}
	now, err := watchedOf(ctx, tx, ids)
	if err != nil {
		return fmt.Errorf("look for low credits: %w", err)
	}
	var events []dispatch.Event
	var news []dispatch.Activity
	for _, a := range now {
		if a.Threshold == nil || was[a.ID] < *a.Threshold || a.Remaining >= *a.Threshold {
			continue
		}
		data, err := json.Marshal(lowData{a.CompanyID, *a.Threshold, a.Remaining, a.Available, a.Held})
		if err != nil {
			return fmt.Errorf("low credits of %s: %w", a.CompanyID, err)
		}
		events = append(events, dispatch.Event{Type: dispatch.CreditsLow, CompanyID: a.CompanyID, Data: data, At: a.LastAt})
		news = append(news, dispatch.Activity{
			CompanyID: a.CompanyID, Kind: dispatch.ActivityCreditsLow, OccurredAt: a.LastAt, SubjectType: dispatch.SubjectAccount, SubjectID: a.ID,
			Summary: fmt.Sprintf("%d credits are left, fewer than %d", a.Remaining, *a.Threshold),
		})
	}
	if err := l.Dispatch.Publish(ctx, tx, events...); err != nil {
		return err
	}
	return dispatch.Announce(ctx, tx, news...)
}
