package dispatch

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/fault"
)

// touchy opens after three failures and probes after a fifth of a second.
var touchy = CircuitRule{Failures: 3, Span: time.Nanosecond, FirstPause: 200 * time.Millisecond, LongestPause: time.Minute}

// troubled is a bundle whose receiver fails while failing is set.
func troubled(t *testing.T) (b *bundle, w *Webhook, rc *endpoint, failing *atomic.Bool) {
	b = setup(t)
	b.Config.Circuit, b.Config.ResetCooldown = touchy, time.Nanosecond
	failing = new(atomic.Bool)
	failing.Store(true)
	rc = b.receive(false, func(w http.ResponseWriter, _ *http.Request, _ int) {
		if failing.Load() {
			w.WriteHeader(500)
		}
	})
	w, _ = b.webhook(rc.URL, nil)
	return b, w, rc, failing
}

// trip publishes as many deliveries as it takes and fails each once.
func (b *bundle) trip(n int) {
	b.t.Helper()
	for range n {
		b.publish(b.event(nil))
	}
	for _, d := range b.all() {
		if d.AttemptCount == 0 && d.Status == DeliveryPending {
			b.attempt(d)
		}
	}
}

func (b *bundle) attempt(d *Delivery) step {
	b.t.Helper()
	next, err := b.deliver(b.t.Context(), d.ID, *d.JobID)
	if err != nil {
		b.t.Fatal(err)
	}
	return next
}

func (b *bundle) circuit(id string) *Webhook {
	b.t.Helper()
	w, err := b.Webhook(b.as(b.principal), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// last publishes one more delivery and returns it.
func (b *bundle) last() *Delivery {
	b.t.Helper()
	b.publish(b.event(nil))
	rows := b.all()
	return rows[len(rows)-1]
}

func (b *bundle) kinds() (kinds []ActivityKind) {
	b.t.Helper()
	rows, err := b.ActivitySince(b.as(b.principal), "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, a := range rows {
		kinds = append(kinds, a.Kind)
	}
	return kinds
}

// waitFor waits until done says so.
func (b *bundle) waitFor(what string, done func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited 30 s for %s\n%s", what, b.logs)
		}
	}
}

