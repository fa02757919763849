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
