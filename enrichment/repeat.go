package enrichment

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// A repeat is a profile that is asked for again while the company's window is
// open: its newest success is not older than that, and what the company says of
// it has not changed since. It costs nothing and asks no source: the candidate of
// that success is the answer. A success that was itself a repeat opens no window,
// or it would never close. Time is the database's.

// repeat is the success that answers a repeated profile.
type repeat struct {
	ProfileID string   `bun:"profile_id"`
	RunID     string   `bun:"run_id"`
	Fields    []string `bun:"fields_changed,array"`
	Missing   []string `bun:"missing,array"`
}

// window reports whether the company has unchanged repeats served from store. Test keys cost nothing, so theirs work each time.
func (a *accepting) window() bool { return a.who.Company.RepeatWindowDays > 0 && !a.who.Key.Test }

// repeats finds which of the profiles are repeats. It keeps an erasure from
// beginning, so that what it finds is still there when serve copies it.
func (a *accepting) repeats(ctx context.Context, tx bun.Tx) (map[string]repeat, error) {
	if !a.window() {
		return nil, nil
	}
	if err := a.Store.holdCompany(ctx, tx, a.who.Company.ID); err != nil {
		return nil, err
	}
	return a.Store.repeats(ctx, tx, a.who.Company.ID, a.distinct, a.who.Company.RepeatWindowDays)
}

// serve ends a queued profile with what an earlier run found, free; the credit that was held for it is released.
func (b *book) serve(m *RunProfile, at time.Time, from repeat) {
	b.move(m, OutcomeEnriched)
	b.changed[m] = true
	m.FinishedAt, m.FromStore = &at, true
	m.FieldsChanged, m.Missing = append([]string{}, from.Fields...), append([]string{}, from.Missing...)
	b.served = append(b.served, from)
	b.log.add(at, b.advanced(m))
	if !b.run.Test {
		b.run.Released++
		b.log.add(at, &CreditsMoved{Credits: b.run.Credits()})
	}
	b.stages(at)
}
