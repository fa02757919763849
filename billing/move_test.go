package billing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
)

func TestMove(t *testing.T) {
	t.Parallel()
	t.Run("captures what succeeded and releases the rest at the end", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		b.hold(c, "run", 6)
		rc, err := b.move(
			[]billing.Capture{{CompanyID: c, RunID: "run", ProfileID: "p1"}, {CompanyID: c, RunID: "run", ProfileID: "p2"}},
			[]billing.Settle{{CompanyID: c, RunID: "run"}},
		)
		if want := (billing.RunCredits{Reserved: 6, Captured: 2, Released: 4}); err != nil || rc["run"] != want {
			t.Fatal(rc, err)
		}
		b.expectBalance(c, 8, 0)
		credits, err := b.Credits(context.Background(), b.DB, "run", "unheard-of")
		if err != nil || len(credits) != 1 || credits["run"] != rc["run"] {
			t.Fatal(credits, err)
		}
	})
	t.Run("captures a profile once, however often it is told", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		b.hold(c, "run", 3)
		b.capture(c, "run", "p1", "p1")
		if rc := b.capture(c, "run", "p1", "p2"); rc.Captured != 2 || rc.Held != 1 {
			t.Fatalf("%+v", rc)
		}
		b.settle(c, "run")
		if rc := b.capture(c, "run", "p2"); rc.Captured != 2 || rc.Released != 1 {
			t.Fatalf("%+v", rc)
		}
		if rc := b.settle(c, "run"); rc.Released != 1 {
			t.Fatalf("%+v", rc)
		}
		b.expectBalance(c, 8, 0)
	})
	t.Run("captures once when twenty nodes do at the same time", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		b.hold(c, "run", 5)
		captures := []billing.Capture{}
		for _, p := range []string{"p1", "p2", "p3", "p4"} {
			captures = append(captures, billing.Capture{CompanyID: c, RunID: "run", ProfileID: p})
		}
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				rc, err := b.move(captures, []billing.Settle{{CompanyID: c, RunID: "run"}})
				if want := (billing.RunCredits{Reserved: 5, Captured: 4, Released: 1}); err != nil || rc["run"] != want {
					t.Error(rc, err)
				}
			})
		}
		group.Wait()
		b.expectBalance(c, 6, 0)
	})
	t.Run("refuses captures that the reservation does not cover", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		b.hold(c, "run", 1)
		two := []billing.Capture{{CompanyID: c, RunID: "run", ProfileID: "p1"}, {CompanyID: c, RunID: "run", ProfileID: "p2"}}
		if rc, err := b.move(two, nil); err == nil || !strings.Contains(err.Error(), "does not cover 1 of its captures") {
			t.Fatal(rc, err)
		}
		b.expectBalance(c, 9, 1)
		b.settle(c, "run")
		if rc, err := b.move(two[:1], nil); err == nil {
			t.Fatal(rc)
		}
		other := b.prepaid("other", 10)
		b.hold(other, "theirs", 1)
		if rc, err := b.move([]billing.Capture{{CompanyID: c, RunID: "theirs", ProfileID: "p1"}}, nil); err == nil {
			t.Fatal("captured on another company", rc)
		}
		b.expectBalance(c, 10, 0)
	})
	t.Run("moves many accounts in any order without a deadlock", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		var companies []string
		for i := range 6 {
			companies = append(companies, b.prepaid(fmt.Sprintf("company-%d", i), 1000))
			b.hold(companies[i], "run-"+companies[i], 200)
		}
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for round := range 10 {
					var captures []billing.Capture
					for _, c := range companies {
						captures = append(captures, billing.Capture{CompanyID: c, RunID: "run-" + c, ProfileID: fmt.Sprintf("%d-%d", worker, round)})
					}
					if worker%2 == 1 {
						slices.Reverse(captures)
					}
					if _, err := b.move(captures, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		for _, c := range companies {
			b.expectBalance(c, 800, 160)
		}
	})
	t.Run("marks a run that never began as void", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		b.hold(c, "run", 3)
		if _, err := b.move(nil, []billing.Settle{{CompanyID: c, RunID: "run", Void: true}}); err != nil {
			t.Fatal(err)
		}
		if n := b.count("SELECT count(*) FROM billing_reservations WHERE state = 'VOID'"); n != 1 {
			t.Fatal(n)
		}
		b.expectBalance(c, 10, 0)
	})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	// setUp has ten credits that expire in an hour, five of them held, and three that never do.
	setUp := func(t *testing.T) (*bundle, string, *billing.Entry) {
		b := setup(t)
		b.setClock(start)
		c := b.prepaid("acme", 3)
		e := b.grant(billing.Grant{CompanyID: c, Credits: 10, ExpiresAt: ptr(start.Add(time.Hour))})
		b.hold(c, "run", 5)
		return b, c, e
	}
	t.Run("takes what is not held, and leaves what is", func(t *testing.T) {
		t.Parallel()
		b, c, _ := setUp(t)
		b.setClock(start.Add(time.Hour))
		b.capture(c, "run", "p1", "p2")
		b.expectBalance(c, 3, 3)
		if a := b.account(c); a.ExpiredTotal != 5 || a.NextExpiryAt != nil {
			t.Fatalf("%+v", a)
		}
	})
	t.Run("lets a capture draw on the grant that expired since the reserve", func(t *testing.T) {
		t.Parallel()
		b, c, e := setUp(t)
		b.grant(billing.Grant{CompanyID: c, Credits: 4, Priority: -1})
		b.setClock(start.Add(2 * time.Hour))
		b.capture(c, "run", "p1", "p2", "p3")
		if n := b.count("SELECT sum(amount) FROM billing_grant_draws AS d JOIN billing_entries AS e USING (account_id, seq) WHERE d.grant_id = ? AND e.kind = 'CAPTURE'", *e.GrantID); n != 3 {
			t.Fatalf("%d drawn from the expired grant", n)
		}
		b.expectBalance(c, 7, 2)
	})
	t.Run("ends a released credit at once when its grant expired meanwhile", func(t *testing.T) {
		t.Parallel()
		b, c, _ := setUp(t)
		b.setClock(start.Add(time.Hour))
		b.capture(c, "run", "p1")
		rc := b.settle(c, "run")
		if rc.Released != 4 {
			t.Fatalf("%+v", rc)
		}
		b.expectBalance(c, 3, 0)
		if a := b.account(c); a.ExpiredTotal != 9 {
			t.Fatalf("%+v", a)
		}
	})
	t.Run("spends by priority, then what expires sooner, then what never does", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(start)
		c := b.open("acme", billing.Prepaid, nil)
		never := b.grant(billing.Grant{CompanyID: c, Credits: 1})
		later := b.grant(billing.Grant{CompanyID: c, Credits: 1, ExpiresAt: ptr(start.Add(2 * time.Hour))})
		sooner := b.grant(billing.Grant{CompanyID: c, Credits: 1, ExpiresAt: ptr(start.Add(time.Hour))})
		last := b.grant(billing.Grant{CompanyID: c, Credits: 1, Priority: 1, ExpiresAt: ptr(start.Add(time.Minute))})
		first := b.grant(billing.Grant{CompanyID: c, Credits: 1, Priority: -1})
		b.hold(c, "run", 5)
		b.capture(c, "run", "p1", "p2", "p3", "p4", "p5")
		var drawn []string
		if err := b.DB.NewRaw("SELECT grant_id FROM billing_grant_draws ORDER BY seq").Scan(context.Background(), &drawn); err != nil {
			t.Fatal(err)
		}
		if want := []string{*first.GrantID, *sooner.GrantID, *later.GrantID, *never.GrantID, *last.GrantID}; !slices.Equal(drawn, want) {
			t.Fatalf("drawn %v, want %v", drawn, want)
		}
	})
	t.Run("races with reserve and capture on the real clock and burns nothing held", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 20)
		for i := range 10 {
			b.grant(billing.Grant{CompanyID: c, Credits: 5, ExpiresAt: ptr(time.Now().Add(time.Duration(300+40*i) * time.Millisecond))})
		}
		var group sync.WaitGroup
		stop := time.Now().Add(900 * time.Millisecond)
		for worker := range 4 {
			group.Go(func() {
				for i := 0; time.Now().Before(stop); i++ {
					run := fmt.Sprintf("run-%d-%d", worker, i)
					if _, err := b.reserve(c, run, 3, 0); err != nil {
						return // short at last
					}
					if _, err := b.move([]billing.Capture{{CompanyID: c, RunID: run, ProfileID: "p"}}, nil); err != nil {
						t.Error(err)
					}
					if _, err := b.move(nil, []billing.Settle{{CompanyID: c, RunID: run}}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
	})
}