func TestCircuit(t *testing.T) {
	t.Parallel()

	t.Run("opens after enough failures in a row, holds what comes, and tells it once", func(t *testing.T) {
		t.Parallel()
		b, w, rc, _ := troubled(t)
		b.trip(2)
		if got := b.circuit(w.ID); got.CircuitState != CircuitClosed || got.ConsecutiveFailures != 2 || got.CircuitOpenedAt != nil || !got.Active() {
			t.Fatalf("%s", asJSON(got))
		}
		b.trip(1)
		got := b.circuit(w.ID)
		if got.CircuitState != CircuitOpen || got.CircuitOpenedAt == nil || got.CircuitRetryAt == nil || got.Active() || got.Circuit().ConsecutiveFailures != 3 {
			t.Fatalf("%s", asJSON(got))
		}
		held := b.last()
		next := b.attempt(held)
		if next.Done || next.Tried || next.Again > 400*time.Millisecond || b.all()[3].Status != DeliveryHeld || len(rc.seen()) != 3 {
			t.Errorf("%+v, %s, %d arrivals", next, b.all()[3].Status, len(rc.seen()))
		}
		if b.all()[3].AttemptCount != 0 {
			t.Error("holding cost an attempt")
		}
		if kinds := b.kinds(); !slices.Equal(kinds, []ActivityKind{ActivityCircuitOpened}) {
			t.Errorf("%v", kinds)
		}
	})

	t.Run("stays closed through a burst shorter than its span, and a success forgets the failures", func(t *testing.T) {
		t.Parallel()
		b, w, _, failing := troubled(t)
		b.Config.Circuit.Span = time.Hour
		b.trip(6)
		if got := b.circuit(w.ID); got.CircuitState != CircuitClosed || got.ConsecutiveFailures != 6 {
			t.Errorf("%s", asJSON(got))
		}
		failing.Store(false)
		b.trip(1)
		if got := b.circuit(w.ID); got.ConsecutiveFailures != 0 || got.FailingSince != nil {
			t.Errorf("%s", asJSON(got))
		}
	})

	t.Run("is opened once and probed by one, whichever node asks", func(t *testing.T) {
		t.Parallel()
		b, w, rc, failing := troubled(t)
		other := &Service{DB: b.DB, Box: b.Box, Jobs: b.Jobs, Egress: b.Egress, Log: b.Log, Config: b.Config}
		nodes := []*Service{b.Service, other}
		race := func(rows []*Delivery) (tried int64) {
			var all sync.WaitGroup
			var n atomic.Int64
			for i, d := range rows {
				all.Go(func() {
					next, err := nodes[i%2].deliver(t.Context(), d.ID, *d.JobID)
					if err != nil {
						t.Error(err)
					}
					if next.Again == 0 && !next.Done && !next.Tried { // the probe looks again at once
						if next, err = nodes[i%2].deliver(t.Context(), d.ID, *d.JobID); err != nil {
							t.Error(err)
						}
					}
					if next.Tried {
						n.Add(1)
					}
				})
			}
			all.Wait()
			return n.Load()
		}
		for range 20 {
			b.publish(b.event(nil))
		}
		race(b.all())
		if kinds := b.kinds(); !slices.Equal(kinds, []ActivityKind{ActivityCircuitOpened}) || b.circuit(w.ID).CircuitState != CircuitOpen {
			t.Fatalf("%v", kinds)
		}
		before := len(b.all())
		for range 20 {
			b.publish(b.event(nil))
		}
		fresh := b.all()[before:]
		b.exec(`UPDATE webhooks SET circuit_retry_at = now()`)
		arrived := len(rc.seen())
		if tried := race(fresh); tried != 1 || len(rc.seen()) != arrived+1 {
			t.Errorf("%d tried, %d arrived", tried, len(rc.seen())-arrived)
		}
		if n := b.count(`SELECT circuit_opens FROM webhooks`); n != 2 || b.circuit(w.ID).CircuitState != CircuitOpen {
			t.Errorf("opened %d times: %s", n, asJSON(b.circuit(w.ID)))
		}
		failing.Store(false)
		b.exec(`UPDATE webhooks SET circuit_retry_at = now()`)
		race(fresh)
		if got := b.circuit(w.ID); got.CircuitState != CircuitClosed || got.ConsecutiveFailures != 0 {
			t.Errorf("%s", asJSON(got))
		}
		if kinds := b.kinds(); !slices.Equal(kinds, []ActivityKind{ActivityCircuitOpened, ActivityCircuitOpened, ActivityCircuitClosed}) {
			t.Errorf("%v", kinds)
		}
	})

	t.Run("pauses twice as long with each reopening, up to an hour", func(t *testing.T) {
		t.Parallel()
		b, w, _, _ := troubled(t)
		b.Config.Circuit.FirstPause, b.Config.Circuit.LongestPause = time.Minute, time.Hour
		b.trip(3)
		for opens := range 8 {
			if opens > 0 {
				b.exec(`UPDATE webhooks SET circuit_retry_at = now()`)
				d := b.last()
				b.attempt(d) // becomes the probe
				if next := b.attempt(d); !next.Failed {
					t.Fatalf("%+v", next)
				}
			}
			want := min(time.Minute<<opens, time.Hour)
			pause := time.Until(*b.circuit(w.ID).CircuitRetryAt)
			if pause < want*8/10-time.Second || pause > want*12/10 {
				t.Errorf("after opening %d: %s, not about %s", opens+1, pause, want)
			}
		}
	})

	t.Run("lets the probe of a dead node be taken over, and that of a stopped one at once", func(t *testing.T) {
		t.Parallel()
		b, w, rc, failing := troubled(t)
		b.trip(3)
		failing.Store(false)
		dead, heir := b.last(), b.last()
		b.exec(`UPDATE webhooks SET circuit_state = 'HALF_OPEN', probe_delivery_id = ?, probe_until = now() + interval '1 minute', circuit_retry_at = now()`, dead.ID)
		if next := b.attempt(heir); next.Tried || next.Again < 59*time.Second || len(rc.seen()) != 3 {
			t.Errorf("while the probe is under way: %+v", next)
		}
		b.exec(`UPDATE webhooks SET probe_until = now() - interval '1 second'`)
		b.attempt(heir)
		if next := b.attempt(heir); !next.Done || !next.Tried || b.circuit(w.ID).CircuitState != CircuitClosed {
			t.Errorf("%+v %s", next, asJSON(b.circuit(w.ID)))
		}
		b.exec(`UPDATE webhooks SET circuit_state = 'HALF_OPEN', probe_delivery_id = ?, probe_until = now() + interval '1 minute'`, dead.ID)
		a, err := b.store.admit(t.Context(), b.DB, dead.ID, 1, "l", time.Hour)
		if err != nil || a == nil || !a.Probe {
			t.Fatal(a, err)
		}
		if err := b.store.release(t.Context(), b.DB, a); err != nil {
			t.Fatal(err)
		}
		if n := b.count(`SELECT count(*) FROM webhooks WHERE probe_until <= now()`); n != 1 {
			t.Error("the probe was not given back")
		}
	})

	t.Run("is closed by a probe on real nodes, which then deliver everything, oldest first", func(t *testing.T) {
		t.Parallel()
		b, w, rc, failing := troubled(t)
		b.trip(3)
		var order []string
		for range 100 {
			d := b.last()
			order = append(order, d.ID)
		}
		for _, d := range b.all()[3:] {
			b.exec(`UPDATE deliveries SET status = 'HELD' WHERE id = ?`, d.ID)
			b.exec(`UPDATE river_job SET state = 'scheduled', scheduled_at = now() + interval '15 minutes' WHERE id = ?`, *d.JobID)
		}
		failing.Store(false)
		b.work()
		b.work()
		b.last() // the one that probes
		b.ended(104)
		if got := b.circuit(w.ID); got.CircuitState != CircuitClosed || len(rc.seen()) < 104 {
			t.Errorf("%s, %d arrivals", asJSON(got), len(rc.seen()))
		}
		blocks := map[string]int{}
		for i, id := range order {
			blocks[id] = i / resumeBlock
		}
		newest := 0
		for _, a := range rc.seen() {
			block, known := blocks[idOf(a.Body)]
			if known && block < newest-1 {
				t.Errorf("a delivery of block %d came after one of block %d", block, newest)
			}
			newest = max(newest, block)
		}
	})

	t.Run("is not probed when only a reset may close it", func(t *testing.T) {
		t.Parallel()
		b, w, rc, _ := troubled(t)
		b.Config.Circuit.ManualOnly = true
		b.trip(3)
		if next := b.attempt(b.last()); next.Again != longestHold || len(rc.seen()) != 3 || b.circuit(w.ID).CircuitRetryAt != nil {
			t.Errorf("%+v %s", next, asJSON(b.circuit(w.ID)))
		}
	})

	t.Run("gives up what it held for too long", func(t *testing.T) {
		t.Parallel()
		b, _, _, _ := troubled(t)
		b.trip(3)
		d := b.last()
		b.attempt(d)
		b.exec(`UPDATE deliveries SET queued_at = now() - interval '8 days' WHERE id = ?`, d.ID)
		if next := b.attempt(d); !next.Done || b.all()[3].Status != DeliveryExhausted {
			t.Errorf("%+v, %s", next, b.all()[3].Status)
		}
		if kinds := b.kinds(); !slices.Equal(kinds, []ActivityKind{ActivityCircuitOpened, ActivityDeliveryExhausted}) {
			t.Errorf("%v", kinds)
		}
	})

	t.Run("ends in a disabled webhook after days of nothing but failures, unless patience has no end", func(t *testing.T) {
		t.Parallel()
		for patience, disabled := range map[time.Duration]bool{0: true, -1: false} {
			b, w, _, _ := troubled(t)
			b.Config.Circuit.Failures, b.Config.Circuit.Patience = 100, patience
			b.trip(1)
			b.exec(`UPDATE webhooks SET failing_since = now() - interval '6 days'`)
			b.trip(1)
			got := b.circuit(w.ID)
			if got.Enabled == disabled || disabled && (*got.DisabledReason != "FAILING" || !slices.Contains(b.kinds(), ActivityWebhookDisabled)) {
				t.Errorf("patience %d: %s, %v", patience, asJSON(got), b.kinds())
			}
		}
	})
}

