package billing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/billing"
)

// books is a ledger with everything in it: two periods closed, one void and
// corrected, a statement, a refund, an adjustment, an open run; chained or not.
func books(t *testing.T, chained bool) *bundle {
	t.Helper()
	ctx := context.Background()
	b := setup(t)
	b.setClock(utc("2031-10-05"))
	if chained {
		if err := b.Chain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	pre, post := b.prepaid("acme", 20), b.open("post", billing.Postpaid, nil)
	b.price(post, "EUR", "0.125", utc("2031-10-01"))
	b.grant(billing.Grant{CompanyID: pre, Credits: 7, ExpiresAt: ptr(utc("2031-10-20"))})
	for _, c := range []string{pre, post} {
		b.use(c, utc("2031-10-06"), 3)
		b.hold(c, c+"-open", 4)
		b.capture(c, c+"-open", "p1", "p2")
	}
	if _, _, err := b.Refund(ctx, billing.Refund{CompanyID: post, RunID: "post-open", ProfileID: "p2", Memo: "wrong person", Actor: "cli", Key: "r"}); err != nil {
		t.Fatal(err)
	}
	if err := b.adjust(post, 1); err != nil {
		t.Fatal(err)
	}
	if err := b.adjust(pre, -2); err != nil {
		t.Fatal(err)
	}
	b.setClock(utc("2031-11-01"))
	done := b.closeDue()
	for _, i := range done.Invoices {
		if i.Kind == billing.KindOwed {
			if _, err := b.Void(ctx, *i.Number, "wrong address"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Correct(ctx, i.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.use(post, utc("2031-11-06"), 2)
	b.setClock(utc("2031-12-01"))
	b.closeDue()
	b.use(post, utc("2031-12-06"), 1)
	return b
}

func TestProve(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, chained := range []bool{false, true} {
		t.Run(fmt.Sprintf("finds nothing wrong with books that are right, chained: %t", chained), func(t *testing.T) {
			t.Parallel()
			b := books(t, chained)
			b.audited()
			n := b.count("SELECT count(*) FROM billing_entries WHERE chain IS NOT NULL")
			if all := b.count("SELECT count(*) FROM billing_entries"); chained && n != all || !chained && n != 0 {
				t.Errorf("%d entries are chained", n)
			}
		})
	}
	t.Run("begins the chain at the entry after it was turned on", func(t *testing.T) {
		t.Parallel()
		b := books(t, false)
		for range 2 {
			if err := b.Chain(ctx); err != nil {
				t.Fatal(err)
			}
		}
		b.use("post", utc("2031-12-07"), 2)
		b.audited()
		if n := b.count("SELECT count(*) FROM billing_entries WHERE chain IS NOT NULL"); n != 4 {
			t.Errorf("%d entries are chained", n)
		}
	})
	t.Run("names the first entry that is wrong", func(t *testing.T) {
		t.Parallel()
		b := books(t, true)
		ids := map[string]string{"acme": b.account("acme").ID, "post": b.account("post").ID}
		const unguarded = `ALTER TABLE billing_entries DISABLE TRIGGER USER; ALTER TABLE billing_accounts DISABLE TRIGGER USER;
			ALTER TABLE billing_invoices DISABLE TRIGGER USER; ALTER TABLE billing_invoice_lines DISABLE TRIGGER USER; ALTER TABLE billing_grants DISABLE TRIGGER USER;
			ALTER TABLE billing_reservations DISABLE TRIGGER USER; ALTER TABLE billing_grant_draws DISABLE TRIGGER USER; ALTER TABLE billing_counters DISABLE TRIGGER USER;
			ALTER TABLE billing_entries DROP CONSTRAINT billing_entries_shape; DROP INDEX billing_entries_once;
			ALTER TABLE billing_accounts DROP CONSTRAINT billing_accounts_add_up;
			ALTER TABLE billing_reservations DROP CONSTRAINT billing_reservations_covered, DROP CONSTRAINT billing_reservations_ended`
		b.exec(unguarded)
		for _, test := range []struct {
			name, query, undo string
			invariant         string
			entry             int64 // -1: whichever
		}{
			{"a changed memo breaks the chain", `UPDATE billing_entries SET memo = 'y' || memo WHERE account_id = ?post AND seq = 3`, `UPDATE billing_entries SET memo = substr(memo, 2) WHERE account_id = ?post AND seq = 3`, "I6", 3},
			{"a changed balance", `UPDATE billing_entries SET held_after = held_after + 1 WHERE account_id = ?post AND seq = 5`, `UPDATE billing_entries SET held_after = held_after - 1 WHERE account_id = ?post AND seq = 5`, "I6", 5},
			{"a missing entry", `UPDATE billing_entries SET account_id = 'gone' WHERE account_id = ?post AND seq = 4`, `UPDATE billing_entries SET account_id = ?post WHERE account_id = 'gone'`, "I6", 5},
			{"a profile captured twice", `UPDATE billing_entries SET profile_id = 'p1' WHERE account_id = ?post AND seq = 3`, `UPDATE billing_entries SET profile_id = 'p2' WHERE account_id = ?post AND seq = 3`, "I5", 3},
			{"an entry dated backwards", `UPDATE billing_entries SET at = at - interval '1 day' WHERE account_id = ?post AND seq = 6`, `UPDATE billing_entries SET at = at + interval '1 day' WHERE account_id = ?post AND seq = 6`, "I6", 6},
			{"a draw too many", `INSERT INTO billing_grant_draws SELECT account_id, 3, id, 1 FROM billing_grants WHERE account_id = ?acme AND expires_at IS NULL`, `DELETE FROM billing_grant_draws WHERE account_id = ?acme AND seq = 3`, "I12", 3},
			{"a balance that no entry explains", `UPDATE billing_accounts SET available = available + 1 WHERE id = ?acme`, `UPDATE billing_accounts SET available = available - 1 WHERE id = ?acme`, "I1", 0},
			{"a total that no entry explains", `UPDATE billing_accounts SET granted_total = granted_total + 1 WHERE id = ?acme`, `UPDATE billing_accounts SET granted_total = granted_total - 1 WHERE id = ?acme`, "I2", 0},
			{"a reservation that forgot a capture", `UPDATE billing_reservations SET captured = captured - 1 WHERE run_id = 'post-open'`, `UPDATE billing_reservations SET captured = captured + 1 WHERE run_id = 'post-open'`, "I4", 0},
			{"a hold that is lost", `UPDATE billing_reservations SET state = 'SETTLED' WHERE run_id = 'post-open'`, `UPDATE billing_reservations SET state = 'OPEN' WHERE run_id = 'post-open'`, "I10", 0},
			{"an invoice worth more than its lines", `UPDATE billing_invoices SET total = total + 1 WHERE number = 'INV-00000002'`, `UPDATE billing_invoices SET total = total - 1 WHERE number = 'INV-00000002'`, "I8", 0},
			{"a line that is not its product", `UPDATE billing_invoice_lines SET unit_price = unit_price + 1 WHERE kind = 'USAGE'`, `UPDATE billing_invoice_lines SET unit_price = unit_price - 1 WHERE kind = 'USAGE'`, "I8", 0},
			{"a line for captures that were not", `UPDATE billing_invoice_lines SET quantity = quantity + 1 WHERE kind = 'PREPAID'`, `UPDATE billing_invoice_lines SET quantity = quantity - 1 WHERE kind = 'PREPAID'`, "I8", 0},
			{"a window that leaves an entry out", `UPDATE billing_invoices SET to_seq = to_seq - 1 WHERE number = 'INV-00000003'`, `UPDATE billing_invoices SET to_seq = to_seq + 1 WHERE number = 'INV-00000003'`, "I8", -1},
			{"a number that was skipped", `UPDATE billing_counters SET value = value + 1 WHERE name = 'INVOICE'`, `UPDATE billing_counters SET value = value - 1 WHERE name = 'INVOICE'`, "I8", 0},
			{"a grant that does not cover", `UPDATE billing_grants SET remaining = remaining - 1 WHERE account_id = ?acme AND expires_at IS NULL`, `UPDATE billing_grants SET remaining = remaining + 1 WHERE account_id = ?acme AND expires_at IS NULL`, "I12", 0},
		} {
			args := struct{ Acme, Post string }{ids["acme"], ids["post"]}
			b.exec(test.query, args)
			p, err := b.Prove(ctx)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range p.Findings {
				found = found || f.Invariant == test.invariant && (f.Entry == test.entry || test.entry < 0)
			}
			if !found {
				t.Errorf("%s: %+v", test.name, p.Findings)
			}
			// The audit in SQL sees it too, except for the chain, which is Go's alone.
			rows, err := b.Audit(ctx, b.DB)
			if err != nil || len(rows) == 0 && !strings.Contains(test.name, "chain") {
				t.Errorf("%s: the audit in SQL finds nothing: %v", test.name, err)
			}
			b.exec(test.undo, args)
		}
		b.audited()
	})
	t.Run("keeps what it found", func(t *testing.T) {
		t.Parallel()
		b := books(t, false)
		if err := b.Record(ctx, billing.Proof{At: utc("2031-01-01"), Entries: 3, Findings: []billing.Finding{{Invariant: "I1"}}}); err != nil {
			t.Fatal(err)
		}
		if n := b.count("SELECT violations FROM billing_audits"); n != 1 {
			t.Errorf("%d recorded", n)
		}
	})
}
