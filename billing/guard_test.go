package billing_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/pg"
)

// busy is a ledger in the middle of work: a prepaid account with a grant that
// expires, a run that holds, and a run that ended; and a postpaid account with a limit.
func busy(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	c := b.prepaid("acme", 10)
	b.grant(billing.Grant{CompanyID: c, Credits: 20, ExpiresAt: ptr(time.Now().Add(time.Hour)), Reference: "pay_1"})
	b.hold(c, "open", 5)
	b.capture(c, "open", "p1", "p2")
	b.hold(c, "ended", 3)
	b.capture(c, "ended", "p1")
	b.settle(c, "ended")
	b.open("post", billing.Postpaid, ptr(int64(10)))
	b.hold("post", "later", 4)
	b.capture("post", "later", "p1")
	b.prepaid("idle", 0)
	return b
}

// names puts the ids that the statements below speak of into them.
func (b *bundle) names(query string) string {
	return strings.NewReplacer("$acme", "'"+b.account("acme").ID+"'", "$post", "'"+b.account("post").ID+"'").Replace(query)
}

// TestGuards provokes each rule that the database itself enforces.
func TestGuards(t *testing.T) {
	t.Parallel()
	const entry = `INSERT INTO billing_entries (account_id, seq, kind, d_available, d_held, d_captured, available_after, held_after, at, run_id, profile_id, grant_id, actor) `
	b := busy(t)
	for _, test := range []struct{ name, constraint, query string }{
		{"an entry cannot change", "billing_entries_unchanged", `UPDATE billing_entries SET memo = 'x' WHERE account_id = $acme AND seq = 1`},
		{"an invoice is not written on a capture", "billing_entries_unchanged", `UPDATE billing_entries SET invoice_id = 'i' WHERE account_id = $post AND kind = 'CAPTURE'`},
		{"an entry cannot be deleted", "billing_entries_kept", `DELETE FROM billing_entries`},
		{"the entries cannot be emptied", "billing_entries_kept", `TRUNCATE billing_entries`},
		{"a draw cannot change", "billing_grant_draws_kept", `UPDATE billing_grant_draws SET amount = 2`},
		{"an account cannot be deleted", "billing_accounts_kept", `DELETE FROM billing_accounts WHERE id = $acme`},
		{"a grant cannot be deleted", "billing_grants_kept", `DELETE FROM billing_grants`},
		{"a reservation cannot be deleted", "billing_reservations_kept", `DELETE FROM billing_reservations`},
		{"only the entry of an invoice names one", "billing_entries_invoice", `INSERT INTO billing_entries (account_id, seq, kind, d_owed, available_after, held_after, at, actor) SELECT id, last_seq + 1, 'INVOICE', -1, 0, held, last_at, 'x' FROM billing_accounts WHERE id = $post`},

		{"an account begins empty", "billing_accounts_empty", `INSERT INTO billing_accounts (id, company_id, mode, available, granted_total) VALUES ('acc_x', 'acme', 'PREPAID', 5, 5)`},
		{"a company has one account", "billing_accounts_company_id_key", `INSERT INTO billing_accounts (id, company_id, mode) VALUES ('acc_x', 'acme', 'PREPAID')`},
		{"an account has a known mode", "billing_accounts_mode_check", `UPDATE billing_accounts SET mode = 'FREE' WHERE company_id = 'idle'`},
		{"a prepaid account has no limit", "billing_accounts_limit", `UPDATE billing_accounts SET credit_limit = 5 WHERE id = $acme`},
		{"available never goes below zero", "billing_accounts_available_check", `UPDATE billing_accounts SET available = -1, granted_total = granted_total - available - 1 WHERE id = $acme`},
		{"held never goes below zero", "billing_accounts_held_check", `UPDATE billing_accounts SET held = -1, available = available + held + 1 WHERE id = $acme`},
		{"owed never goes below zero", "billing_accounts_owed_check", `UPDATE billing_accounts SET owed = -1, invoiced_total = owed + 1 WHERE id = $post`},
		{"what came in is accounted for", "billing_accounts_add_up", `UPDATE billing_accounts SET available = available + 1 WHERE id = $acme`},
		{"an account moves only by its entries", "billing_accounts_follow", `UPDATE billing_accounts SET available = available - 1, expired_total = expired_total + 1 WHERE id = $acme`},
		{"an account counts only entries that exist", "billing_accounts_follow", `UPDATE billing_accounts SET last_seq = last_seq + 1 WHERE id = $acme`},
		{"time never runs backwards", "billing_accounts_follow", `UPDATE billing_accounts SET last_at = last_at - interval '1 second' WHERE id = $acme`},
		{"the mode cannot change while credits are held", "billing_accounts_follow", `UPDATE billing_accounts SET mode = 'PREPAID', credit_limit = NULL, captured_total = 0, owed = 0, available = 0, held = 0 WHERE id = $post`},
		{"an account keeps its company", "billing_accounts_follow", `WITH c AS (INSERT INTO companies (id, name) VALUES ('thief', 'x')) UPDATE billing_accounts SET company_id = 'thief' WHERE id = $acme`},
		{"a postpaid account stays below its limit", "billing_accounts_follow", `
			WITH a AS (UPDATE billing_accounts SET held = held + 7, last_seq = last_seq + 1 WHERE id = $post RETURNING *),
			     r AS (INSERT INTO billing_reservations (run_id, account_id, amount, expires_at, created_at) SELECT 'over', id, 7, now(), now() FROM a)
			` + entry + `SELECT id, last_seq, 'RESERVE', 0, 7, 0, 0, held, last_at, 'over', NULL, NULL, 'x' FROM a`},

		{"an entry must be counted by its account", "billing_entries_follow", entry + `SELECT id, last_seq + 1, 'RELEASE', 1, -1, 0, available + 1, held - 1, last_at, 'open', NULL, NULL, 'x' FROM billing_accounts WHERE id = $acme`},
		{"an entry needs an account", "billing_entries_follow", entry + `VALUES ('acc_x', 1, 'GRANT', 1, 0, 0, 1, 0, now(), NULL, NULL, 'g', 'x')`},
		{"entries have no gaps", "billing_accounts_follow", `
			WITH a AS (UPDATE billing_accounts SET available = available + 1, granted_total = granted_total + 1, last_seq = last_seq + 2 WHERE id = $acme RETURNING *),
			     g AS (INSERT INTO billing_grants (id, account_id, origin, amount, remaining, created_at) SELECT 'g', id, 'GRANT', 1, 1, now() FROM a)
			` + entry + `SELECT id, last_seq, 'GRANT', 1, 0, 0, available, held, last_at, NULL, NULL, 'g', 'x' FROM a`},
		{"an entry carries the running balance", "billing_entries_follow", `
			WITH a AS (UPDATE billing_accounts SET available = available + 1, granted_total = granted_total + 1, last_seq = last_seq + 1 WHERE id = $acme RETURNING *),
			     g AS (INSERT INTO billing_grants (id, account_id, origin, amount, remaining, created_at) SELECT 'g', id, 'GRANT', 1, 1, now() FROM a)
			` + entry + `SELECT id, last_seq, 'GRANT', 1, 0, 0, available + 1, held, last_at, NULL, NULL, 'g', 'x' FROM a`},
		{"numbers are not given twice", "billing_entries_pkey", entry + `SELECT id, last_seq, 'RELEASE', 1, -1, 0, available + 1, held - 1, last_at, 'open', NULL, NULL, 'x' FROM billing_accounts WHERE id = $acme`},
		{"a profile is captured once in its run", "billing_entries_once", entry + `SELECT id, last_seq + 1, 'CAPTURE', 0, -1, 1, available, held - 1, last_at, 'open', 'p1', NULL, 'x' FROM billing_accounts WHERE id = $acme`},
		{"a key is used once", "billing_entries_key", `INSERT INTO billing_entries (account_id, seq, kind, d_available, available_after, held_after, at, grant_id, idempotency_key, actor)
			SELECT account_id, 99, kind, d_available, available_after, held_after, at, grant_id, idempotency_key, actor FROM billing_entries WHERE account_id = $acme AND seq = 1`},
		{"a capture names its profile", "billing_entries_shape", entry + `SELECT id, last_seq + 1, 'CAPTURE', 0, -1, 1, available, held - 1, last_at, 'open', NULL, NULL, 'x' FROM billing_accounts WHERE id = $acme`},
		{"a capture takes only what was held", "billing_entries_shape", entry + `SELECT id, last_seq + 1, 'CAPTURE', -1, 0, 1, available - 1, held, last_at, 'open', 'p9', NULL, 'x' FROM billing_accounts WHERE id = $acme`},
		{"a grant adds", "billing_entries_shape", entry + `SELECT id, last_seq + 1, 'GRANT', -1, 0, 0, available - 1, held, last_at, NULL, NULL, 'g', 'x' FROM billing_accounts WHERE id = $acme`},
		{"entries are of a known kind", "billing_entries_shape", entry + `SELECT id, last_seq + 1, 'GIFT', 1, 0, 0, available + 1, held, last_at, NULL, NULL, NULL, 'x' FROM billing_accounts WHERE id = $acme`},

		{"a grant never grows", "billing_grants_unchanged", `UPDATE billing_grants SET remaining = remaining + 1 WHERE remaining < amount`},
		{"a grant keeps its expiry", "billing_grants_unchanged", `UPDATE billing_grants SET expires_at = now() + interval '1 year'`},
		{"a grant never falls below zero", "billing_grants_remaining", `UPDATE billing_grants SET remaining = -1`},
		{"grants cover the account", "billing_grants_moved", `UPDATE billing_grants SET remaining = remaining - 1 WHERE expires_at IS NOT NULL`},
		{"a grant comes with its entry", "billing_grants_made", `INSERT INTO billing_grants (id, account_id, origin, amount, remaining, created_at) VALUES ('g', $acme, 'GRANT', 1, 1, now())`},
		{"a payment is credited once", "billing_grants_reference", `INSERT INTO billing_grants (id, account_id, origin, amount, remaining, reference, created_at) VALUES ('g', $acme, 'PURCHASE', 1, 1, 'pay_1', now())`},
		{"a draw takes something", "billing_grant_draws_amount_check", `INSERT INTO billing_grant_draws VALUES ($acme, 1, 'g', 0)`},

		{"a reservation covers what it captured and released", "billing_reservations_covered", `UPDATE billing_reservations SET captured = amount + 1 WHERE run_id = 'open'`},
		{"a reservation that ended holds nothing", "billing_reservations_ended", `UPDATE billing_reservations SET state = 'SETTLED' WHERE run_id = 'open'`},
		{"a reservation moves only by its entries", "billing_reservations_moved", `UPDATE billing_reservations SET captured = captured + 1 WHERE run_id = 'open'`},
		{"a reservation comes with its entry", "billing_reservations_made", `INSERT INTO billing_reservations (run_id, account_id, amount, expires_at, created_at) VALUES ('new', $acme, 1, now(), now())`},
		{"a reservation never shrinks", "billing_reservations_unchanged", `UPDATE billing_reservations SET captured = captured - 1 WHERE run_id = 'open'`},
		{"a run reserves once", "billing_reservations_pkey", `INSERT INTO billing_reservations (run_id, account_id, amount, expires_at, created_at) VALUES ('open', $acme, 1, now(), now())`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := b.DB.ExecContext(context.Background(), b.names(test.query))
			if err == nil {
				t.Fatal("the database let it happen")
			}
			if got := pg.Constraint(err); got != test.constraint {
				t.Fatalf("refused by %q, not by %q: %v", got, test.constraint, err)
			}
		})
	}
}

