package enrichment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// maxReason bounds why something was cancelled, suppressed or erased, in bytes.
const maxReason = 500

// Cancel stops what of a run has not begun: those profiles settle CANCELLED,
// free, and their jobs are cancelled with them. Profiles at work finish, and
// are paid for if they succeed. With none at work the run ends at once.
// Cancelling again changes nothing; a run that ended otherwise is a Conflict,
// an unknown or foreign one a NotFound.
func (s *Service) Cancel(ctx context.Context, requestID string, reason *string) (*Run, error) {
	if reason != nil {
		if err := fault.Characters("reason", *reason, maxReason); err != nil {
			return nil, err
		}
	}
	var run *Run
	var sum tally
	var touched []string
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		sum = tally{}
		b, err := s.openOwn(ctx, tx, requestID)
		if err != nil {
			return err
		}
		switch run = b.run; run.Status {
		case StatusCancelling, StatusCancelled:
			return nil
		case StatusCompleted, StatusFailed:
			return fault.Conflict{Head: fault.Head{Message: "the run has ended already", Field: []string{"requestId"}}, State: string(run.Status)}
		}
		run.CancelReason = reason
		stopped := b.cancel(now())
		if err := s.stopJobs(ctx, tx, run.ID, stopped); err != nil {
			return err
		}
		books := map[string]*book{run.ID: b}
		sum.note(books)
		touched, err = s.commit(ctx, tx, books)
		sum.ended(books)
		return err
	})
	if err != nil {
		return nil, err
	}
	sum.publish(s.Metrics)
	s.Wake.Publish(append(touched, run.ID)...)
	return run, nil
}

// openOwn locks a run of the caller's company and reads its members; one that the caller may not see is a NotFound.
func (s *Service) openOwn(ctx context.Context, tx bun.Tx, requestID string) (*book, error) {
	p := access.From(ctx)
	missing := fault.NotFound{Head: fault.Head{Message: "no such run", Field: []string{"requestId"}}, Type: "EnrichmentRun", ID: requestID}
	if !ident.IsRun(requestID) {
		return nil, missing
	}
	books, err := s.open(ctx, tx, []string{requestID})
	if err != nil {
		return nil, err
	}
	b := books[requestID]
	if b == nil || b.run.CompanyID != p.Company.ID || b.run.Test != p.Key.Test {
		return nil, missing
	}
	return b, nil
}

