package billing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

func TestReserve(t *testing.T) {
	t.Parallel()
	t.Run("holds the credits and returns at once what is settled already", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		rc, err := b.reserve(c, "run", 6, 2)
		if want := (billing.RunCredits{Reserved: 6, Released: 2, Held: 4}); err != nil || rc != want {
			t.Fatalf("%+v, %v", rc, err)
		}
		b.expectBalance(c, 6, 4)
	})
	t.Run("refuses when credits fall short, and writes nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 3)
		_, err := b.reserve(c, "run", 4, 0)
		var short billing.InsufficientCredits
		if !errors.As(err, &short) || short.Required != 4 || short.Available != 3 || short.Limit || short.Code() != fault.CodeInsufficientCredits {
			t.Fatalf("%#v", err)
		}
		b.expectBalance(c, 3, 0)
	})
	t.Run("requires more than it holds when profiles were named twice", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 4)
		if _, err := b.reserveFor(billing.Reservation{CompanyID: c, RunID: "a", Hold: 3, Required: 5}); !errors.As(err, new(billing.InsufficientCredits)) {
			t.Fatal(err)
		}
		if _, err := b.reserveFor(billing.Reservation{CompanyID: c, RunID: "b", Hold: 3, Required: 4}); err != nil {
			t.Fatal(err)
		}
		b.expectBalance(c, 1, 3)
	})
	t.Run("does nothing when there is nothing to hold", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 0)
		if rc, err := b.reserve(c, "run", 0, 0); err != nil || rc != (billing.RunCredits{}) {
			t.Fatal(rc, err)
		}
		if rc, err := b.move(nil, []billing.Settle{{CompanyID: c, RunID: "run"}}); err != nil || rc["run"] != (billing.RunCredits{}) {
			t.Fatal(rc, err)
		}
		if n := b.account(c).LastSeq; n != 0 {
			t.Fatalf("%d entries", n)
		}
	})
	t.Run("says so when the company has no account", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if _, err := b.reserve("nobody", "run", 1, 0); !errors.As(err, new(fault.NotFound)) {
			t.Fatal(err)
		}
	})
	t.Run("never holds credits that have expired", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		b.setClock(start)
		c := b.prepaid("acme", 2)
		b.grant(billing.Grant{CompanyID: c, Credits: 5, ExpiresAt: ptr(start.Add(time.Hour))})
		b.setClock(start.Add(time.Hour))
		_, err := b.reserve(c, "run", 3, 0)
		var short billing.InsufficientCredits
		if !errors.As(err, &short) || short.Available != 2 {
			t.Fatalf("%v", err)
		}
		b.hold(c, "run", 2)
		b.expectBalance(c, 0, 2)
		if got := b.account(c).ExpiredTotal; got != 5 {
			t.Fatalf("%d expired", got)
		}
	})
	t.Run("counts what is owed and held against a postpaid limit", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.open("acme", billing.Postpaid, ptr(int64(10)))
		b.hold(c, "first", 6)
		b.capture(c, "first", "p1", "p2")
		b.settle(c, "first")
		if a := b.account(c); a.Owed != 2 || a.Held != 0 || a.Available != 0 {
			t.Fatalf("%+v", a)
		}
		b.hold(c, "second", 5)
		_, err := b.reserve(c, "third", 4, 0)
		var over billing.InsufficientCredits
		if !errors.As(err, &over) || !over.Limit || over.Available != 3 || over.Required != 4 {
			t.Fatalf("%v", err)
		}
		b.hold(c, "fourth", 3)
	})
	t.Run("never refuses a postpaid account without a limit", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.hold(b.open("acme", billing.Postpaid, nil), "run", 1_000_000)
	})
}

func TestStampede(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.prepaid("acme", 100)
	var admitted, refused atomic.Int64
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			_, err := b.reserve(c, fmt.Sprintf("run-%d", i), 1, 0)
			var short billing.InsufficientCredits
			switch {
			case err == nil:
				admitted.Add(1)
			case errors.As(err, &short) && short.Available == 0:
				refused.Add(1)
			default:
				t.Errorf("run-%d: %v", i, err)
			}
		})
	}
	group.Wait()
	if admitted.Load() != 100 || refused.Load() != 100 {
		t.Fatalf("%d admitted, %d refused", admitted.Load(), refused.Load())
	}
	b.expectBalance(c, 0, 100)
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	companies := make([]string, 16)
	var captures []billing.Capture
	var settles []billing.Settle
	for i := range companies {
		companies[i] = b.prepaid(fmt.Sprintf("company-%d", i), 100)
		run := "run-" + companies[i]
		b.hold(companies[i], run, 5)
		for p := range 4 {
			captures = append(captures, billing.Capture{CompanyID: companies[i], RunID: run, ProfileID: fmt.Sprint(p)})
		}
		settles = append(settles, billing.Settle{CompanyID: companies[i], RunID: run})
	}
	counted := func(f func(ctx context.Context, tx bun.Tx) error) (n int) {
		err := pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) error {
			ctx, count := pg.CountStatements(ctx)
			err := f(ctx, tx)
			n = count.N()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	reserve := billing.Reservation{CompanyID: companies[0], RunID: "counted", Hold: 3, Required: 3, Settled: 1, ExpiresAt: time.Now()}
	if n := counted(func(ctx context.Context, tx bun.Tx) error { _, err := b.Reserve(ctx, tx, reserve); return err }); n != 1 {
		t.Errorf("reserve took %d round trips", n)
	}
	if n := counted(func(ctx context.Context, tx bun.Tx) error { _, err := b.Move(ctx, tx, captures, settles); return err }); n != 2 {
		t.Errorf("64 captures and 16 settlements over 16 accounts took %d round trips", n)
	}
	for _, c := range companies[1:] {
		b.expectBalance(c, 96, 0)
	}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	b.setClock(start)
	for i, c := range companies {
		b.grant(billing.Grant{CompanyID: c, Credits: 7, ExpiresAt: ptr(start.Add(time.Minute))})
		b.hold(c, "late-"+c, 2)
		captures[i] = billing.Capture{CompanyID: c, RunID: "late-" + c, ProfileID: "p"}
	}
	b.setClock(start.Add(time.Hour))
	if n := counted(func(ctx context.Context, tx bun.Tx) error { _, err := b.Move(ctx, tx, captures[:16], nil); return err }); n != 3 {
		t.Errorf("captures over 16 accounts with expired grants took %d round trips", n)
	}
	b.expectBalance(companies[1], 96, 1)
}
