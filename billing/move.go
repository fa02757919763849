package billing

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"
)

// Capture spends one held credit on a profile that succeeded in a run.
type Capture struct {
	CompanyID string
	RunID     string
	ProfileID string
	// Outcome is how the profile ended, as usage tells it; a repeat of the capture does not compare it.
	Outcome string
}

// Settle says that a run reached its end and gives back what it still holds.
type Settle struct {
	CompanyID string
	RunID     string
	// Void is true when the run was cancelled or never began, rather than finished.
	Void bool
	// Expired is true when the reservation was found abandoned.
	Expired bool
}

// state is what becomes of the reservation.
func (s Settle) state() string {
	switch {
	case s.Expired:
		return "EXPIRED"
	case s.Void:
		return "VOID"
	default:
		return "SETTLED"
	}
}

// Move captures and then settles, for any number of runs and accounts, in the
// caller's transaction, which has locked the runs' rows. A capture that exists
// and a run that is settled already are left as they are, so repeating a batch
// changes nothing. It returns the credits after the move of every run named,
// zero for one that never held any. A capture that its reservation does not
// cover is an error, and nothing of the batch may be committed.
//
// Three round trips at most, whatever the size of the batch: the accounts'
// locks, the move, and, rarely, what has expired meanwhile.
func (l *Ledger) Move(ctx context.Context, tx bun.Tx, captures []Capture, settles []Settle) (map[string]RunCredits, error) {
	b, companies := gather(captures, settles)
	if len(b.runs) == 0 {
		return map[string]RunCredits{}, nil
	}
	credits, err := l.move(ctx, tx, b, companies)
	if err != nil {
		return nil, fmt.Errorf("move %d captures and %d settlements: %w", len(b.profiles), len(b.ends), err)
	}
	return credits, nil
}

func (l *Ledger) move(ctx context.Context, tx bun.Tx, b batch, companies []string) (map[string]RunCredits, error) {
	accounts, err := lockAccounts(ctx, tx, companies)
	if err != nil {
		return nil, err
	}
	if len(accounts) != len(companies) {
		return nil, fmt.Errorf("%d companies have %d accounts", len(companies), len(accounts))
	}
	for _, a := range accounts {
		b.accounts = append(b.accounts, a.ID)
	}
	runs, err := moveBatch(ctx, tx, b)
	if err != nil {
		return nil, err
	}
	credits := make(map[string]RunCredits, len(runs))
	overdue := map[string]bool{}
	for _, r := range runs {
		if r.Uncovered > 0 {
			return nil, fmt.Errorf("run %s: its reservation does not cover %d of its captures", r.RunID, r.Uncovered)
		}
		if r.Overdue {
			overdue[r.AccountID] = true
		}
		credits[r.RunID] = r.RunCredits
	}
	if len(overdue) > 0 {
		if err := expire(ctx, tx, slices.Sorted(maps.Keys(overdue))); err != nil {
			return nil, err
		}
	}
	// Without an expiry nothing falls by more than the batch has captures.
	return credits, l.tellFallen(ctx, tx, accounts, int64(len(b.profiles)), overdue)
}

// gather turns the two lists into a batch without repeats, and the companies concerned.
func gather(captures []Capture, settles []Settle) (b batch, companies []string) {
	company, run, captured, ended := map[string]bool{}, map[string]bool{}, map[[2]string]bool{}, map[string]bool{}
	note := func(companyID, runID string) {
		if !company[companyID] {
			company[companyID] = true
			companies = append(companies, companyID)
		}
		if !run[runID] {
			run[runID] = true
			b.runs = append(b.runs, runID)
		}
	}
	for _, c := range captures {
		note(c.CompanyID, c.RunID)
		key := [2]string{c.RunID, c.ProfileID}
		if captured[key] {
			continue
		}
		captured[key] = true
		b.captureRuns, b.profiles, b.outcomes = append(b.captureRuns, c.RunID), append(b.profiles, c.ProfileID), append(b.outcomes, c.Outcome)
	}
	for _, s := range settles {
		note(s.CompanyID, s.RunID)
		if ended[s.RunID] {
			continue
		}
		ended[s.RunID] = true
		b.ends, b.states = append(b.ends, s.RunID), append(b.states, s.state())
	}
	return b, companies
}
