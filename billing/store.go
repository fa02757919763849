package billing

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"
)

const auditSQL = `SELECT invariant, account_id, detail FROM billing_audit()`

// insertAccount reports false when the company has an account already.
func insertAccount(ctx context.Context, db bun.IDB, a *Account) (bool, error) {
	res, err := db.NewInsert().Model(a).Column("id", "company_id", "mode", "credit_limit").
		On("CONFLICT (company_id) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// accountOf returns nil when the company has no account.
func accountOf(ctx context.Context, db bun.IDB, companyID string) (*Account, error) {
	a := new(Account)
	err := db.NewSelect().Model(a).Where("company_id = ?", companyID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return a, err
}

// runCredits returns the credits of those of the runs that have a reservation.
func runCredits(ctx context.Context, db bun.IDB, runIDs []string) (map[string]RunCredits, error) {
	var rows []struct {
		RunID      string `bun:"run_id"`
		RunCredits `bun:",extend"`
	}
	err := db.NewRaw(`
		SELECT run_id, amount AS reserved, captured, released, amount - captured - released AS held
		  FROM billing_reservations
		 WHERE run_id IN (?)`, bun.In(runIDs)).Scan(ctx, &rows)
	credits := make(map[string]RunCredits, len(rows))
	for _, r := range rows {
		credits[r.RunID] = r.RunCredits
	}
	return credits, err
}

// entriesBefore returns up to limit entries numbered below before (0: from the newest), newest first.
func entriesBefore(ctx context.Context, db bun.IDB, accountID string, before int64, kinds []EntryKind, limit int) ([]*Entry, error) {
	var rows []*Entry
	q := db.NewSelect().Model(&rows).Where("account_id = ?", accountID).OrderExpr("seq DESC").Limit(int64(limit))
	if before > 0 {
		q.Where("seq < ?", before)
	}
	if len(kinds) > 0 {
		q.Where("kind IN (?)", bun.In(kinds))
	}
	return rows, q.Scan(ctx)
}
