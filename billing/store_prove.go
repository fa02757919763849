package billing

import (
	"context"

	"github.com/uptrace/bun"
)

// accountsAfter lists up to limit accounts after an id, by id.
func accountsAfter(ctx context.Context, tx bun.Tx, after string, limit int) (rows []*Account, err error) {
	err = tx.NewSelect().Model(&rows).Where("a.id > ?", after).OrderExpr("a.id").Limit(int64(limit)).Scan(ctx)
	return rows, err
}

// entriesAfter lists up to limit entries after a number, by number.
func entriesAfter(ctx context.Context, tx bun.Tx, accountID string, after int64, limit int) (rows []*Entry, err error) {
	err = tx.NewSelect().Model(&rows).Where("e.account_id = ? AND e.seq > ?", accountID, after).OrderExpr("e.seq").Limit(int64(limit)).Scan(ctx)
	return rows, err
}

// drawsBetween lists the draws of a range of entries, by number.
func drawsBetween(ctx context.Context, tx bun.Tx, accountID string, from, to int64) (rows []draft, err error) {
	err = tx.NewRaw(`
		SELECT seq, grant_id, amount
		  FROM billing_grant_draws
		 WHERE account_id = ? AND seq BETWEEN ? AND ?
		 ORDER BY seq, grant_id`, accountID, from, to).Scan(ctx, &rows)
	return rows, err
}

// grantsOf lists all grants of an account.
func grantsOf(ctx context.Context, tx bun.Tx, accountID string) (rows []*CreditGrant, err error) {
	err = tx.NewSelect().Model(&rows).Where("g.account_id = ?", accountID).Scan(ctx)
	return rows, err
}

// allInvoices lists all invoices of an account with their lines, oldest first.
func allInvoices(ctx context.Context, tx bun.Tx, accountID string) (rows []*Invoice, err error) {
	err = tx.NewSelect().Model(&rows).Where("i.account_id = ?", accountID).OrderExpr("i.period_start, i.revision").Scan(ctx)
	if err != nil || len(rows) == 0 {
		return rows, err
	}
	return rows, storedLines(ctx, tx, rows...)
}

// reservationRow is what a run holds.
type reservationRow struct {
	RunID    string `bun:"run_id"`
	Amount   int64  `bun:"amount"`
	Captured int64  `bun:"captured"`
	Released int64  `bun:"released"`
	State    string `bun:"state"`
}

// reservationsAfter lists up to limit reservations of an account after a run, by run.
func reservationsAfter(ctx context.Context, tx bun.Tx, accountID, after string, limit int) (rows []reservationRow, err error) {
	err = tx.NewRaw(`
		SELECT run_id, amount, captured, released, state
		  FROM billing_reservations
		 WHERE account_id = ? AND run_id > ?
		 ORDER BY run_id
		 LIMIT ?`, accountID, after, limit).Scan(ctx, &rows)
	return rows, err
}

// strayEntries lists entries of accounts that do not exist, the first of each.
func strayEntries(ctx context.Context, tx bun.Tx) (rows []Entry, err error) {
	err = tx.NewRaw(`
		WITH RECURSIVE account AS (
			(SELECT account_id FROM billing_entries ORDER BY account_id LIMIT 1)
			UNION ALL
			SELECT (SELECT e.account_id FROM billing_entries AS e WHERE e.account_id > a.account_id ORDER BY e.account_id LIMIT 1)
			  FROM account AS a
			 WHERE a.account_id IS NOT NULL
		)
		SELECT a.account_id, (SELECT min(e.seq) FROM billing_entries AS e WHERE e.account_id = a.account_id) AS seq
		  FROM account AS a
		 WHERE a.account_id IS NOT NULL AND NOT EXISTS (SELECT FROM billing_accounts AS b WHERE b.id = a.account_id)`).Scan(ctx, &rows)
	return rows, err
}

// given is one series of numbers.
type given struct {
	Name    string   `bun:"name"`
	Value   int64    `bun:"value"`
	Numbers []string `bun:"numbers,array"`
}

// numbersGiven lists the series with the numbers that are on documents, in order.
func numbersGiven(ctx context.Context, tx bun.Tx) (rows []given, err error) {
	err = tx.NewRaw(`
		SELECT c.name, c.value,
		       ARRAY(SELECT i.number FROM billing_invoices AS i WHERE i.kind = c.name AND i.number IS NOT NULL ORDER BY length(i.number), i.number) AS numbers
		  FROM billing_counters AS c
		 ORDER BY c.name`).Scan(ctx, &rows)
	return rows, err
}

// insertAudit keeps a result, and forgets those of more than a month ago.
func insertAudit(ctx context.Context, db bun.IDB, p Proof, findings []byte) error {
	_, err := db.NewRaw(`
		WITH old AS (DELETE FROM billing_audits WHERE at < ?::timestamptz - interval '31 days')
		INSERT INTO billing_audits (at, accounts, entries, violations, findings)
		VALUES (?, ?, ?, ?, ?::json)
		ON CONFLICT (at) DO NOTHING`, p.At, p.At, p.Accounts, p.Entries, len(p.Findings), string(findings)).Exec(ctx)
	return err
}

// lastAudit is what the last audit found, and what runs hold now.
type lastAudit struct {
	Violations int64   `bun:"violations"`
	Age        float64 `bun:"age"`
	Holds      int64   `bun:"holds"`
}

// figures reads the metrics that are the same on every node; nothing found and an age of -1 before the first audit.
func figures(ctx context.Context, db bun.IDB) (f lastAudit, err error) {
	err = db.NewRaw(`
		SELECT coalesce(a.violations, 0) AS violations, coalesce(extract(epoch FROM billing_now() - a.at), -1)::float8 AS age,
		       (SELECT count(*) FROM billing_reservations WHERE state = 'OPEN') AS holds
		  FROM (VALUES (1)) AS one
		  LEFT JOIN (SELECT at, violations FROM billing_audits ORDER BY at DESC LIMIT 1) AS a ON true`).Scan(ctx, &f)
	return f, err
}
