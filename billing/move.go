package billing

import (
	"context"
	"errors"

	"github.com/uptrace/bun"
)

// Capture spends one held credit on a profile that succeeded in a run.
type Capture struct {
	CompanyID string
	RunID     string
	ProfileID string
}

// Settle says that a run reached its end and gives back what it still holds.
type Settle struct {
	CompanyID string
	RunID     string
	// Void is true when the run was cancelled or never began, rather than finished.
	Void bool
}

// Move captures and then settles, for any number of runs and accounts, in the
// caller's transaction, which has locked the runs' rows. A capture that exists
// and a run that is settled already are left as they are, so repeating a batch
// changes nothing. It returns the credits after the move of every run named,
// zero for one that never held any. A capture that its reservation does not
// cover is an error, and nothing of the batch may be committed.
func (l *Ledger) Move(ctx context.Context, tx bun.Tx, captures []Capture, settles []Settle) (map[string]RunCredits, error) {
	return nil, errors.ErrUnsupported
}
