package billing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
)

func (b *bundle) adjust(company string, credits int64) error {
	_, _, err := b.Adjust(context.Background(), billing.Adjust{
		CompanyID: company, Credits: credits, Memo: "by hand", Actor: "cli", Key: fmt.Sprintf("adjust-%d", serial.Add(1)),
	})
	return err
}

func TestAdjust(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("gives to and takes from what a prepaid company holds", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("pre", 3)
		b.grant(billing.Grant{CompanyID: c, Credits: 5, ExpiresAt: ptr(time.Now().Add(time.Hour))})
		b.hold(c, "run", 2)
		if err := b.adjust(c, 4); err != nil {
			t.Fatal(err)
		}
		if err := b.adjust(c, -9); err != nil {
			t.Fatal(err)
		}
		b.expectBalance(c, 1, 2)
		var short billing.InsufficientCredits
		if err := b.adjust(c, -2); !errors.As(err, &short) || short.Available != 1 {
			t.Error(err)
		}
		if a := b.account(c); a.AdjustedTotal != -5 {
			t.Errorf("adjusted %d", a.AdjustedTotal)
		}
		b.audited()
	})
	t.Run("moves what a postpaid company owes, and shows it on the next invoice", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-05"))
		c := b.open("post", billing.Postpaid, ptr(int64(10)))
		b.price(c, "EUR", "0.5", utc("2031-10-01"))
		b.use(c, utc("2031-10-06"), 6)
		for _, credits := range []int64{2, -3} {
			if err := b.adjust(c, credits); err != nil {
				t.Fatal(err)
			}
		}
		var conflict fault.Conflict
		if err := b.adjust(c, 8); !errors.As(err, &conflict) {
			t.Errorf("took off more than is owed: %v", err)
		}
		var short billing.InsufficientCredits
		if err := b.adjust(c, -4); !errors.As(err, &short) || !short.Limit {
			t.Errorf("went past the limit: %v", err)
		}
		// The period has ended: what comes now belongs to the next one.
		b.setClock(utc("2031-11-01"))
		if err := b.adjust(c, 1); !errors.As(err, &conflict) {
			t.Errorf("took off what is on an invoice: %v", err)
		}
		if err := b.adjust(c, -1); err != nil {
			t.Fatal(err)
		}
		b.setClock(utc("2031-12-01"))
		b.closeDue()
		b.expect("all", b.documents(c), "311001T00/311101T00 7 3.50 EUR CLOSED INV-00000001", "311101T00/311201T00 1 0.50 EUR CLOSED INV-00000002")
		b.audited()
	})
	t.Run("happens once, however often it is repeated at once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("pre", 10)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, _, err := b.Adjust(ctx, billing.Adjust{CompanyID: c, Credits: -4, Memo: "x", Key: "one"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.expectBalance(c, 6, 0)
		var reused fault.IdempotencyKeyReused
		if _, _, err := b.Adjust(ctx, billing.Adjust{CompanyID: c, Credits: -3, Memo: "x", Key: "one"}); !errors.As(err, &reused) {
			t.Error(err)
		}
	})
	t.Run("says what is wrong with the input", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("pre", 10)
		refusals, rest := fault.Users(func() error { _, _, err := b.Adjust(ctx, billing.Adjust{CompanyID: c}); return err }())
		if len(refusals) != 3 || rest != nil {
			t.Error(refusals, rest)
		}
	})
}

