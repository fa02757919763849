package billing_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
)

func TestGrant(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	purchase := billing.Grant{CompanyID: "acme", Credits: 10, Kind: billing.KindPurchase, Key: "k1", Reference: "pay_1", Memo: "October", Actor: "key"}
	t.Run("adds credits once when the same purchase arrives a hundred times", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 0)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				e, balance, err := b.Grant(ctx, purchase)
				if err != nil || e.Seq != 1 || e.Amount != 10 || *balance != (billing.CreditBalance{Posted: 10, Available: 10}) {
					t.Error(e, balance, err)
				}
			})
		}
		group.Wait()
		b.expectBalance(c, 10, 0)
	})
	t.Run("refuses a key that was used with other input", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.prepaid("acme", 0)
		first := b.grant(purchase)
		for _, change := range []func(*billing.Grant){
			func(g *billing.Grant) { g.Credits++ },
			func(g *billing.Grant) { g.Reference = "pay_2" },
			func(g *billing.Grant) { g.Memo = "" },
			func(g *billing.Grant) { g.Priority = 3 },
			func(g *billing.Grant) { g.Kind = billing.KindGrant },
			func(g *billing.Grant) { g.ExpiresAt = ptr(time.Now().Add(time.Hour)) },
		} {
			other := purchase
			change(&other)
			_, _, err := b.Grant(ctx, other)
			var reused fault.IdempotencyKeyReused
			if !errors.As(err, &reused) || reused.OriginalRequestID != first.ID() {
				t.Errorf("%+v: %v", other, err)
			}
		}
		repeated := purchase
		repeated.Actor = "somebody else"
		if e := b.grant(repeated); e.ID() != first.ID() {
			t.Error("another actor is no other input")
		}
	})
	t.Run("refuses a payment that was credited under another key", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 0)
		b.grant(purchase)
		again := purchase
		again.Key = "k2"
		if _, _, err := b.Grant(ctx, again); !errors.As(err, new(fault.Conflict)) {
			t.Fatal(err)
		}
		b.expectBalance(c, 10, 0)
	})
	t.Run("recognises an expiry that the database rounds", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.prepaid("acme", 0)
		timed := purchase
		timed.ExpiresAt = ptr(time.Now().Add(time.Hour).Add(123 * time.Nanosecond))
		if first, second := b.grant(timed), b.grant(timed); first.ID() != second.ID() {
			t.Fatal(first.ID(), second.ID())
		}
	})
	t.Run("says everything that is wrong with the input", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, _, err := b.Grant(ctx, billing.Grant{CompanyID: "acme", Kind: billing.KindPurchase, Memo: strings.Repeat("x", 1001), Reference: "a\x00b"})
		refusals, rest := fault.Users(err)
		if len(refusals) != 4 || rest != nil {
			t.Fatalf("%v, %v", refusals, rest)
		}
	})
	t.Run("refuses what the account cannot take", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.open("post", billing.Postpaid, nil)
		b.prepaid("acme", 0)
		on := func(company string) billing.Grant { g := purchase; g.CompanyID = company; return g }
		if _, _, err := b.Grant(ctx, on("nobody")); !errors.As(err, new(fault.NotFound)) {
			t.Error(err)
		}
		if _, _, err := b.Grant(ctx, on("post")); !errors.As(err, new(fault.Conflict)) {
			t.Error(err)
		}
		late := on("acme")
		late.ExpiresAt = ptr(time.Now().Add(-time.Second))
		if _, _, err := b.Grant(ctx, late); !errors.As(err, new(fault.InvalidInput)) {
			t.Error(err)
		}
	})
}

func TestOpenAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	open := func(mode billing.Mode, limit *int64) error {
		return pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) error {
			return b.OpenAccount(ctx, tx, "acme", mode, limit)
		})
	}
	b.exec("INSERT INTO companies (id, name) VALUES ('acme', 'Acme')")
	if err := open("FREE", nil); !errors.As(err, new(fault.InvalidInput)) {
		t.Error("an unknown mode:", err)
	}
	if err := open(billing.Prepaid, ptr(int64(5))); !errors.As(err, new(fault.InvalidInput)) {
		t.Error("a limit on a prepaid account:", err)
	}
	if err := open(billing.Postpaid, ptr(int64(-1))); !errors.As(err, new(fault.InvalidInput)) {
		t.Error("a limit below zero:", err)
	}
	if err := open(billing.Postpaid, ptr(int64(5))); err != nil {
		t.Fatal(err)
	}
	if err := open(billing.Prepaid, nil); !errors.As(err, new(fault.Conflict)) {
		t.Error("a second account:", err)
	}
	if _, err := b.Account(context.Background(), "nobody"); !errors.As(err, new(fault.NotFound)) {
		t.Error(err)
	}
	if a := b.account("acme"); *a.CreditLimit != 5 || a.Mode != billing.Postpaid || a.Balance() != (billing.CreditBalance{}) {
		t.Errorf("%+v", a)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := setup(t)
	c := b.prepaid("acme", 10)
	b.hold(c, "run", 5)
	b.capture(c, "run", "p1", "p2")
	b.settle(c, "run")
	account := b.account(c)
	t.Run("come newest first, page by page, and add up", func(t *testing.T) {
		var amounts, after []int64
		var kinds []billing.EntryKind
		args := page.Args{First: 2}
		for {
			got, err := b.Entries(ctx, account.ID, args, billing.EntryFilter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got.Nodes {
				amounts, after, kinds = append(amounts, e.Amount), append(after, e.AvailableAfter), append(kinds, e.Kind)
			}
			if !got.PageInfo.HasNextPage {
				break
			}
			args.After = *got.PageInfo.EndCursor
		}
		if len(kinds) != 5 || kinds[0] != billing.KindRelease || kinds[4] != billing.KindGrant {
			t.Fatal(kinds)
		}
		sum := int64(0)
		for i := len(amounts) - 1; i >= 0; i-- {
			if sum += amounts[i]; sum != after[i] {
				t.Fatalf("amounts %v do not add up to %v", amounts, after)
			}
		}
	})
	t.Run("can be asked for by kind", func(t *testing.T) {
		got, err := b.Entries(ctx, account.ID, page.Args{First: 10}, billing.EntryFilter{Kinds: []billing.EntryKind{billing.KindCapture}})
		if err != nil || len(got.Nodes) != 2 || *got.Nodes[0].ProfileID != "p2" || *got.Nodes[0].RunID != "run" || got.Nodes[0].CapturedChange != 1 {
			t.Fatalf("%+v %v", got.Nodes, err)
		}
	})
	t.Run("refuse what is no cursor of theirs", func(t *testing.T) {
		for _, after := range []string{"%%", page.Encode("x"), page.Encode("-1")} {
			if _, err := b.Entries(ctx, account.ID, page.Args{First: 1, After: after}, billing.EntryFilter{}); !errors.As(err, new(fault.InvalidInput)) {
				t.Error(after, err)
			}
		}
	})
}