// idOf reads the delivery id from a body.
func idOf(body []byte) string {
	_, rest, _ := bytes.Cut(body, []byte(`"deliveryId":"`))
	return string(rest[:36])
}

func TestResetCircuit(t *testing.T) {
	t.Parallel()

	t.Run("closes an open circuit and resumes, and one failure opens it again, for longer", func(t *testing.T) {
		t.Parallel()
		b, w, _, _ := troubled(t)
		b.trip(3)
		held := b.last()
		b.attempt(held)
		first := b.circuit(w.ID)
		got, err := b.ResetCircuit(b.as(b.principal), w.ID)
		if err != nil || got.CircuitState != CircuitClosed || got.ConsecutiveFailures != 0 || got.CircuitOpenedAt != nil || got.CircuitRetryAt != nil || !got.Active() {
			t.Fatalf("%s, %v", asJSON(got), err)
		}
		if n := b.count(`SELECT count(*) FROM river_job WHERE kind = 'webhook_resume'`); n != 1 {
			t.Errorf("%d resume jobs", n)
		}
		if done, err := b.resumeSome(t.Context(), w.ID); err != nil || done {
			t.Fatal(done, err)
		}
		if d := b.all()[3]; d.Status != DeliveryPending {
			t.Errorf("still %s", d.Status)
		}
		b.attempt(held)
		again := b.circuit(w.ID)
		if again.CircuitState != CircuitOpen || again.CircuitRetryAt.Sub(*again.CircuitOpenedAt) < first.CircuitRetryAt.Sub(*first.CircuitOpenedAt) {
			t.Errorf("%s after %s", asJSON(again), asJSON(first))
		}
		if kinds := b.kinds(); !slices.Equal(kinds, []ActivityKind{ActivityCircuitOpened, ActivityCircuitClosed, ActivityCircuitOpened}) {
			t.Errorf("%v", kinds)
		}
	})
	t.Run("is trusted in full again after a success", func(t *testing.T) {
		t.Parallel()
		b, w, _, failing := troubled(t)
		b.trip(3)
		if _, err := b.ResetCircuit(b.as(b.principal), w.ID); err != nil {
			t.Fatal(err)
		}
		failing.Store(false)
		b.trip(1)
		failing.Store(true)
		b.trip(2)
		if got := b.circuit(w.ID); got.CircuitState != CircuitClosed || got.ConsecutiveFailures != 2 {
			t.Errorf("%s", asJSON(got))
		}
	})
	t.Run("changes nothing on a closed circuit, the count included", func(t *testing.T) {
		t.Parallel()
		b, w, _, _ := troubled(t)
		b.trip(2)
		before := b.circuit(w.ID)
		got, err := b.ResetCircuit(b.as(b.principal), w.ID)
		if err != nil || asJSON(got) != asJSON(before) || len(b.kinds()) != 0 {
			t.Errorf("%s, %v, %v", asJSON(got), err, b.kinds())
		}
		b.trip(1)
		if b.circuit(w.ID).CircuitState != CircuitOpen {
			t.Error("a reset defeated the circuit")
		}
	})
	t.Run("is refused within the cooldown since it opened, and since it was reset", func(t *testing.T) {
		t.Parallel()
		b, w, _, _ := troubled(t)
		b.Config.ResetCooldown = 0 // the default, 10 s
		b.trip(3)
		soon := func() {
			t.Helper()
			var tooSoon CircuitResetTooSoon
			_, err := b.ResetCircuit(b.as(b.principal), w.ID)
			refusals, rest := fault.Users(err)
			if !errors.As(err, &tooSoon) || tooSoon.RetryAfter <= 0 || tooSoon.RetryAfter > 10*time.Second || len(refusals) != 1 || rest != nil || tooSoon.General().Code() != fault.CodeConflict {
				t.Errorf("%v", err)
			}
		}
		soon()
		b.exec(`UPDATE webhooks SET circuit_opened_at = now() - interval '11 seconds'`)
		if _, err := b.ResetCircuit(b.as(b.principal), w.ID); err != nil {
			t.Fatal(err)
		}
		b.trip(1)
		soon()
		b.exec(`UPDATE webhooks SET circuit_opened_at = now() - interval '11 seconds'`)
		soon() // the last reset is still too near
	})
	t.Run("leaves a webhook disabled that its owner disabled, and does not find a foreign one", func(t *testing.T) {
		t.Parallel()
		b, w, _, _ := troubled(t)
		b.trip(3)
		b.exec(`UPDATE webhooks SET enabled = false`)
		if got, err := b.ResetCircuit(b.as(b.principal), w.ID); err != nil || got.Enabled || got.Active() || got.CircuitState != CircuitClosed {
			t.Errorf("%s, %v", asJSON(got), err)
		}
		var missing fault.NotFound
		if _, err := b.ResetCircuit(b.as(b.company(false)), w.ID); !errors.As(err, &missing) {
			t.Errorf("%v", err)
		}
	})
}
