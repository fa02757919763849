package billing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
)

// billed is a postpaid company with one closed period of n credits.
func billed(t *testing.T, n int, grace time.Duration) (*bundle, string, *billing.Invoice) {
	t.Helper()
	b := setup(t)
	b.Grace = grace
	b.setClock(utc("2031-10-05"))
	c := b.open("post", billing.Postpaid, nil)
	b.price(c, "EUR", "0.1", utc("2031-10-01"))
	b.use(c, utc("2031-10-06"), n)
	b.setClock(utc("2031-11-01"))
	return b, c, b.closeDue().Invoices[0]
}

func TestInvoiceLife(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	conflict := func(t *testing.T, err error) {
		t.Helper()
		if !errors.As(err, new(fault.Conflict)) {
			t.Errorf("no conflict: %v", err)
		}
	}
	t.Run("is paid once, by its number or its id, and is then neither void nor changed", func(t *testing.T) {
		t.Parallel()
		b, _, i := billed(t, 3, 0)
		for _, name := range []string{i.ID, *i.Number} {
			if paid, err := b.Pay(ctx, name, "bank 1"); err != nil || paid.Status != billing.InvoicePaid {
				t.Error(paid, err)
			}
		}
		_, err := b.Pay(ctx, i.ID, "bank 2")
		conflict(t, err)
		_, err = b.Void(ctx, i.ID, "late")
		conflict(t, err)
		_, err = b.Correct(ctx, i.ID)
		conflict(t, err)
	})
	t.Run("is corrected by a new one with the same window, at the prices set now", func(t *testing.T) {
		t.Parallel()
		b, c, i := billed(t, 3, 0)
		_, err := b.Correct(ctx, i.ID)
		conflict(t, err)
		if _, err := b.Void(ctx, i.ID, "wrong price"); err != nil {
			t.Fatal(err)
		}
		b.price(c, "EUR", "0.2", utc("2031-10-01"))
		for range 2 {
			if again, err := b.Correct(ctx, i.ID); err != nil || again.Revision != 2 || again.FromSeq != i.FromSeq || again.ToSeq != i.ToSeq || again.Amount != "0.60" {
				t.Fatal(again, err)
			}
		}
		b.expect("both", b.documents(c), "311001T00/311101T00 3 0.30 EUR VOID INV-00000001", "311001T00/311101T00 3 0.60 EUR CLOSED INV-00000002")
		if a := b.account(c); a.Owed != 0 || a.InvoicedTotal != 3 {
			t.Errorf("a correction moved credits: %d, %d", a.Owed, a.InvoicedTotal)
		}
		b.audited()
	})
	t.Run("takes no number when it is void before its grace period is over", func(t *testing.T) {
		t.Parallel()
		b, c, i := billed(t, 3, 24*time.Hour)
		if _, err := b.Void(ctx, i.ID, "mistake"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Correct(ctx, i.ID); err != nil {
			t.Fatal(err)
		}
		b.setClock(utc("2031-11-02"))
		b.closeDue()
		b.expect("both", b.documents(c), "311001T00/311101T00 3 0.30 EUR VOID -", "311001T00/311101T00 3 0.30 EUR CLOSED INV-00000001")
		b.audited()
	})
	t.Run("lists page by page, the open one first", func(t *testing.T) {
		t.Parallel()
		b, c, _ := billed(t, 1, 0)
		for m := range 4 {
			b.use(c, utc("2031-11-10").AddDate(0, m, 0), 1)
			b.setClock(utc("2031-12-01").AddDate(0, m, 0))
			b.closeDue()
		}
		args, seen := page.Args{First: 2}, []string{}
		for {
			list, err := b.Invoices(ctx, b.account(c).ID, args)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range list.Nodes {
				seen = append(seen, i.PeriodStart.UTC().Format("0601"))
			}
			if !list.PageInfo.HasNextPage {
				break
			}
			args.After = *list.PageInfo.EndCursor
		}
		if fmt.Sprint(seen) != "[3203 3202 3201 3112 3111 3110]" {
			t.Error(seen)
		}
		for _, after := range []string{page.Encode("x"), "%", page.Encode("1")} {
			if _, err := b.Invoices(ctx, b.account(c).ID, page.Args{First: 2, After: after}); !errors.As(err, new(fault.InvalidInput)) {
				t.Errorf("%q: %v", after, err)
			}
		}
	})
	t.Run("belongs to its company", func(t *testing.T) {
		t.Parallel()
		b, c, i := billed(t, 1, 0)
		b.prepaid("other", 1)
		if own, err := b.InvoiceFor(ctx, c, i.ID); err != nil || own == nil {
			t.Error(own, err)
		}
		if foreign, err := b.InvoiceFor(ctx, "other", i.ID); err != nil || foreign != nil {
			t.Error(foreign, err)
		}
	})
	t.Run("is kept as it is by the database itself", func(t *testing.T) {
		t.Parallel()
		b, c, i := billed(t, 2, 0)
		open, _ := b.Invoices(ctx, b.account(c).ID, page.Args{First: 1})
		for _, test := range []struct{ name, constraint, query string }{
			{"an invoice cannot be deleted", "billing_invoices_kept", "DELETE FROM billing_invoices"},
			{"its window cannot move", "billing_invoices_unchanged", "UPDATE billing_invoices SET to_seq = to_seq + 1"},
			{"its number cannot change", "billing_invoices_unchanged", "UPDATE billing_invoices SET number = 'INV-7'"},
			{"its total cannot change", "billing_invoices_unchanged", "UPDATE billing_invoices SET total = total + 1"},
			{"a line cannot change", "billing_invoice_lines_kept", "UPDATE billing_invoice_lines SET quantity = 1"},
			{"a line cannot be added to a numbered one", "billing_invoice_lines_made", "INSERT INTO billing_invoice_lines VALUES ('" + i.ID + "', 9, 'MANUAL', 'x', 1, 0, 0)"},
			{"a price cannot change", "billing_prices_kept", "UPDATE billing_prices SET price = 1"},
			{"a number is not given back", "billing_counters_forward", "UPDATE billing_counters SET value = value - 1"},
			{"a number is not skipped", "billing_counters_forward", "UPDATE billing_counters SET value = value + 2"},
			{"a period has one invoice", "billing_invoices_once", `INSERT INTO billing_invoices (id, account_id, period_start, period_end, revision, from_seq, to_seq, kind, currency, digits, quantity, total, closed_at, finalise_at)
				SELECT 'inv_x', account_id, period_start, period_end, 2, from_seq, to_seq, kind, currency, digits, quantity, total, closed_at, finalise_at FROM billing_invoices`},
			{"a window follows the one before it", "billing_invoices_made", `INSERT INTO billing_invoices (id, account_id, period_start, period_end, from_seq, to_seq, kind, currency, digits, quantity, total, closed_at, finalise_at)
				SELECT '` + open.Nodes[0].ID + `', account_id, period_end, period_end + interval '1 month', to_seq + 2, to_seq + 2, kind, currency, digits, 0, 0, closed_at, finalise_at FROM billing_invoices`},
			{"an invoice comes with its entry", "billing_invoices_made", `INSERT INTO billing_invoices (id, account_id, period_start, period_end, from_seq, to_seq, kind, currency, digits, quantity, total, closed_at, finalise_at)
				SELECT '` + open.Nodes[0].ID + `', account_id, period_end, period_end + interval '1 month', to_seq + 1, to_seq + 1, kind, currency, digits, 0, 0, closed_at, finalise_at FROM billing_invoices`},
		} {
			_, err := b.DB.ExecContext(ctx, test.query)
			if got := pg.Constraint(err); got != test.constraint {
				t.Errorf("%s: refused by %q, not by %q: %v", test.name, got, test.constraint, err)
			}
		}
	})
}

func TestPrices(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	set := func(b *bundle, c, price, currency string) error {
		_, err := b.SetPrice(ctx, billing.SetPrice{CompanyID: c, Price: price, Currency: currency, Actor: "cli"})
		return err
	}
	t.Run("hold from their start on, each capture at its own, rounded once a line", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-01"))
		c := b.open("post", billing.Postpaid, nil)
		b.use(c, utc("2031-10-02"), 2) // before there was any price
		b.price(c, "EUR", "0.005", utc("2031-10-03"))
		b.price(c, "EUR", "0.3335", utc("2031-10-10"))
		b.price(c, "EUR", "0.3345", utc("2031-10-10")) // the last one set holds
		b.use(c, utc("2031-10-09 23:59:59.999999"), 3)
		b.use(c, utc("2031-10-10"), 1)
		b.setClock(utc("2031-11-01"))
		i := b.closeDue().Invoices[0]
		var lines []string
		for _, l := range i.Lines {
			lines = append(lines, fmt.Sprintf("%d x %s = %s", l.Quantity, l.Price, l.Amount))
		}
		// 0.015 rounds up to 0.02, 0.3345 down to 0.33.
		b.expect("lines", lines, "2 x 0 = 0.00", "3 x 0.005 = 0.02", "1 x 0.3345 = 0.33")
		if i.Amount != "0.35" || !strings.Contains(i.Lines[2].Description, "2031-10-10") {
			t.Errorf("%s, %q", i.Amount, i.Lines[2].Description)
		}
		b.audited()
	})
	t.Run("have as many decimals as their currency", func(t *testing.T) {
		t.Parallel()
		for currency, want := range map[string]string{"JPY": "23", "EUR": "22.50", "KWD": "22.500"} {
			b := setup(t)
			b.setClock(utc("2031-10-01"))
			c := b.open("post", billing.Postpaid, nil)
			b.price(c, currency, "7.5", utc("2031-10-01"))
			b.use(c, utc("2031-10-02"), 3)
			b.setClock(utc("2031-11-01"))
			if i := b.closeDue().Invoices[0]; i.Amount != want {
				t.Errorf("%s %s, not %s", i.Amount, currency, want)
			}
			b.audited()
		}
	})
	t.Run("are refused when they make no sense", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.open("post", billing.Postpaid, nil)
		for _, price := range []string{"", "-1", "1e3", "1,5", "0.123456789", "NaN", "1.", ".5", "12345678901"} {
			if err := set(b, c, price, "EUR"); !errors.As(err, new(fault.InvalidInput)) {
				t.Errorf("%q: %v", price, err)
			}
		}
		for _, currency := range []string{"", "eur", "EURO", "ZZZ", "E\x00R"} {
			if err := set(b, c, "1", currency); !errors.As(err, new(fault.InvalidInput)) {
				t.Errorf("%q: %v", currency, err)
			}
		}
		if err := set(b, c, "0", "EUR"); err != nil {
			t.Error(err)
		}
		if err := set(b, c, "1", "USD"); !errors.As(err, new(fault.Conflict)) {
			t.Errorf("a second currency: %v", err)
		}
		if err := set(b, "nobody", "1", "USD"); !errors.As(err, new(fault.NotFound)) {
			t.Error(err)
		}
	})
	t.Run("are not needed: an invoice without any is in no currency", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-01"))
		c := b.open("post", billing.Postpaid, nil)
		b.use(c, utc("2031-10-02"), 3)
		b.setClock(utc("2031-11-01"))
		b.closeDue()
		b.expect("invoice", b.documents(c), "311001T00/311101T00 3 0 XXX CLOSED INV-00000001")
		b.audited()
	})
}

func TestFigures(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := setup(t)
	c := b.prepaid("acme", 5)
	b.hold(c, "run", 2)
	registry := prometheus.NewRegistry()
	registry.MustRegister(b.Collector())
	expect := func(violations float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		if got["billing_audit_violations"] != violations || got["billing_open_holds"] != 1 || len(got) != 3 {
			t.Errorf("%v, not %v violations", got, violations)
		}
	}
	expect(0)
	worker := &billing.AuditWorker{Ledger: b.Ledger}
	if err := worker.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	expect(0)
	if n := b.count("SELECT count(*) FROM billing_audits WHERE violations = 0 AND entries = 2 AND accounts = 1"); n != 1 {
		t.Errorf("%d audits", n)
	}
	if err := b.Record(ctx, billing.Proof{At: time.Now().Add(time.Minute), Findings: make([]billing.Finding, 3)}); err != nil {
		t.Fatal(err)
	}
	expect(3)
}
