package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// Runs is what the ledger asks about the runs that hold its credits, which it
// knows by their ids only.
type Runs struct {
	// FailAbandoned ends what of a run no job is left for. It leaves a live run as it is.
	FailAbandoned func(ctx context.Context, companyID, runID string) error
	// LockEnded locks the run's row until the transaction ends, and reports
	// whether the run is over or gone, so that nothing more will be captured for it.
	LockEnded func(ctx context.Context, tx bun.Tx, runID string) (bool, error)
}

// reapBatch is how many reservations one look finds.
const reapBatch = 500

// Reap looks at the reservations that are open past their time. It has runs fail
// that no job is left for, which releases what they hold, and releases what a run
// that is over holds still, as EXPIRED. It never releases a live run's credits. It
// returns how many reservations it released itself.
func (l *Ledger) Reap(ctx context.Context, runs Runs) (int, error) {
	late, err := lateReservations(ctx, l.DB, reapBatch)
	if err != nil {
		return 0, fmt.Errorf("look for abandoned holds: %w", err)
	}
	released := 0
	var errs []error
	for _, r := range late {
		ok, err := l.reap(ctx, runs, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("reap run %s: %w", r.RunID, err))
		}
		if ok {
			released++
		}
	}
	return released, errors.Join(errs...)
}

func (l *Ledger) reap(ctx context.Context, runs Runs, r lateReservation) (released bool, err error) {
	if err := runs.FailAbandoned(ctx, r.CompanyID, r.RunID); err != nil {
		return false, err
	}
	err = pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		ended, err := runs.LockEnded(ctx, tx, r.RunID)
		if err != nil || !ended {
			return err
		}
		before, err := runCredits(ctx, tx, []string{r.RunID})
		if err != nil || before[r.RunID].Held == 0 {
			return err // failing the run has released it, as it should
		}
		released = true
		_, err = l.Move(ctx, tx, nil, []Settle{{CompanyID: r.CompanyID, RunID: r.RunID, Expired: true}})
		return err
	})
	return released && err == nil, err
}