// stopJobs cancels the jobs of profiles that were settled without them. One that
// a worker has taken up in this moment is told to stop: nothing it brings would count.
func (s *Service) stopJobs(ctx context.Context, tx bun.Tx, runID string, stopped []*RunProfile) error {
	if len(stopped) == 0 {
		return nil
	}
	ids, err := s.Store.jobs(ctx, tx, runID, stopped)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.Jobs.Cancel(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// RetryInput asks for another try of profiles that failed.
type RetryInput struct {
	IdempotencyKey string `json:"-"`
	RequestID      string `json:"requestId"`
	// ProfileIDs are profiles of the run that ended FAILED or TIMED_OUT; empty means every one whose failure says retryable.
	ProfileIDs []string `json:"profileIds"`
}

// retryFor is how long after its creation a run can be tried again: less than
// evidence is kept, so that what is found anew never outlives its run's own time.
const retryFor = (MinRetentionDays - 1) * 24 * time.Hour

// retryOperation scopes idempotency keys.
const retryOperation = "retryFailedProfiles"

// RetryFailed reopens a finished run for the profiles that failed in it and
// returns how many are queued again. They are held anew in the run's own
// reservation, and its sequences go on rising. A run that has not ended, or a
// named profile that did not fail, is a Conflict.
func (s *Service) RetryFailed(ctx context.Context, in RetryInput) (run *Run, requeued int, err error) {
	if err := idem.CheckKey("idempotencyKey", in.IdempotencyKey); err != nil {
		return nil, 0, err
	}
	if len(in.ProfileIDs) > MaxProfiles {
		return nil, 0, fault.LimitExceeded{
			Head:  fault.Head{Message: fmt.Sprintf("a run has %d profiles at most", MaxProfiles), Field: []string{"profileIds"}},
			Limit: MaxProfiles, Actual: len(in.ProfileIDs),
		}
	}
	replayed := false
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		b, err := s.openOwn(ctx, tx, in.RequestID)
		if err != nil {
			return err
		}
		run, requeued, replayed, err = s.retry(ctx, tx, b, in)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	if replayed {
		s.Metrics.Replayed(retryOperation)
	}
	s.Wake.Publish(run.ID)
	return run, requeued, nil
}

// retry does it while the run's row is locked, so that the claim's resource can
// tell how many it was: a replay answers as the first call did.
func (s *Service) retry(ctx context.Context, tx bun.Tx, b *book, in RetryInput) (run *Run, requeued int, replayed bool, err error) {
	run = b.run
	again, refused := b.failed(in.ProfileIDs)
	prior, err := idem.Take(ctx, tx, idem.Claim{
		CompanyID: run.CompanyID, Operation: retryOperation, Key: in.IdempotencyKey,
		Fingerprint: idem.Fingerprint(retryOperation, in), ResourceID: run.ID + " " + strconv.Itoa(len(again)),
	})
	var reused fault.IdempotencyKeyReused
	if errors.As(err, &reused) {
		reused.OriginalRequestID, _, _ = strings.Cut(reused.OriginalRequestID, " ")
		return nil, 0, false, reused
	}
	switch {
	case err != nil:
		return nil, 0, false, err
	case prior != "":
		_, count, _ := strings.Cut(prior, " ")
		n, err := strconv.Atoi(count)
		return run, n, true, err
	case refused != nil:
		return nil, 0, false, refused
	case !run.Status.Final():
		return nil, 0, false, fault.Conflict{Head: fault.Head{Message: "the run has not ended yet", Field: []string{"requestId"}}, State: string(run.Status)}
	case now().Sub(run.CreatedAt) > retryFor:
		return nil, 0, false, fault.Conflict{
			Head: fault.Head{Message: "the run is too old to be tried again; start a new one", Field: []string{"requestId"}}, State: "EXPIRED",
		}
	case len(again) == 0:
		return run, 0, false, nil
	}
	b.reopen(now(), again)
	if _, err := s.commit(ctx, tx, map[string]*book{run.ID: b}); err != nil {
		return nil, 0, false, err
	}
	if err := s.Jobs.Add(ctx, tx, jobsOf(b)); err != nil {
		return nil, 0, false, err
	}
	if run.Test {
		return run, len(again), false, nil
	}
	// Last, because it locks the account row.
	credits, err := s.Ledger.Reopen(ctx, tx, billing.Reopen{
		CompanyID: run.CompanyID, RunID: run.ID, Add: int64(len(again)), Actor: access.From(ctx).Key.ID, ExpiresAt: now().Add(reservationLife),
	})
	if err == nil && credits != run.Credits() {
		err = fmt.Errorf("run %s: %w: %+v in the ledger, %+v in the run", run.ID, errBooksDiffer, credits, run.Credits())
	}
	return run, len(again), false, err
}

// failed finds the members to try again: those named, or every retryable failure.
func (b *book) failed(profileIDs []string) (again []*RunProfile, refusal error) {
	lost := func(m *RunProfile) bool { return m.Outcome == OutcomeFailed || m.Outcome == OutcomeTimedOut }
	if len(profileIDs) == 0 {
		for _, m := range b.members {
			if lost(m) && m.Failure != nil && m.Failure.Retryable {
				again = append(again, m)
			}
		}
		return again, nil
	}
	for i, id := range profileIDs {
		field := []string{"profileIds", strconv.Itoa(i)}
		m := b.named(id)
		switch {
		case m == nil:
			return nil, fault.NotFound{Head: fault.Head{Message: "the run has no such profile", Field: field}, Type: "Profile", ID: id}
		case !lost(m):
			return nil, fault.Conflict{Head: fault.Head{Message: "the profile did not fail", Field: field}, State: string(m.Outcome)}
		case !slices.Contains(again, m):
			again = append(again, m)
		}
	}
	return again, nil
}

// cancel ends every member that has not begun, and returns them.
func (b *book) cancel(at time.Time) (stopped []*RunProfile) {
	b.run.Status = StatusCancelling
	b.log.add(at, &RunStatusChanged{Status: b.run.Status})
	for _, m := range b.members {
		if m.Outcome == OutcomeQueued {
			b.finish(m, at, Finish{Outcome: OutcomeCancelled})
			stopped = append(stopped, m)
		}
	}
	return stopped
}

// reopen queues members that failed once more, and with them the run goes on:
// its cancellation, if there was one, is over.
func (b *book) reopen(at time.Time, again []*RunProfile) {
	r := b.run
	r.Status, r.FinishedAt, r.CancelReason, r.Failure = StatusRunning, nil, nil, nil
	if r.StartedAt == nil {
		r.Status = StatusQueued
	}
	for _, m := range again {
		b.changed[m] = true
		b.move(m, OutcomeQueued)
		m.Stage, m.Attempt, m.Failure, m.StartedAt, m.FinishedAt = nil, 0, nil, nil, nil
		m.Missing, m.WaitingOn, m.FieldsChanged = []string{}, []string{}, []string{}
	}
	b.log.add(at, &RunStatusChanged{Status: r.Status})
	for _, m := range again {
		b.log.add(at, b.advanced(m))
	}
	if !r.Test {
		r.Reserved += int64(len(again))
		b.log.add(at, &CreditsMoved{Credits: r.Credits()})
	}
	b.stages(at)
}
