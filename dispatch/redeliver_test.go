package dispatch

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
)

func (b *bundle) redeliver(key string, ids ...string) *Redelivery {
	b.t.Helper()
	r, err := b.Redeliver(b.as(b.principal), RedeliverInput{IdempotencyKey: key, Select: RedeliverSelection{DeliveryIDs: ids}})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func TestRedeliver(t *testing.T) {
	t.Parallel()

	t.Run("sends what was delivered once more: same id, same bytes, marked manual", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, nil)
		b.work()
		b.publish(b.event(nil))
		d := b.ended(1)[0]
		if r := b.redeliver("k", d.ID); r.Requeued != 1 || r.Remaining != 0 {
			t.Errorf("%s", asJSON(r))
		}
		b.until(func(rows []*Delivery) bool { return rows[0].Status == DeliveryDelivered && rows[0].AttemptCount == 2 })
		seen := rc.seen()
		if len(seen) != 2 || string(seen[0].Body) != string(seen[1].Body) || seen[0].Header.Get("webhook-id") != seen[1].Header.Get("webhook-id") {
			t.Errorf("%s", asJSON(seen))
		}
		log := b.attemptsOf(d.ID)
		if len(log) != 2 || log[0].Manual || !log[1].Manual || log[1].Number != 2 {
			t.Errorf("%s", asJSON(log))
		}
	})
	t.Run("answers the same key alike, sends nothing twice, and refuses the key for other input", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, nil)
		d, other := b.last(), b.last()
		b.attempt(d)
		first := b.redeliver("k", d.ID)
		if again := b.redeliver("k", d.ID); again.Requeued != first.Requeued || again.ID != first.ID || b.count(`SELECT count(*) FROM river_job`) != 3 {
			t.Errorf("%s", asJSON(again))
		}
		var reused fault.IdempotencyKeyReused
		if _, err := b.Redeliver(b.as(b.principal), RedeliverInput{IdempotencyKey: "k", Select: RedeliverSelection{DeliveryIDs: []string{other.ID}}}); !errors.As(err, &reused) {
			t.Errorf("%v", err)
		}
	})
	t.Run("counts retries anew", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, nth int) {
			if nth < 4 {
				w.WriteHeader(500)
			}
		})
		b.webhook(rc.URL, func(in *CreateWebhookInput) { in.MaxRetries = 1 })
		b.work()
		b.publish(b.event(nil))
		d := b.ended(1)[0]
		if d.Status != DeliveryExhausted || d.AttemptCount != 2 {
			t.Fatalf("%s", asJSON(d))
		}
		b.exec(`UPDATE deliveries SET created_at = now() - interval '30 days', queued_at = now() - interval '30 days'`) // its age too
		b.redeliver("k", d.ID)
		b.until(func(rows []*Delivery) bool { return rows[0].Status == DeliveryDelivered })
		if n := len(rc.seen()); n != 4 {
			t.Errorf("%d arrivals", n)
		}
	})
	t.Run("makes what waits for its retry due", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.Config.Curve = []time.Duration{time.Hour}
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, nth int) {
			if nth == 1 {
				w.WriteHeader(500)
			}
		})
		b.webhook(rc.URL, nil)
		b.work()
		b.publish(b.event(nil))
		rows := b.until(func(rows []*Delivery) bool { return rows[0].Status == DeliveryRetrying })
		b.waitFor("the job to sleep", func() bool { return b.count(`SELECT count(*) FROM river_job WHERE state = 'scheduled'`) == 1 })
		b.redeliver("k", rows[0].ID)
		b.ended(1)
		if n := b.count(`SELECT count(*) FROM river_job WHERE kind = 'webhook_delivery'`); n != 1 || len(rc.seen()) != 2 {
			t.Errorf("%d jobs, %d arrivals", n, len(rc.seen()))
		}
	})
	t.Run("takes what failed since a time, oldest first, a thousand a call, and says what remains", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		w, _ := b.webhook(publicURL, nil)
		other, _ := b.webhook(publicURL, nil)
		events := make([]Event, 1100)
		for i := range events {
			events[i] = b.event(nil)
		}
		b.publish(events...)
		b.exec(`UPDATE deliveries SET status = 'EXHAUSTED', completed_at = now() - interval '1 hour' WHERE webhook_id = ?`, w.ID)
		b.exec(`UPDATE deliveries SET completed_at = now() - interval '1 day' WHERE id IN (SELECT id FROM deliveries WHERE webhook_id = ? ORDER BY id LIMIT 50)`, w.ID)
		b.exec(`UPDATE deliveries SET body = NULL WHERE id IN (SELECT id FROM deliveries WHERE webhook_id = ? AND completed_at > now() - interval '2 hours' ORDER BY id LIMIT 10)`, w.ID)
		since := FailedSince{WebhookID: w.ID, Since: time.Now().Add(-2 * time.Hour)}
		call := func(key string) *Redelivery {
			t.Helper()
			r, err := b.Redeliver(b.as(b.principal), RedeliverInput{IdempotencyKey: key, Select: RedeliverSelection{FailedSince: &since}})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := call("1"); r.Requeued != 1000 || r.Remaining != 40 {
			t.Errorf("%s", asJSON(r))
		}
		if r := call("1"); r.Requeued != 1000 || r.Remaining != 40 {
			t.Errorf("again: %s", asJSON(r))
		}
		if r := call("2"); r.Requeued != 40 || r.Remaining != 0 {
			t.Errorf("%s", asJSON(r))
		}
		if n := b.count(`SELECT count(*) FROM deliveries WHERE webhook_id = ? AND status = 'PENDING' AND manual`, w.ID); n != 1040 {
			t.Errorf("%d queued", n)
		}
		if n := b.count(`SELECT count(*) FROM deliveries WHERE webhook_id = ? AND manual`, other.ID); n != 0 {
			t.Errorf("%d of another webhook", n)
		}
		if n := b.count(`SELECT count(*) FROM river_job WHERE priority = 3`); n != 1040 {
			t.Errorf("%d jobs of low priority", n)
		}
	})
	t.Run("refuses a list as a whole, and names every one that cannot be sent again", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		w, _ := b.webhook(rc.URL, nil)
		fine, erased := b.last(), b.last()
		b.exec(`UPDATE deliveries SET body = NULL WHERE id = ?`, erased.ID)
		test, err := b.TestWebhook(b.as(b.principal), w.ID, Ping)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Redeliver(b.as(b.principal), RedeliverInput{IdempotencyKey: "k", Select: RedeliverSelection{
			DeliveryIDs: []string{fine.ID, erased.ID, ident.NewRandomUUID(), "\x00", test.Delivery.ID},
		}})
		refusals, rest := fault.Users(err)
		if len(refusals) != 4 || rest != nil || refusals[0].Where()[2] != "1" || refusals[1].Code() != fault.CodeNotFound || refusals[3].Code() != fault.CodeConflict {
			t.Errorf("%v, rest %v", refusals, rest)
		}
		if n := b.count(`SELECT count(*) FROM deliveries WHERE manual`) + b.count(`SELECT count(*) FROM redeliveries`); n != 0 {
			t.Errorf("%d queued", n)
		}
		b.redeliver("k", fine.ID, fine.ID) // the key is free again; one is queued once
	})
	t.Run("refuses foreign deliveries, foreign and disabled webhooks, and malformed input", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		w, _ := b.webhook(publicURL, nil)
		d := b.last()
		other := b.company(false)
		now := time.Now()
		for name, c := range map[string]struct {
			in   RedeliverInput
			code fault.Code
		}{
			"foreign delivery": {RedeliverInput{"k", RedeliverSelection{DeliveryIDs: []string{d.ID}}}, fault.CodeNotFound},
			"foreign webhook":  {RedeliverInput{"k", RedeliverSelection{FailedSince: &FailedSince{w.ID, now}}}, fault.CodeNotFound},
			"no key":           {RedeliverInput{"", RedeliverSelection{DeliveryIDs: []string{d.ID}}}, fault.CodeInvalidInput},
			"nothing":          {RedeliverInput{"k", RedeliverSelection{}}, fault.CodeInvalidInput},
			"both":             {RedeliverInput{"k", RedeliverSelection{[]string{d.ID}, &FailedSince{w.ID, now}}}, fault.CodeInvalidInput},
			"none":             {RedeliverInput{"k", RedeliverSelection{DeliveryIDs: []string{}}}, fault.CodeInvalidInput},
			"too many":         {RedeliverInput{"k", RedeliverSelection{DeliveryIDs: make([]string, 1001)}}, fault.CodeLimitExceeded},
			"no such year":     {RedeliverInput{"k", RedeliverSelection{FailedSince: &FailedSince{w.ID, time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}}}, fault.CodeInvalidInput},
		} {
			_, err := b.Redeliver(b.as(other), c.in)
			refusals, rest := fault.Users(err)
			if len(refusals) != 1 || refusals[0].Code() != c.code || rest != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.exec(`UPDATE webhooks SET enabled = false`)
		for _, in := range []RedeliverInput{
			{"k", RedeliverSelection{DeliveryIDs: []string{d.ID}}}, {"k", RedeliverSelection{FailedSince: &FailedSince{w.ID, now}}},
		} {
			var conflict fault.Conflict
			if _, err := b.Redeliver(b.as(b.principal), in); !errors.As(err, &conflict) || conflict.State != "DISABLED" {
				t.Errorf("%v", err)
			}
		}
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, nth int) {
		if nth == 1 {
			w.WriteHeader(400)
		}
	})
	w, _ := b.webhook(rc.URL, func(in *CreateWebhookInput) { in.MaxRetries = 0 })
	quiet, _ := b.webhook("https://example.com/quiet", func(in *CreateWebhookInput) { in.AllRuns = false })
	health := func(hours int) (*WebhookHealth, error) {
		by, err := b.HealthOf(t.Context(), []string{quiet.ID, w.ID}, hours)
		if err == nil && *by[quiet.ID] != (WebhookHealth{}) {
			t.Errorf("the other's: %+v", by[quiet.ID])
		}
		return by[w.ID], err
	}
	t.Run("is nothing before anything was sent", func(t *testing.T) {
		if h, err := health(24); err != nil || *h != (WebhookHealth{}) {
			t.Errorf("%+v, %v", h, err)
		}
	})
	t.Run("counts what ended, tests left out", func(t *testing.T) {
		b.trip(4)
		b.exec(`UPDATE delivery_attempts SET duration_millis = 100`)
		b.exec(`UPDATE delivery_attempts SET duration_millis = 1000 WHERE delivery_id = (SELECT min(id) FROM deliveries)`)
		if _, err := b.TestWebhook(b.as(b.principal), w.ID, Ping); err != nil {
			t.Fatal(err)
		}
		h, err := health(1)
		if err != nil || h.Delivered != 3 || h.Failed != 1 || h.P50Millis != 100 || h.P95Millis < 800 || h.P95Millis > 1000 {
			t.Errorf("%+v, %v", h, err)
		}
		b.exec(`UPDATE deliveries SET created_at = now() - interval '2 hours'`)
		if h, err := health(1); err != nil || h.Delivered != 0 {
			t.Errorf("%+v, %v", h, err)
		}
	})
	t.Run("refuses windows that the attempt log does not cover", func(t *testing.T) {
		for _, hours := range []int{0, 721} {
			var invalid fault.InvalidInput
			if _, err := health(hours); !errors.As(err, &invalid) {
				t.Errorf("%d: %v", hours, err)
			}
		}
	})
}
