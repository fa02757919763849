package billing_test

import (
	"context"
	"testing"

	"github.com/enrichd/enrichd/internal/pg"
)

// TestGuardsAlone provokes rules in ways that only one guard stands against, so
// that none of them can go without a test that fails.
func TestGuardsAlone(t *testing.T) {
	t.Parallel()
	b := busy(t)
	for _, test := range []struct{ name, constraint, query string }{
		{"credits do not pass from available to held without an entry", "billing_accounts_follow", `UPDATE billing_accounts SET available = available - 1, held = held + 1 WHERE id = $acme`},
		{"credits do not pass from held to available without an entry", "billing_accounts_follow", `UPDATE billing_accounts SET available = available + 1, held = held - 1 WHERE id = $acme`},
		{"nothing passes from captured to owed without an entry", "billing_accounts_follow", `UPDATE billing_accounts SET captured_total = captured_total + 1, owed = owed + 1 WHERE id = $post`},
		{"nothing owed passes to an invoice without an entry", "billing_accounts_follow", `UPDATE billing_accounts SET owed = owed - 1, invoiced_total = invoiced_total + 1 WHERE id = $post`},
		{"what was granted is not taken for an adjustment", "billing_accounts_follow", `UPDATE billing_accounts SET granted_total = granted_total - 1, adjusted_total = adjusted_total + 1 WHERE id = $acme`},
		{"what was captured is not taken for expired", "billing_accounts_follow", `UPDATE billing_accounts SET captured_total = captured_total - 1, expired_total = expired_total + 1 WHERE id = $acme`},
		{"credits do not come in without a grant that they are left in", "billing_accounts_follow", `
			WITH a AS (UPDATE billing_accounts SET available = available + 1, adjusted_total = adjusted_total + 1, last_seq = last_seq + 1 WHERE id = $acme RETURNING *)
			INSERT INTO billing_entries (account_id, seq, kind, d_available, available_after, held_after, at, actor)
			SELECT id, last_seq, 'ADJUST', 1, available, held, last_at, 'x' FROM a`},
		{"the mode does not change in the statement that gives back what is held", "billing_accounts_follow", `
			WITH a AS (UPDATE billing_accounts SET available = available + held, held = 0, mode = 'POSTPAID', last_seq = last_seq + 1 WHERE id = $acme RETURNING *),
			     r AS (UPDATE billing_reservations SET released = amount - captured, state = 'VOID' WHERE run_id = 'open')
			INSERT INTO billing_entries (account_id, seq, kind, d_available, d_held, available_after, held_after, at, run_id, actor)
			SELECT id, last_seq, 'RELEASE', 3, -3, available, held, last_at, 'open', 'x' FROM a`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := b.DB.ExecContext(context.Background(), b.names(test.query))
			if err == nil {
				t.Fatal("the database let it happen")
			}
			if got := pg.Constraint(err); got != test.constraint {
				t.Errorf("refused by %q, not by %q: %v", got, test.constraint, err)
			}
		})
	}
}
