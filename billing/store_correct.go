package billing

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"
)

// captured is a capture with what its refund depends on.
type captured struct {
	Entry    `bun:",extend"`
	Refunded bool `bun:"refunded"`
	// Invoiced says that an invoice is about it.
	Invoiced bool `bun:"invoiced"`
	// ExpiresAt and Priority are those of the grant that paid for it.
	ExpiresAt *time.Time `bun:"expires_at"`
	Priority  int        `bun:"priority"`
}

// captureOf returns the capture of a profile in a run; nil when there is none.
func captureOf(ctx context.Context, db bun.IDB, accountID, runID, profileID string) (*captured, error) {
	c := new(captured)
	err := db.NewRaw(`
		SELECT e.*, g.expires_at, coalesce(g.priority, 0) AS priority,
		       EXISTS (SELECT FROM billing_entries AS r
		                WHERE r.account_id = e.account_id AND r.run_id = e.run_id AND r.profile_id = e.profile_id AND r.kind = 'REFUND') AS refunded,
		       EXISTS (SELECT FROM billing_invoices AS i WHERE i.account_id = e.account_id AND i.to_seq >= e.seq) AS invoiced
		  FROM billing_entries AS e
		  LEFT JOIN billing_grant_draws AS d ON d.account_id = e.account_id AND d.seq = e.seq
		  LEFT JOIN billing_grants AS g ON g.id = d.grant_id
		 WHERE e.account_id = ? AND e.run_id = ? AND e.profile_id = ? AND e.kind = 'CAPTURE'
		 LIMIT 1`, accountID, runID, profileID).Scan(ctx, c)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return c, err
}

// moveOwed corrects what a locked account owes.
func moveOwed(ctx context.Context, tx bun.Tx, a *standing, c correction) (*Entry, error) {
	e := new(Entry)
	err := tx.NewRaw(`
		WITH account AS (
			UPDATE billing_accounts AS a
			   SET owed = a.owed + ?owed, invoiced_total = a.invoiced_total - ?owed, last_seq = a.last_seq + 1, last_at = ?now
			 WHERE a.id = ?account
			RETURNING a.id, a.available, a.held, a.last_seq
		)
		INSERT INTO billing_entries (account_id, seq, d_owed, available_after, held_after, at, kind, run_id, profile_id, idempotency_key, actor, memo)
		SELECT a.id, a.last_seq, ?owed, a.available, a.held, ?now, ?kind, ?run_id, ?profile_id, nullif(?key, ''), ?actor, ?memo
		  FROM account AS a
		RETURNING *`, struct {
		correction `bun:",extend"`
		Account    string
		Now        time.Time
	}{c, a.ID, a.Now}).Scan(ctx, e)
	return e, err
}

// takeCredits takes credits out of a locked prepaid account that has them
// available, from its grants in the order in which captures spend them.
func takeCredits(ctx context.Context, tx bun.Tx, a *standing, in Adjust) (*Entry, error) {
	e := new(Entry)
	err := tx.NewRaw(`
		WITH account AS (
			UPDATE billing_accounts AS a
			   SET available = a.available - ?taken, adjusted_total = a.adjusted_total - ?taken, last_seq = a.last_seq + 1, last_at = ?now
			 WHERE a.id = ?account
			RETURNING a.id, a.available, a.held, a.last_seq
		), purse AS (
			SELECT g.id, (sum(g.remaining) OVER w - g.remaining)::bigint AS below, (sum(g.remaining) OVER w)::bigint AS upto
			  FROM billing_grants AS g
			 WHERE g.account_id = ?account AND NOT g.spent
			WINDOW w AS (ORDER BY coalesce(g.expires_at <= ?now, false) DESC, g.priority, g.expires_at, g.id)
		), drawn AS (
			INSERT INTO billing_grant_draws (account_id, seq, grant_id, amount)
			SELECT a.id, a.last_seq, p.id, least(p.upto, ?taken) - p.below
			  FROM account AS a
			 CROSS JOIN purse AS p
			 WHERE p.below < ?taken
			RETURNING grant_id, amount
		), spent AS (
			UPDATE billing_grants AS g SET remaining = g.remaining - d.amount FROM drawn AS d WHERE g.id = d.grant_id
		)
		INSERT INTO billing_entries (account_id, seq, d_available, available_after, held_after, at, kind, idempotency_key, actor, memo)
		SELECT a.id, a.last_seq, -?taken, a.available, a.held, ?now, 'ADJUST', ?key, ?actor, ?memo
		  FROM account AS a
		RETURNING *`, struct {
		Adjust  `bun:",extend"`
		Account string
		Taken   int64
		Now     time.Time
	}{in, a.ID, -in.Credits, a.Now}).Scan(ctx, e)
	return e, err
}

// takeLeftover takes everything out of a locked account that holds nothing and in
// which nothing is overdue: one entry for each grant, which it names. An ADJUST
// that names a grant and takes from it is what an invoice takes off in money.
func takeLeftover(ctx context.Context, tx bun.Tx, a *standing, actor string) error {
	_, err := tx.NewRaw(`
		WITH line AS MATERIALIZED (
			SELECT g.id, g.remaining, g.reference, ?last_seq + row_number() OVER w AS seq, ?available - sum(g.remaining) OVER w AS available_after
			  FROM billing_grants AS g
			 WHERE g.account_id = ?account AND NOT g.spent
			WINDOW w AS (ORDER BY g.id ROWS UNBOUNDED PRECEDING)
		), account AS (
			UPDATE billing_accounts AS a
			   SET available = a.available - t.taken, adjusted_total = a.adjusted_total - t.taken, last_seq = a.last_seq + t.lines, last_at = ?now
			  FROM (SELECT sum(l.remaining)::bigint AS taken, count(*) AS lines FROM line AS l) AS t
			 WHERE a.id = ?account
		), drawn AS (
			INSERT INTO billing_grant_draws (account_id, seq, grant_id, amount)
			SELECT ?account, l.seq, l.id, l.remaining FROM line AS l
		), spent AS (
			UPDATE billing_grants AS g SET remaining = 0 FROM line AS l WHERE g.id = l.id
		)
		INSERT INTO billing_entries (account_id, seq, d_available, available_after, held_after, at, kind, grant_id, actor, memo)
		SELECT ?account, l.seq, -l.remaining, l.available_after, 0, ?now, 'ADJUST', l.id, ?actor,
		       l.remaining || ' credits are taken off the next invoice instead' || coalesce(', paid for by ' || l.reference, '')
		  FROM line AS l`, struct {
		Account            string
		LastSeq, Available int64
		Now                time.Time
		Actor              string
	}{a.ID, a.LastSeq, a.Available, a.Now, actor}).Exec(ctx)
	return err
}