func TestRefund(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	refund := func(b *bundle, c, run, profile string) (*billing.Entry, *billing.CreditBalance, error) {
		return b.Refund(ctx, billing.Refund{CompanyID: c, RunID: run, ProfileID: profile, Memo: "wrong person", Actor: "cli", Key: "refund-" + run + profile})
	}
	t.Run("comes back as a grant that expires as the original would have", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		now := utc("2031-10-05")
		b.setClock(now)
		c := b.open("pre", billing.Prepaid, nil)
		b.grant(billing.Grant{CompanyID: c, Credits: 3, ExpiresAt: ptr(now.Add(time.Hour)), Priority: 2})
		b.hold(c, "run", 3)
		b.capture(c, "run", "p1", "p2")
		b.settle(c, "run")
		for range 2 { // the same key: the same entry
			if e, balance, err := refund(b, c, "run", "p1"); err != nil || e.Amount != 1 || balance.Available != 2 {
				t.Fatal(e, balance, err)
			}
		}
		if n := b.count("SELECT count(*) FROM billing_grants WHERE origin = 'REFUND' AND priority = 2 AND expires_at = ?", now.Add(time.Hour)); n != 1 {
			t.Errorf("%d grants", n)
		}
		_, _, err := b.Refund(ctx, billing.Refund{CompanyID: c, RunID: "run", ProfileID: "p1", Memo: "again", Actor: "cli", Key: "other"})
		var conflict fault.Conflict
		if !errors.As(err, &conflict) {
			t.Errorf("refunded twice: %v", err)
		}
		b.setClock(now.Add(2 * time.Hour))
		if _, balance, err := refund(b, c, "run", "p2"); err != nil || balance.Available != 0 {
			t.Errorf("what has expired came back to stay: %+v %v", balance, err)
		}
		b.audited()
		var missing fault.NotFound
		if _, _, err := refund(b, c, "run", "p3"); !errors.As(err, &missing) {
			t.Errorf("refunded what was never captured: %v", err)
		}
	})
	t.Run("is owed no longer, unless an invoice is about it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-05"))
		c := b.open("post", billing.Postpaid, nil)
		b.price(c, "EUR", "2", utc("2031-10-01"))
		b.hold(c, "run", 3)
		b.capture(c, "run", "p1", "p2", "p3")
		b.settle(c, "run")
		if _, _, err := refund(b, c, "run", "p1"); err != nil {
			t.Fatal(err)
		}
		b.setClock(utc("2031-11-01"))
		b.use(c, utc("2031-11-02"), 1)
		var conflict fault.Conflict
		if _, _, err := refund(b, c, "run", "p2"); !errors.As(err, &conflict) {
			t.Errorf("refunded what is on an invoice: %v", err)
		}
		b.closeDue()
		b.expect("all", b.documents(c), "311001T00/311101T00 2 4.00 EUR CLOSED INV-00000001")
		b.audited()
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	mode := func(m billing.Mode) billing.Settings { return billing.Settings{Mode: &m, Actor: "cli"} }
	t.Run("changes the mode only while nothing is held and nothing is left", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 3)
		b.hold(c, "run", 3)
		var conflict fault.Conflict
		if _, err := b.Set(ctx, c, mode(billing.Postpaid)); !errors.As(err, &conflict) || conflict.State != "HELD" {
			t.Error(err)
		}
		b.capture(c, "run", "p1", "p2")
		b.settle(c, "run")
		if _, err := b.Set(ctx, c, mode(billing.Postpaid)); !errors.As(err, &conflict) || conflict.State != "AVAILABLE" {
			t.Error(err)
		}
		if err := b.adjust(c, -1); err != nil {
			t.Fatal(err)
		}
		limited := mode(billing.Postpaid)
		limited.CreditLimit = ptr(int64(5))
		a, err := b.Set(ctx, c, limited)
		if err != nil || a.Mode != billing.Postpaid || *a.CreditLimit != 5 {
			t.Fatal(a, err)
		}
		b.hold(c, "later", 2)
		if _, err := b.Set(ctx, c, mode(billing.Prepaid)); !errors.As(err, &conflict) || conflict.State != "HELD" {
			t.Error(err)
		}
		b.capture(c, "later", "p1")
		b.settle(c, "later")
		if a, err := b.Set(ctx, c, mode(billing.Prepaid)); err != nil || a.CreditLimit != nil || a.Owed != 1 {
			t.Error(a, err)
		}
		b.audited()
	})
	t.Run("refuses what makes no sense", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 3)
		for _, s := range []billing.Settings{
			mode("FREE"), {CreditLimit: ptr(int64(5))}, {CreditLimit: ptr(int64(-2))}, {CycleAnchor: ptr(0)}, {CycleAnchor: ptr(32)},
			{TimeZone: ptr("")}, {TimeZone: ptr("UTC+1\x00")}, {TimeZone: ptr("<+05>-5")}, {LowThreshold: ptr(int64(-1))},
		} {
			var refused fault.InvalidInput
			if _, err := b.Set(ctx, c, s); !errors.As(err, &refused) {
				t.Errorf("%+v: %v", s, err)
			}
		}
		var missing fault.NotFound
		if _, err := b.Set(ctx, "nobody", billing.Settings{}); !errors.As(err, &missing) {
			t.Error(err)
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := utc("2031-10-05")
	b.setClock(now)
	for i := range 3 {
		c := b.open(fmt.Sprintf("c%d", i), billing.Prepaid, nil)
		b.grant(billing.Grant{CompanyID: c, Credits: 5, ExpiresAt: ptr(now.Add(time.Duration(i+1) * time.Hour))})
	}
	b.setClock(now.Add(2 * time.Hour))
	if a := b.account("c0"); a.Available != 0 {
		t.Errorf("the account shows %d lapsed credits", a.Available)
	}
	for _, want := range []int{1, 0} {
		if n, err := b.Sweep(context.Background()); err != nil || n != want {
			t.Errorf("%d swept, not %d: %v", n, want, err)
		}
	}
	if r := b.row("c1"); r.Available != 0 || r.ExpiredTotal != 5 {
		t.Errorf("%+v", r)
	}
	if r := b.row("c2"); r.Available != 5 {
		t.Errorf("%+v", r)
	}
}
