package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
)

// accountPrefix begins the id of every account.
const accountPrefix = "acc"

// Ledger moves credits. Every movement is one statement that writes its entries
// and the account together, under the lock of the account's row. A run's rows
// are locked before the account, accounts in the order of their ids, then
// reservations, then grants.
type Ledger struct {
	DB  *bun.DB
	Log *slog.Logger
	// Dispatch hears when credits run low; nil tells nobody.
	Dispatch *dispatch.Service
	// Grace is how long an invoice waits for its number after its period was closed.
	Grace time.Duration
	// Metrics counts repeats of commands; nil counts nothing.
	Metrics *metrics.Metrics
}

// OpenAccount gives a company its account, empty, in the caller's transaction.
// creditLimit is the most that may be owed and held together (postpaid; nil: no
// limit). A company has one account; opening a second is a Conflict.
func (l *Ledger) OpenAccount(ctx context.Context, tx bun.Tx, companyID string, mode Mode, creditLimit *int64) error {
	switch {
	case mode != Prepaid && mode != Postpaid:
		return fault.Invalid("mode", "must be %s or %s, not %q", Prepaid, Postpaid, mode)
	case creditLimit != nil && mode == Prepaid:
		return fault.Invalid("creditLimit", "only a postpaid account has a credit limit")
	case creditLimit != nil && (*creditLimit < 0 || *creditLimit > maxCredits):
		return fault.Invalid("creditLimit", "must be between 0 and %d, not %d", int64(maxCredits), *creditLimit)
	}
	opened, err := insertAccount(ctx, tx, &Account{
		ID: ident.New(accountPrefix), CompanyID: companyID, Mode: mode, CreditLimit: creditLimit, CycleAnchor: 1, TimeZone: "UTC",
	})
	switch {
	case err != nil:
		return fmt.Errorf("open account of %s: %w", companyID, err)
	case !opened:
		return fault.Conflict{Head: fault.Head{Message: "the company has an account already"}, State: "OPEN"}
	}
	return nil
}

// Account returns the company's account, or a NotFound. What has expired is
// ended first, so that it never shows credits that are lost.
func (l *Ledger) Account(ctx context.Context, companyID string) (*Account, error) {
	a, err := accountOf(ctx, l.DB, companyID)
	if err == nil && a != nil && a.Overdue {
		a, err = l.current(ctx, companyID)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("account of %s: %w", companyID, err)
	case a == nil:
		return nil, noAccount(companyID)
	}
	return &a.Account, nil
}

// current ends what has expired in the company's account and returns it.
func (l *Ledger) current(ctx context.Context, companyID string) (a *standing, err error) {
	err = pg.InTx(ctx, l.DB, func(ctx context.Context, tx bun.Tx) error {
		if a, err = lockCurrent(ctx, tx, companyID); err != nil {
			return err
		}
		return l.tellLow(ctx, tx, a)
	})
	return a, err
}

// missing turns a NotFound into nothing.
func missing(err error) error {
	var none fault.NotFound
	if errors.As(err, &none) {
		return nil
	}
	return err
}

// noAccount is the refusal for a company that has no account.
func noAccount(companyID string) error {
	return fault.NotFound{Head: fault.Head{Message: "the company has no billing account"}, Type: "BillingAccount", ID: companyID}
}

// Credits returns the credits of each of the runs that ever held any. Runs that
// never did (test runs, runs with nothing to do) are missing: theirs are zero.
func (l *Ledger) Credits(ctx context.Context, db bun.IDB, runIDs ...string) (map[string]RunCredits, error) {
	if len(runIDs) == 0 {
		return map[string]RunCredits{}, nil
	}
	credits, err := runCredits(ctx, db, runIDs)
	if err != nil {
		return nil, fmt.Errorf("credits of runs: %w", err)
	}
	return credits, nil
}

// EntryFilter narrows a list of entries; the zero value narrows nothing.
type EntryFilter struct {
	Kinds []EntryKind
	// RunID narrows to the entries of one run.
	RunID *string
	// From, included, and To, excluded, bound when the entries happened.
	From, To *time.Time
}

// Entries returns a page of the account's entries, newest first, narrowed by the filter.
func (l *Ledger) Entries(ctx context.Context, accountID string, a page.Args, f EntryFilter) (LedgerEntryConnection, error) {
	if err := a.Check(); err != nil {
		return LedgerEntryConnection{}, err
	}
	if f.RunID != nil {
		if err := fault.Text("runId", *f.RunID, 255); err != nil {
			return LedgerEntryConnection{}, err
		}
	}
	position, err := a.Position()
	if err != nil {
		return LedgerEntryConnection{}, err
	}
	var before int64
	if position != "" {
		if before, err = strconv.ParseInt(position, 10, 64); err != nil || before < 1 {
			return LedgerEntryConnection{}, fault.Invalid("after", "is not a cursor of this list")
		}
	}
	rows, err := entriesBefore(ctx, l.DB, accountID, before, f, a.First+1)
	if err != nil {
		return LedgerEntryConnection{}, fmt.Errorf("entries of %s: %w", accountID, err)
	}
	return LedgerEntryConnection{page.Make(rows, a,
		func(e *Entry) string { return strconv.FormatInt(e.Seq, 10) },
		func(e page.Edge[*Entry]) LedgerEntryEdge { return LedgerEntryEdge{e} },
	)}, nil
}

// AccountByID is Account by the account's own id.
func (l *Ledger) AccountByID(ctx context.Context, id string) (*Account, error) {
	a, err := accountByID(ctx, l.DB, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("account %s: %w", id, err)
	case a == nil:
		return nil, fault.NotFound{Head: fault.Head{Message: "no such billing account"}, Type: "BillingAccount", ID: id}
	}
	return l.Account(ctx, a.CompanyID)
}