// TestAudit breaks each rule behind the back of the guards and asks the audit.
func TestAudit(t *testing.T) {
	t.Parallel()
	const unguarded = `
		ALTER TABLE billing_accounts DISABLE TRIGGER USER; ALTER TABLE billing_grants DISABLE TRIGGER USER;
		ALTER TABLE billing_entries DISABLE TRIGGER USER; ALTER TABLE billing_grant_draws DISABLE TRIGGER USER;
		ALTER TABLE billing_reservations DISABLE TRIGGER USER;
		ALTER TABLE billing_accounts DROP CONSTRAINT billing_accounts_add_up, DROP CONSTRAINT billing_accounts_available_check,
			DROP CONSTRAINT billing_accounts_held_check, DROP CONSTRAINT billing_accounts_owed_check;
		ALTER TABLE billing_entries DROP CONSTRAINT billing_entries_shape;
		ALTER TABLE billing_reservations DROP CONSTRAINT billing_reservations_covered, DROP CONSTRAINT billing_reservations_ended;
		DROP INDEX billing_entries_once;`
	b := busy(t)
	clean, err := b.Audit(context.Background(), b.DB)
	if err != nil || len(clean) > 0 {
		t.Fatal(clean, err)
	}
	for _, test := range []struct{ name, query, invariants string }{
		{"an account that says more than its entries", `UPDATE billing_accounts SET available = available + 1 WHERE id = $acme`, "I1 I12 I2"},
		{"an account that says more was captured", `UPDATE billing_accounts SET captured_total = captured_total + 1 WHERE id = $post`, "I1 I2"},
		{"a total that no entry explains", `UPDATE billing_accounts SET expired_total = expired_total + 1 WHERE id = $acme`, "I2"},
		{"a balance below zero", `UPDATE billing_accounts SET available = -1 WHERE id = $post`, "I1 I12 I2 I3"},
		{"a reservation that forgot a capture", `UPDATE billing_reservations SET captured = captured - 1 WHERE run_id = 'open'`, "I4"},
		{"a reservation that ended with something held", `UPDATE billing_reservations SET state = 'SETTLED' WHERE run_id = 'open'`, "I4"},
		{"a run without a reservation", `DELETE FROM billing_reservations WHERE run_id = 'ended'`, "I4"},
		{"a profile captured twice", `UPDATE billing_entries SET profile_id = 'p1' WHERE run_id = 'open' AND profile_id = 'p2'`, "I5"},
		{"a run that captured more than it reserved", `UPDATE billing_entries SET d_captured = 9 WHERE run_id = 'later' AND kind = 'CAPTURE'`, "I1 I12 I4 I5"},
		{"a missing entry", `DELETE FROM billing_entries WHERE account_id = $acme AND seq = 3`, "I1 I3 I4 I5 I6"},
		{"a running balance that is wrong", `UPDATE billing_entries SET held_after = held_after + 1 WHERE account_id = $acme AND seq = 3`, "I6"},
		{"an entry dated before the one before it", `UPDATE billing_entries SET at = at - interval '1 day' WHERE account_id = $acme AND seq = 3`, "I6"},
		{"an account that lost count", `UPDATE billing_accounts SET last_seq = last_seq - 1 WHERE id = $acme`, "I6"},
		{"a grant that does not cover", `UPDATE billing_grants SET remaining = remaining - 1 WHERE reference IS NULL`, "I12"},
		{"an expired grant that nothing holds", `UPDATE billing_grants SET expires_at = '2020-01-01' WHERE expires_at IS NOT NULL`, "I12"},
		{"an expiry that the account sleeps through", `UPDATE billing_accounts SET next_expiry_at = NULL WHERE id = $acme`, "I12"},
		{"a capture without a draw", `DELETE FROM billing_grant_draws WHERE seq = (SELECT max(seq) FROM billing_grant_draws)`, "I12"},
		{"a draw without an entry", `INSERT INTO billing_grant_draws SELECT account_id, 99, id, 1 FROM billing_grants LIMIT 1`, "I12"},
	} {
		t.Run(test.name, func(t *testing.T) {
			query, undo := b.names(test.query), errors.New("undo")
			err := pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) error {
				if _, err := tx.ExecContext(ctx, unguarded); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, query); err != nil {
					return err
				}
				found, err := b.Audit(ctx, tx)
				if err != nil {
					return err
				}
				var invariants []string
				for _, v := range found {
					invariants = append(invariants, v.Invariant)
				}
				slices.Sort(invariants)
				if got := strings.Join(slices.Compact(invariants), " "); got != test.invariants {
					t.Errorf("the audit names %q, not %q: %v", got, test.invariants, found)
				}
				return undo
			})
			if !errors.Is(err, undo) {
				t.Fatal(err)
			}
		})
	}
}
