package dispatch

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := func(g *gate, webhook, company string, n int) (entered int, wait time.Duration) {
		for i := range n {
			w, ok := g.enter(webhook, company, fmt.Sprint(webhook, i), 256, now, even)
			if ok {
				entered++
			} else {
				wait = w
			}
		}
		return entered, wait
	}
	failed := step{Tried: true, Failed: true, Took: time.Second}

	t.Run("lets 32 attempts of a healthy webhook through, and one of a failing one", func(t *testing.T) {
		g := new(gate)
		if n, wait := in(g, "w", "c", 100); n != 32 || wait != shortestWait {
			t.Errorf("%d, wait %s", n, wait)
		}
		g.leave("w", "c", failed)
		if n, _ := in(g, "w", "c", 1); n != 0 {
			t.Error("let a 32nd through after a failure")
		}
		for range 31 {
			g.leave("w", "c", failed)
		}
		if n, _ := in(g, "w", "c", 100); n != 1 {
			t.Errorf("%d of a failing webhook", n)
		}
		g.leave("w", "c", step{Tried: true, Took: time.Millisecond})
		if n, _ := in(g, "w", "c", 100); n != 32 {
			t.Errorf("%d after it recovered", n)
		}
	})
	t.Run("keeps half of the workers from any one company", func(t *testing.T) {
		g := new(gate)
		total := 0
		for i := range 10 {
			n, _ := in(g, fmt.Sprint("w", i), "c", 50)
			total += n
		}
		if total != 128 {
			t.Errorf("%d", total)
		}
		if n, _ := in(g, "other", "d", 50); n != 32 {
			t.Errorf("%d of another company", n)
		}
	})
	t.Run("makes jobs wait about as long as their turn takes, within bounds", func(t *testing.T) {
		g := new(gate)
		in(g, "w", "c", 1)
		g.leave("w", "c", step{Tried: true, Failed: true, Took: 4 * time.Second}) // the mean becomes 1 s
		in(g, "w", "c", 1)
		for i, want := range []time.Duration{2 * time.Second, 3 * time.Second, 4 * time.Second} {
			if wait, ok := g.enter("w", "c", fmt.Sprint("job", i), 256, now, even); ok || !near(wait, want) {
				t.Errorf("%s, not %s", wait, want)
			}
		}
		if wait, _ := g.enter("w", "c", "job2", 256, now, even); !near(wait, 4*time.Second) {
			t.Errorf("the same job counts twice: %s", wait)
		}
		if _, wait := in(g, "w", "c", 10_000); !near(wait, longestWait) {
			t.Errorf("%s", wait)
		}
		if wait, _ := g.enter("w", "c", "x", 256, now, 0); !near(wait, longestWait*8/10) {
			t.Errorf("%s", wait)
		}
	})
	t.Run("is left as found by a look that was no attempt", func(t *testing.T) {
		g := new(gate)
		in(g, "w", "c", 1)
		g.leave("w", "c", failed)
		in(g, "w", "c", 1)
		g.leave("w", "c", step{Done: true})
		if n, _ := in(g, "w", "c", 100); n != 1 {
			t.Errorf("%d", n)
		}
	})
	t.Run("forgets what has long been idle", func(t *testing.T) {
		g := new(gate)
		in(g, "w", "c", 100)
		for range 32 {
			g.leave("w", "c", step{Tried: true})
		}
		if _, ok := g.enter("v", "c", "j", 256, now.Add(2*forgetAfter), even); !ok || len(g.webhooks) != 1 || len(g.companies) != 1 {
			t.Errorf("%d webhooks", len(g.webhooks))
		}
	})
	t.Run("gives the slot back after a panic", func(t *testing.T) {
		g := new(gate)
		func() {
			defer func() { _ = recover() }()
			_, _ = g.through(DeliveryArgs{WebhookID: "w", CompanyID: "c"}, 256, func() (step, error) { panic("x") })
		}()
		if len(g.companies) != 0 || g.webhooks["w"].running != 0 {
			t.Error("kept")
		}
	})
}

func TestFairness(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.workers, b.Config.Workers = 64, 64
	healthyCompany := b.company(false)

	var inside atomic.Int64
	var failed atomic.Bool
	dead := b.receive(false, func(_ http.ResponseWriter, r *http.Request, _ int) {
		inside.Add(1)
		defer inside.Add(-1)
		<-r.Context().Done() // accepts and never answers
		failed.Store(true)
	})
	healthy := b.receive(false, nil)
	b.webhook(dead.URL, func(in *CreateWebhookInput) { in.TimeoutMillis = 1000 })
	b.webhookOf(healthyCompany, healthy.URL, nil)
	events := make([]Event, 500)
	for i := range events {
		events[i] = b.event(nil)
	}
	b.publish(events...)
	b.work()
	b.waitFor("the dead receiver to be busy", func() bool { return inside.Load() > 0 })

	const n = 250
	sent := make([]time.Time, 0, n)
	send := func(count int) (most int64) {
		for range count {
			sent = append(sent, time.Now())
			b.publish(b.event(func(e *Event) { e.CompanyID = healthyCompany.Company.ID }))
			time.Sleep(10 * time.Millisecond) // the pace of the load, not a wait
			most = max(most, inside.Load())
		}
		return most
	}
	send(200)
	b.waitFor("the first wave of attempts to time out", func() bool { return failed.Load() && inside.Load() <= 1 })
	afterwards := send(50)
	b.waitFor("the healthy receiver to get all", func() bool { return len(healthy.seen()) == n })
	t.Run("a healthy webhook gets everything soon beside a dead one", func(t *testing.T) {
		late := make([]time.Duration, n)
		for i, a := range healthy.seen() {
			late[i] = a.At.Sub(sent[i])
		}
		slices.Sort(late)
		t.Logf("p50 %s, p95 %s, most %s", late[n/2], late[n*95/100], late[n-1])
		if late[n*95/100] > time.Second { // a timeout of the dead one; generous for a busy machine
			t.Errorf("p95 %s", late[n*95/100])
		}
	})
	t.Run("a dead webhook holds one worker once an attempt has failed", func(t *testing.T) {
		if afterwards > 1 {
			t.Errorf("%d inside", afterwards)
		}
	})
}
