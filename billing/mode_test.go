package billing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
)

// leftover is a prepaid company at 0.05 EUR a credit, early in October: of ten
// credits bought and twenty given three are used, all on the first.
func leftover(t *testing.T) (*bundle, string) {
	t.Helper()
	b := setup(t)
	b.setClock(utc("2031-10-02"))
	c := b.open("acme", billing.Prepaid, nil)
	b.price(c, "EUR", "0.05", utc("2031-10-01"))
	b.grant(billing.Grant{CompanyID: c, Credits: 10, Kind: billing.KindPurchase, Reference: "pay_1"})
	b.grant(billing.Grant{CompanyID: c, Credits: 20, Priority: 1, ExpiresAt: ptr(utc("2032-01-01"))})
	b.use(c, utc("2031-10-03"), 3)
	return b, c
}

func (b *bundle) switchTo(company string, mode billing.Mode, creditLeftover bool) (*billing.Account, error) {
	return b.Set(context.Background(), company, billing.Settings{Mode: &mode, CreditLeftover: creditLeftover, Actor: "cli"})
}

func (b *bundle) mustSwitch(company string, mode billing.Mode, creditLeftover bool) {
	b.t.Helper()
	if _, err := b.switchTo(company, mode, creditLeftover); err != nil {
		b.t.Fatal(err)
	}
}

// lines lists the lines of the company's newest stored invoice.
func (b *bundle) lines(company string) (out []string) {
	b.t.Helper()
	c, err := b.Invoices(context.Background(), b.account(company).ID, page.Args{First: 2})
	if err != nil || len(c.Nodes) < 2 {
		b.t.Fatal(c.Nodes, err)
	}
	for _, l := range c.Nodes[1].Lines {
		out = append(out, fmt.Sprintf("%s %d x %s = %s, %s", l.Kind, l.Quantity, l.Price, l.Amount, l.Description))
	}
	return out
}

