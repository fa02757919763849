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
