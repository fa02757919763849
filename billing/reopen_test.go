package billing_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// reopen holds n more credits for the run, in a transaction of its own.
func (b *bundle) reopen(company, run string, n int64) (rc billing.RunCredits, err error) {
	err = pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		rc, err = b.Reopen(ctx, tx, billing.Reopen{CompanyID: company, RunID: run, Add: n, Actor: "key", ExpiresAt: time.Now().Add(time.Hour)})
		return err
	})
	return rc, err
}

func TestReopen(t *testing.T) {
	t.Parallel()
	t.Run("holds more for a run that ended, and captures against it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		b.hold(c, "run", 3)
		b.capture(c, "run", "p1")
		b.settle(c, "run")
		rc, err := b.reopen(c, "run", 2)
		if want := (billing.RunCredits{Reserved: 5, Captured: 1, Released: 2, Held: 2}); err != nil || rc != want {
			t.Fatal(rc, err)
		}
		b.expectBalance(c, 7, 2)
		if rc := b.capture(c, "run", "p1", "p2"); rc.Captured != 2 || rc.Held != 1 {
			t.Errorf("p1 was captured before, p2 was not: %+v", rc)
		}
		b.settle(c, "run")
		b.expectBalance(c, 8, 0)
	})
	t.Run("refuses what the account cannot pay for, and changes nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, c := range []string{b.prepaid("pre", 4), b.open("post", billing.Postpaid, ptr(int64(4)))} {
			b.hold(c, c+"-run", 2)
			b.settle(c, c+"-run")
			b.hold(c, c+"-other", 3)
			var refused billing.InsufficientCredits
			if _, err := b.reopen(c, c+"-run", 2); !errors.As(err, &refused) || refused.Required != 2 || refused.Available != 1 {
				t.Errorf("%s: %v", c, err)
			}
			if rc, err := b.reopen(c, c+"-run", 1); err != nil || rc.Held != 1 {
				t.Errorf("%s: %+v %v", c, rc, err)
			}
		}
	})
	t.Run("never spends a credit that has expired", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		now := time.Now().Truncate(time.Second)
		b.setClock(now)
		c := b.prepaid("acme", 1)
		b.grant(billing.Grant{CompanyID: c, Credits: 5, ExpiresAt: ptr(now.Add(time.Minute))})
		b.hold(c, "run", 1)
		b.settle(c, "run")
		b.setClock(now.Add(time.Minute))
		var refused billing.InsufficientCredits
		if _, err := b.reopen(c, "run", 2); !errors.As(err, &refused) || refused.Available != 1 {
			t.Error(err)
		}
	})
	t.Run("knows only runs that held something, of the same company", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c, other := b.prepaid("acme", 4), b.prepaid("other", 4)
		b.hold(c, "run", 1)
		var missing fault.NotFound
		if _, err := b.reopen(c, "unheard-of", 1); !errors.As(err, &missing) {
			t.Error(err)
		}
		if _, err := b.reopen(other, "run", 1); err == nil {
			t.Error("another company raised it")
		}
	})
	t.Run("admits exactly what is there, however many ask at once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 12)
		b.hold(c, "run", 1)
		b.settle(c, "run")
		var wg sync.WaitGroup
		admitted := make(chan bool, 40)
		for range cap(admitted) {
			wg.Go(func() {
				_, err := b.reopen(c, "run", 1)
				admitted <- err == nil
			})
		}
		wg.Wait()
		close(admitted)
		n := 0
		for ok := range admitted {
			if ok {
				n++
			}
		}
		if n != 12 {
			t.Errorf("%d were admitted", n)
		}
		b.expectBalance(c, 0, 12)
	})
}