// TestModeChange changes between paying before and after while credits are left.
func TestModeChange(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("refuses to let credits vanish, and says what to do", func(t *testing.T) {
		t.Parallel()
		b, c := leftover(t)
		entries := b.row(c).LastSeq
		_, err := b.switchTo(c, billing.Postpaid, false)
		var refused fault.Conflict
		if !errors.As(err, &refused) || refused.State != "AVAILABLE" || refused.Field[0] != "mode" {
			t.Fatal(err)
		}
		for _, way := range []string{"27 credits are left", "--credit-leftover", "credits adjust --credits -27", "until they are used"} {
			if !strings.Contains(refused.Message, way) {
				t.Errorf("%q does not say %q", refused.Message, way)
			}
		}
		if a := b.row(c); a.Mode != billing.Prepaid || a.Available != 27 || a.LastSeq != entries {
			t.Errorf("%+v", a)
		}
	})
	t.Run("takes them off the next invoice: an entry for each grant, and a line of money", func(t *testing.T) {
		t.Parallel()
		b, c := leftover(t)
		before := b.row(c).LastSeq
		b.setClock(utc("2031-10-10"))
		b.mustSwitch(c, billing.Postpaid, true)
		b.mustSwitch(c, billing.Postpaid, true) // it is postpaid already: nothing more
		if a := b.row(c); a.Mode != billing.Postpaid || a.Available != 0 || a.Owed != 0 || a.AdjustedTotal != -27 || a.LastSeq != before+3 {
			t.Errorf("%+v", a)
		}
		list, err := b.Entries(ctx, b.row(c).ID, page.Args{First: 3}, billing.EntryFilter{})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, e := range list.Nodes {
			said = append(said, fmt.Sprintf("%s %d left %d: %s (%s)", e.Kind, e.Amount, e.AvailableAfter, *e.Memo, e.Actor))
		}
		b.expect("entries, newest first", said,
			"ADJUST 0 left 0: the account is POSTPAID from here on (cli)",
			"ADJUST -20 left 0: 20 credits are taken off the next invoice instead (cli)",
			"ADJUST -7 left 20: 7 credits are taken off the next invoice instead, paid for by pay_1 (cli)")
		if n := b.count("SELECT sum(remaining) FROM billing_grants"); n != 0 {
			t.Errorf("grants have %d left", n)
		}
		b.use(c, utc("2031-10-12"), 40)
		b.price(c, "EUR", "0.10", utc("2031-10-13")) // what was left is worth what a credit cost at the change
		b.use(c, utc("2031-10-14"), 1)
		b.setClock(utc("2031-11-01"))
		b.closeDue()
		b.expect("lines", b.lines(c),
			"USAGE 40 x 0.05 = 2.00, Candidate enrichment, price since 2031-10-01", "USAGE 1 x 0.10 = 0.10, Candidate enrichment, price since 2031-10-13",
			"PREPAID 3 x 0 = 0.00, Candidate enrichment, paid with credits", "MANUAL -27 x 0.05 = -1.35, Credits left from prepayment, price since 2031-10-01")
		b.expect("invoice", b.documents(c), "311001T00/311101T00 17 0.75 EUR CLOSED INV-00000001")
		if a := b.account(c); a.Owed != 0 || a.InvoicedTotal != 41 {
			t.Errorf("%d owed, %d invoiced", a.Owed, a.InvoicedTotal)
		}
		b.audited()
	})
	t.Run("ends below zero, as a credit note, where less was used than was left", func(t *testing.T) {
		t.Parallel()
		b, c := leftover(t)
		b.mustSwitch(c, billing.Postpaid, true)
		b.use(c, utc("2031-10-12"), 5)
		b.setClock(utc("2031-11-01"))
		done := b.closeDue()
		b.expect("invoice", b.documents(c), "311001T00/311101T00 -19 -1.10 EUR CLOSED INV-00000001")
		id := done.Invoices[0].ID
		if _, err := b.Void(ctx, id, "wrong address"); err != nil {
			t.Fatal(err)
		}
		again, err := b.Correct(ctx, id)
		if err != nil || again.Amount != "-1.10" {
			t.Fatal(again, err)
		}
		if paid, err := b.Pay(ctx, again.ID, "bank 7"); err != nil || paid.Status != billing.InvoicePaid {
			t.Error(paid, err)
		}
		b.audited()
	})
	t.Run("and back: what is owed is on the same invoice, and new credits are spent", func(t *testing.T) {
		t.Parallel()
		b, c := leftover(t)
		b.mustSwitch(c, billing.Postpaid, true)
		b.use(c, utc("2031-10-12"), 30)
		b.mustSwitch(c, billing.Prepaid, false)
		if a := b.row(c); a.Owed != 30 || a.Available != 0 {
			t.Errorf("%+v", a)
		}
		var short billing.InsufficientCredits
		if _, err := b.reserve(c, "none", 1, 0); !errors.As(err, &short) {
			t.Errorf("a prepaid company without credits began a run: %v", err)
		}
		b.grant(billing.Grant{CompanyID: c, Credits: 5})
		b.use(c, utc("2031-10-13"), 2)
		b.mustSwitch(c, billing.Postpaid, true) // three are left this time
		b.setClock(utc("2031-11-01"))
		b.closeDue()
		b.expect("lines", b.lines(c), "USAGE 30 x 0.05 = 1.50, Candidate enrichment", "PREPAID 5 x 0 = 0.00, Candidate enrichment, paid with credits",
			"MANUAL -30 x 0.05 = -1.50, Credits left from prepayment")
		b.use(c, utc("2031-11-02"), 1)
		b.setClock(utc("2031-12-01"))
		b.closeDue()
		b.expect("lines of the month after", b.lines(c), "USAGE 1 x 0.05 = 0.05, Candidate enrichment")
		b.audited()
	})
	t.Run("loses what has expired, and what is held it does not touch", func(t *testing.T) {
		t.Parallel()
		b, c := leftover(t)
		b.setClock(utc("2032-01-01")) // the twenty are gone
		b.hold(c, "run", 2)
		var refused fault.Conflict
		if _, err := b.switchTo(c, billing.Postpaid, true); !errors.As(err, &refused) || refused.State != "HELD" || !strings.Contains(refused.Message, "cancel them") {
			t.Error(err)
		}
		b.settle(c, "run")
		b.mustSwitch(c, billing.Postpaid, true)
		if a := b.row(c); a.ExpiredTotal != 20 || a.AdjustedTotal != -7 {
			t.Errorf("%+v", a)
		}
		b.setClock(utc("2032-02-01"))
		b.closeDue()
		b.expect("lines", b.lines(c), "MANUAL -7 x 0.05 = -0.35, Credits left from prepayment")
		b.audited()
	})
	t.Run("refuses what would be worth nothing, or is not meant", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 3)
		var refused fault.Conflict
		if _, err := b.switchTo(c, billing.Postpaid, true); !errors.As(err, &refused) || refused.State != "UNPRICED" || !strings.Contains(refused.Message, "price set") {
			t.Error(err)
		}
		b.price(c, "EUR", "1", time.Now().Add(time.Hour))
		if _, err := b.switchTo(c, billing.Postpaid, true); !errors.As(err, &refused) || refused.State != "UNPRICED" {
			t.Error("a price that does not hold yet:", err)
		}
		var invalid fault.InvalidInput
		if _, err := b.switchTo(c, billing.Prepaid, true); !errors.As(err, &invalid) {
			t.Error(err)
		}
		if _, err := b.Set(ctx, c, billing.Settings{CreditLeftover: true}); !errors.As(err, &invalid) {
			t.Error(err)
		}
		b.expectBalance(c, 3, 0)
	})
	t.Run("is found by the proof when an invoice forgets it", func(t *testing.T) {
		t.Parallel()
		b, c := leftover(t)
		b.mustSwitch(c, billing.Postpaid, true)
		b.setClock(utc("2031-11-01"))
		b.closeDue()
		b.audited()
		for _, table := range []string{"billing_invoices", "billing_invoice_lines"} {
			b.exec("ALTER TABLE " + table + " DISABLE TRIGGER USER")
		}
		change := func(sign string) {
			b.exec("UPDATE billing_invoices SET total = total " + sign + " 0.05")
			b.exec("UPDATE billing_invoice_lines SET quantity = quantity " + sign + " 1, total = total " + sign + " 0.05 WHERE kind = 'MANUAL'")
		}
		change("+")
		p, err := b.Prove(ctx)
		if err != nil || len(p.Findings) != 1 || p.Findings[0].Invariant != "I8" {
			t.Errorf("%+v %v", p.Findings, err)
		}
		change("-")
		b.audited()
	})
}
