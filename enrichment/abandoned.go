package enrichment

import (
	"context"
	"errors"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
)

// Runs tells the ledger what it asks about the runs that hold its credits.
func (s *Settler) Runs() billing.Runs {
	return billing.Runs{FailAbandoned: s.failAbandoned, LockEnded: s.lockEnded}
}

// failAbandoned settles as FAILED those profiles of a run that no live job will
// settle, which ends the run and releases its credits once none is left.
func (s *Settler) failAbandoned(ctx context.Context, _, runID string) error {
	orphans, err := s.Service.Store.orphans(ctx, s.Service.DB, runID, orphanAge, MaxProfiles)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range orphans {
		errs = append(errs, s.Settle(ctx, o.RunID, o.CompanyID, o.ProfileID, failed("worker_lost", "no worker is left for this profile", true)))
	}
	return errors.Join(errs...)
}

// lockEnded locks a run's row and reports whether nothing more will happen to it.
func (s *Settler) lockEnded(ctx context.Context, tx bun.Tx, runID string) (bool, error) {
	runs, err := s.Service.Store.lock(ctx, tx, []string{runID})
	if err != nil {
		return false, err
	}
	return len(runs) == 0 || runs[0].Status.Final(), nil
}
