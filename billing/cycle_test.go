package billing_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/page"
)

func utc(s string) time.Time {
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05.000000"} {
		if at, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return at
		}
	}
	panic(s)
}

// use captures n credits in a run of its own, at a time.
func (b *bundle) use(company string, at time.Time, n int) {
	b.t.Helper()
	b.setClock(at)
	run := fmt.Sprintf("run-%d", serial.Add(1))
	b.hold(company, run, int64(n)+1)
	var profiles []string
	for i := range n {
		profiles = append(profiles, fmt.Sprintf("p%d", i+1))
	}
	b.capture(company, run, profiles...)
	b.settle(company, run)
}

func (b *bundle) closeDue() billing.Closed {
	b.t.Helper()
	done, err := b.CloseDue(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

func (b *bundle) price(company, currency, price string, from time.Time) {
	b.t.Helper()
	if _, err := b.SetPrice(context.Background(), billing.SetPrice{CompanyID: company, Currency: currency, Price: price, StartsAt: &from, Actor: "cli"}); err != nil {
		b.t.Fatal(err)
	}
}

// documents lists the company's stored invoices, oldest first, as "start/end quantity total status number".
func (b *bundle) documents(company string) (out []string) {
	b.t.Helper()
	c, err := b.Invoices(context.Background(), b.account(company).ID, page.Args{First: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	for n := len(c.Nodes) - 1; n > 0; n-- { // the first is the open one
		i := c.Nodes[n]
		number := "-"
		if i.Number != nil {
			number = *i.Number
		}
		captured := int64(0)
		for _, l := range i.Lines {
			captured += l.Quantity
		}
		out = append(out, fmt.Sprintf("%s/%s %d %s %s %s %s", i.PeriodStart.UTC().Format("060102T15"), i.PeriodEnd.UTC().Format("060102T15"),
			captured, i.Amount, i.Currency, i.Status, number))
	}
	return out
}

func (b *bundle) expect(what string, got []string, want ...string) {
	b.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// audited proves the books from the entries, which the SQL audit at the end of the test does once more.
func (b *bundle) audited() {
	b.t.Helper()
	report, err := b.Prove(context.Background())
	if n := b.count("SELECT count(*) FROM billing_entries"); report.Entries != n {
		b.t.Errorf("the audit played %d of %d entries", report.Entries, n)
	}
	if err != nil || len(report.Findings) > 0 {
		b.t.Errorf("audit: %+v %v", report.Findings, err)
	}
}

func TestCycle(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	// begin opens a postpaid company at a time, at 0.05 EUR a credit.
	begin := func(t *testing.T, at string) (*bundle, string) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc(at))
		c := b.open("post", billing.Postpaid, nil)
		b.price(c, "EUR", "0.05", utc(at))
		return b, c
	}
	t.Run("bills what was captured before the end, and leaves what came after to the next", func(t *testing.T) {
		b, c := begin(t, "2031-10-05")
		b.use(c, utc("2031-10-31 23:59:59.999999"), 3)
		b.use(c, utc("2031-11-01"), 5) // exactly at the boundary
		b.closeDue()
		b.expect("first", b.documents(c), "311001T00/311101T00 3 0.15 EUR CLOSED INV-00000001")
		b.use(c, utc("2031-11-30 12:00"), 2)
		b.setClock(utc("2031-12-01"))
		b.closeDue()
		b.expect("second", b.documents(c), "311001T00/311101T00 3 0.15 EUR CLOSED INV-00000001", "311101T00/311201T00 7 0.35 EUR CLOSED INV-00000002")
		if a := b.account(c); a.Owed != 0 || a.InvoicedTotal != 10 {
			t.Errorf("%d owed, %d invoiced", a.Owed, a.InvoicedTotal)
		}
		b.audited()
	})
	t.Run("splits a run that straddles the end by when each profile was captured", func(t *testing.T) {
		b, c := begin(t, "2031-10-31")
		b.hold(c, "run", 3)
		b.setClock(utc("2031-10-31 23:59"))
		b.capture(c, "run", "p1", "p2")
		b.setClock(utc("2031-11-01 00:01"))
		b.closeDue()
		b.capture(c, "run", "p3")
		b.settle(c, "run")
		b.setClock(utc("2031-12-01 00:01"))
		b.closeDue()
		b.expect("both", b.documents(c), "311001T00/311101T00 2 0.10 EUR CLOSED INV-00000001", "311101T00/311201T00 1 0.05 EUR CLOSED INV-00000002")
		b.audited()
	})
	t.Run("catches up every missed period, in order, the empty ones without a document", func(t *testing.T) {
		b, c := begin(t, "2031-10-05")
		b.use(c, utc("2031-10-10"), 1)
		b.use(c, utc("2031-11-10"), 2)
		b.use(c, utc("2032-01-10"), 4) // nothing in December
		b.setClock(utc("2032-03-01 09:00"))
		if done := b.closeDue(); len(done.Invoices) != 3 || done.Empty != 2 || len(done.Numbered) != 3 {
			t.Errorf("%+v", done)
		}
		b.expect("all", b.documents(c), "311001T00/311101T00 1 0.05 EUR CLOSED INV-00000001",
			"311101T00/311201T00 2 0.10 EUR CLOSED INV-00000002", "320101T00/320201T00 4 0.20 EUR CLOSED INV-00000003")
		b.audited()
	})
	t.Run("closes once, however many nodes close at once", func(t *testing.T) {
		b, c := begin(t, "2031-10-05")
		for n := range 8 {
			b.use(c, utc("2031-10-10").AddDate(0, 0, n), 1)
		}
		b.use(c, utc("2031-11-02"), 2)
		b.setClock(utc("2031-12-02"))
		other := &billing.Ledger{DB: b.DB}
		var wg sync.WaitGroup
		for n := range 12 {
			wg.Go(func() {
				l := b.Ledger
				if n%2 == 1 {
					l = other
				}
				if _, err := l.CloseDue(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.expect("all", b.documents(c), "311001T00/311101T00 8 0.40 EUR CLOSED INV-00000001", "311101T00/311201T00 2 0.10 EUR CLOSED INV-00000002")
		b.audited()
	})
	t.Run("loses no capture while it closes", func(t *testing.T) {
		b, c := begin(t, "2031-10-31 23:00")
		b.hold(c, "busy", 200)
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for i := range 50 {
					if n == 0 && i == 10 {
						b.setClock(utc("2031-11-01"))
					}
					b.capture(c, "busy", fmt.Sprintf("p%d-%d", n, i))
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range 20 {
					b.closeDue()
				}
			})
		}
		wg.Wait()
		b.settle(c, "busy")
		b.setClock(utc("2031-12-01"))
		b.closeDue()
		total := b.count("SELECT sum(quantity) FROM billing_invoice_lines")
		if total != 200 {
			t.Errorf("200 captures, %d on invoices", total)
		}
		b.audited()
	})
	t.Run("waits for its number until the grace period is over, and takes corrections until then", func(t *testing.T) {
		b, c := begin(t, "2031-10-05")
		b.Grace = 48 * time.Hour
		b.use(c, utc("2031-10-10"), 4)
		b.setClock(utc("2031-11-01 01:00"))
		b.closeDue()
		b.expect("in grace", b.documents(c), "311001T00/311101T00 4 0.20 EUR CLOSED -")
		b.use(c, utc("2031-11-01 02:00"), 1) // a capture in the grace period
		c1, _ := b.Invoices(ctx, b.account(c).ID, page.Args{First: 5})
		id := c1.Nodes[1].ID
		if _, err := b.Pay(ctx, id, "pay"); err == nil {
			t.Error("paid without a number")
		}
		if i, err := b.AddLine(ctx, id, "Goodwill", "-0.15"); err != nil || i.Amount != "0.05" || len(i.Lines) != 2 {
			t.Errorf("%+v %v", i, err)
		}
		if _, err := b.AddLine(ctx, id, "Goodwill", "-0.155"); err == nil {
			t.Error("took a fraction of a cent")
		}
		b.setClock(utc("2031-11-03 00:59"))
		b.closeDue()
		b.setClock(utc("2031-11-03 01:00"))
		b.closeDue()
		b.setClock(utc("2031-12-01"))
		b.closeDue()
		b.expect("numbered", b.documents(c), "311001T00/311101T00 5 0.05 EUR CLOSED INV-00000001", "311101T00/311201T00 1 0.05 EUR CLOSED -")
		if _, err := b.AddLine(ctx, id, "Too late", "1.00"); err == nil {
			t.Error("took a line with its number")
		}
		b.audited()
	})
	for _, test := range []struct {
		anchor int
		want   []string
	}{
		{29, []string{"320128T23/320228T23", "320228T23/320328T22", "320328T22/320428T22"}},
		{30, []string{"320129T23/320228T23", "320228T23/320329T22", "320329T22/320429T22"}},
		{31, []string{"320130T23/320228T23", "320228T23/320330T22", "320330T22/320429T22"}},
	} {
		t.Run(fmt.Sprintf("keeps an anchor of %d through short months, at midnight in the company's zone", test.anchor), func(t *testing.T) {
			b, c := begin(t, "2032-01-05")
			if _, err := b.Set(ctx, c, billing.Settings{CycleAnchor: &test.anchor, TimeZone: ptr("Europe/Berlin")}); err != nil {
				t.Fatal(err)
			}
			b.setClock(utc("2032-02-01"))
			b.closeDue()
			var got []string
			for range 3 {
				a := b.account(c)
				got = append(got, a.NextPeriodStart.UTC().Format("060102T15")+"/"+a.NextPeriodEnd.UTC().Format("060102T15"))
				b.setClock(a.NextPeriodEnd)
				b.closeDue()
			}
			b.expect("periods", got, test.want...)
		})
	}
	t.Run("moves the end of the current period with the zone and the anchor, and never its begin", func(t *testing.T) {
		b, c := begin(t, "2031-10-05")
		b.use(c, utc("2031-10-10"), 1)
		for _, zone := range []string{"Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati", "UTC"} {
			if _, err := b.Set(ctx, c, billing.Settings{TimeZone: &zone}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Set(ctx, c, billing.Settings{TimeZone: ptr("America/Los_Angeles")}); err != nil {
			t.Fatal(err)
		}
		b.use(c, utc("2031-11-01 06:59"), 2) // still October in Los Angeles
		b.use(c, utc("2031-11-01 07:00"), 4)
		b.closeDue()
		if _, err := b.Set(ctx, c, billing.Settings{TimeZone: ptr("Asia/Tokyo")}); err != nil {
			t.Fatal(err)
		}
		b.use(c, utc("2031-11-30 15:00"), 8) // December in Tokyo
		if _, err := b.Set(ctx, c, billing.Settings{CycleAnchor: ptr(15)}); err != nil {
			t.Fatal(err)
		}
		b.setClock(utc("2032-02-01"))
		b.closeDue()
		b.expect("all", b.documents(c), "311001T00/311101T07 3 0.15 EUR CLOSED INV-00000001",
			"311101T07/311130T15 4 0.20 EUR CLOSED INV-00000002", "311130T15/311214T15 8 0.40 EUR CLOSED INV-00000003")
		b.audited()
		if _, err := b.Set(ctx, c, billing.Settings{TimeZone: ptr("Mars/Olympus")}); err == nil {
			t.Error("took a zone that is none")
		}
	})
	t.Run("gives a prepaid company a statement that costs nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-05"))
		c := b.prepaid("pre", 20)
		b.price(c, "CHF", "0.1", utc("2031-01-01"))
		b.use(c, utc("2031-10-10"), 7)
		b.setClock(utc("2031-11-01"))
		b.closeDue()
		b.expect("statement", b.documents(c), "311001T00/311101T00 7 0.00 CHF CLOSED STM-00000001")
		b.audited()
	})
	t.Run("is closed by hand once the period has ended, and not before", func(t *testing.T) {
		b, c := begin(t, "2031-10-05")
		b.use(c, utc("2031-10-10"), 2)
		open, err := b.Invoices(ctx, b.account(c).ID, page.Args{First: 1})
		if err != nil || open.Nodes[0].Status != billing.InvoiceOpen || open.Nodes[0].Amount != "0.10" {
			t.Fatalf("%+v %v", open.Nodes, err)
		}
		id := open.Nodes[0].ID
		if _, err := b.Close(ctx, id); err == nil {
			t.Error("closed a period that runs")
		}
		b.setClock(utc("2031-11-01"))
		for range 2 {
			if i, err := b.Close(ctx, id); err != nil || i.ID != id || *i.Number != "INV-00000001" {
				t.Errorf("%+v %v", i, err)
			}
		}
		for _, unknown := range []string{"", "inv_", "inv_x_1", "inv_x_y", id + "_2", "acc_1"} {
			if _, err := b.Close(ctx, unknown); err == nil {
				t.Errorf("closed %q", unknown)
			}
		}
	})
}
