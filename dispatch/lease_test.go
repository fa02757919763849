package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	t.Parallel()

	t.Run("lets one of many executions of a job send", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(_ http.ResponseWriter, _ *http.Request, _ int) { time.Sleep(50 * time.Millisecond) })
		b.webhook(rc.URL, nil)
		b.publish(b.event(nil))
		id := b.all()[0].ID
		steps := make(chan step, 8)
		for job := range int64(cap(steps)) {
			go func() {
				next, err := b.deliver(t.Context(), id, job)
				if err != nil {
					t.Error(err)
				}
				steps <- next
			}()
		}
		done := 0
		for range cap(steps) {
			if next := <-steps; next.Done {
				done++
			} else if next.Again < time.Second || next.Again > 12*time.Second {
				t.Errorf("one that was turned away looks again after %s", next.Again)
			}
		}
		if done < 1 || len(rc.seen()) != 1 || len(b.attemptsOf(id)) != 1 {
			t.Errorf("%d done, %d arrivals, %d logged", done, len(rc.seen()), len(b.attemptsOf(id)))
		}
		next, err := b.deliver(t.Context(), id, 1)
		if err != nil || !next.Done || len(rc.seen()) != 1 {
			t.Errorf("run again after its end: %+v, %v, %d arrivals", next, err, len(rc.seen()))
		}
	})

	t.Run("keeps a worker that lost it from recording, and from ending the job", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, r *http.Request, nth int) {
			if nth == 1 { // while this attempt is under way, its lease runs out and another worker takes over
				b.exec(`UPDATE deliveries SET lease_id = 'other', lease_until = now() + interval '20 seconds', lease_job_id = 2, attempts = attempts + 1`)
				w.WriteHeader(410)
			}
		})
		wh, _ := b.webhook(rc.URL, nil)
		b.publish(b.event(nil))
		id := b.all()[0].ID
		next, err := b.deliver(t.Context(), id, 1)
		if err != nil || next.Done || next.Again < 15*time.Second {
			t.Fatalf("%+v, %v", next, err)
		}
		d := b.all()[0]
		got, _ := b.Webhook(b.as(b.principal), wh.ID)
		if *d.LeaseID != "other" || d.Status != DeliveryPending || len(b.attemptsOf(id)) != 0 || !got.Enabled || got.ConsecutiveFailures != 0 {
			t.Errorf("it wrote: %s %s", asJSON(d), asJSON(got))
		}
		if !strings.Contains(b.logs.String(), "lease lost") {
			t.Error("nothing was logged")
		}
	})

	t.Run("runs out after a crash between send and record, or passes to the same job run again; the same id and bytes are sent again", func(t *testing.T) {
		t.Parallel()
		for _, expire := range []bool{false, true} {
			b := setup(t)
			rc := b.receive(false, nil)
			b.webhook(rc.URL, func(in *CreateWebhookInput) { in.MaxRetries = 0 })
			b.publish(b.event(nil))
			id := b.all()[0].ID
			a, err := b.store.admit(t.Context(), b.DB, id, 1, "crashed", b.Config.withDefaults().MaxAge)
			if err != nil || a == nil {
				t.Fatal(a, err)
			}
			if _, _, err := b.send(t.Context(), a, b.Config.withDefaults()); err != nil {
				t.Fatal(err)
			}
			if next, err := b.deliver(t.Context(), id, 2); err != nil || next.Done || len(rc.seen()) != 1 {
				t.Fatalf("another job while the lease runs: %+v, %v", next, err)
			}
			job := int64(1)
			if expire {
				b.exec(`UPDATE deliveries SET lease_until = now() - interval '1 second'`)
				job = 2
			}
			if next, err := b.deliver(t.Context(), id, job); err != nil || !next.Done {
				t.Fatalf("%+v, %v", next, err)
			}
			got := rc.seen()
			if len(got) != 2 || !bytes.Equal(got[0].Body, got[1].Body) || got[0].Header.Get("webhook-id") != got[1].Header.Get("webhook-id") {
				t.Errorf("%d arrivals: %s", len(got), asJSON(got))
			}
			if d := b.all()[0]; d.Status != DeliveryDelivered || d.AttemptCount != 2 {
				t.Errorf("%s", asJSON(d))
			}
		}
	})

	t.Run("is given back when the node stops in the middle, and the receiver is not blamed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx, stop := context.WithCancel(t.Context())
		rc := b.receive(false, func(_ http.ResponseWriter, r *http.Request, nth int) {
			if nth == 1 {
				stop()
				<-r.Context().Done()
			}
		})
		wh, _ := b.webhook(rc.URL, func(in *CreateWebhookInput) { in.MaxRetries = 0 })
		b.publish(b.event(nil))
		id := b.all()[0].ID
		if next, err := b.deliver(ctx, id, 1); err != nil || next != (step{}) {
			t.Fatalf("%+v, %v", next, err)
		}
		got, _ := b.Webhook(b.as(b.principal), wh.ID)
		if d := b.all()[0]; d.LeaseID != nil || d.Status != DeliveryPending || got.ConsecutiveFailures != 0 {
			t.Fatalf("%s", asJSON(d))
		}
		if next, err := b.deliver(t.Context(), id, 1); err != nil || !next.Done {
			t.Errorf("%+v, %v", next, err)
		}
	})

	t.Run("is not given before the delivery is due", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, nil)
		b.publish(b.event(nil))
		b.exec(`UPDATE deliveries SET status = 'RETRYING', next_attempt_at = now() + interval '1 hour'`)
		next, err := b.deliver(t.Context(), b.all()[0].ID, 1)
		if err != nil || next.Done || next.Again < 59*time.Minute || len(rc.seen()) != 0 {
			t.Errorf("%+v, %v", next, err)
		}
	})

	t.Run("is never given to what is too old, erased or its owner disabled", func(t *testing.T) {
		t.Parallel()
		for what, change := range map[string]string{
			"too old":  `UPDATE deliveries SET queued_at = now() - interval '8 days'`,
			"erased":   `UPDATE deliveries SET body = NULL`,
			"disabled": `UPDATE webhooks SET enabled = false`,
			"deleted":  `UPDATE webhooks SET deleted_at = now()`,
		} {
			b := setup(t)
			rc := b.receive(false, nil)
			b.webhook(rc.URL, nil)
			b.publish(b.event(nil))
			b.exec(change)
			next, err := b.deliver(t.Context(), b.all()[0].ID, 1)
			d := b.all()[0]
			if err != nil || !next.Done || d.Status != DeliveryExhausted || len(rc.seen()) != 0 {
				t.Errorf("%s: %+v, %v, %s", what, next, err, d.Status)
			}
			if what == "erased" {
				var payload struct {
					DeliveryID string
					Data       map[string]bool
				}
				if err := json.Unmarshal(d.Payload(), &payload); err != nil || payload.DeliveryID != d.ID || !payload.Data["erased"] {
					t.Errorf("%s, %v", d.Payload(), err)
				}
			}
		}
	})

	t.Run("ends the job of an unknown delivery", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if next, err := b.deliver(t.Context(), "no such", 1); err != nil || !next.Done {
			t.Errorf("%+v, %v", next, err)
		}
	})
}
