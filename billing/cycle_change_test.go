package billing_test

import (
	"context"
	"testing"

	"github.com/enrichd/enrichd/billing"
)

// TestCycleChange moves the end of a period that runs. What was taken back since
// a day that has passed was captured before it, so an end on that day would have
// an invoice take more off what is owed than is owed: the period could never be closed.
func TestCycleChange(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	set := func(b *bundle, c string, s billing.Settings) *billing.Account {
		t.Helper()
		a, err := b.Set(ctx, c, s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, test := range []struct {
		name, now, end string
		settings       billing.Settings
	}{
		{"passes over an anchor's day that has passed", "2031-10-20", "2031-11-15", billing.Settings{CycleAnchor: ptr(15)}},
		{"passes over a day that begins this very moment", "2031-10-20", "2031-11-20", billing.Settings{CycleAnchor: ptr(20)}},
		{"takes the day after this moment", "2031-10-19 23:59:59.999999", "2031-10-20", billing.Settings{CycleAnchor: ptr(20)}},
		{"passes over a midnight that has passed in the new zone", "2031-10-31 12:00", "2031-11-30 10:00", billing.Settings{TimeZone: ptr("Pacific/Kiritimati")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.setClock(utc("2031-10-05"))
			c := b.open("post", billing.Postpaid, nil)
			b.price(c, "EUR", "0.05", utc("2031-10-05"))
			b.hold(c, "run", 3)
			b.setClock(utc("2031-10-10"))
			b.capture(c, "run", "p1", "p2", "p3")
			b.settle(c, "run")
			b.setClock(utc("2031-10-19 12:00"))
			if _, _, err := b.Refund(ctx, billing.Refund{CompanyID: c, RunID: "run", ProfileID: "p1", Memo: "wrong person", Actor: "cli", Key: "r"}); err != nil {
				t.Fatal(err)
			}
			b.setClock(utc(test.now))
			if a := set(b, c, test.settings); !a.NextPeriodEnd.Equal(utc(test.end)) || !a.NextPeriodStart.Equal(utc("2031-10-01")) {
				t.Errorf("the period is %s to %s", a.NextPeriodStart, a.NextPeriodEnd)
			}
			b.setClock(utc(test.end))
			b.closeDue()
			if a := b.account(c); a.Owed != 0 || a.InvoicedTotal != 3 { // two on the invoice, one taken back
				t.Errorf("%d owed, %d invoiced", a.Owed, a.InvoicedTotal)
			}
			b.audited()
		})
	}
	t.Run("moves it ahead however often, and never back before now", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-05"))
		c := b.open("post", billing.Postpaid, nil)
		for _, step := range []struct {
			now, end string
			anchor   int
		}{
			{"2031-10-31 23:00", "2031-11-30", 30}, {"2031-11-29 23:00", "2031-12-29", 29}, {"2031-12-28 23:00", "2032-01-28", 28}, {"2032-01-27 23:00", "2032-01-31", 31},
		} {
			b.setClock(utc(step.now))
			if a := set(b, c, billing.Settings{CycleAnchor: &step.anchor}); !a.NextPeriodEnd.Equal(utc(step.end)) || !a.NextPeriodStart.Equal(utc("2031-10-01")) {
				t.Errorf("anchor %d: the period is %s to %s", step.anchor, a.NextPeriodStart, a.NextPeriodEnd)
			}
		}
	})
}
