package dispatch

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/fault"
)

func TestTestWebhook(t *testing.T) {
	t.Parallel()

	t.Run("sends a signed ping at once, whatever the webhook's subscription, circuit and wish", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(true, nil)
		w, secret := b.webhook(rc.URL, func(in *CreateWebhookInput) {
			in.EventTypes = []EventType{EnrichFailed}
			in.Headers = []WebhookHeaderInput{{"X-Tenant", "t1"}}
		})
		b.exec(`UPDATE webhooks SET circuit_state = 'OPEN', circuit_opened_at = now(), circuit_retry_at = now() + interval '1 minute', enabled = false, consecutive_failures = 12`)
		got, err := b.TestWebhook(b.as(b.principal), w.ID, Ping)
		if err != nil {
			t.Fatal(err)
		}
		arrived := rc.seen()
		if len(arrived) != 1 || Verify(secret, arrived[0].Header.Get, arrived[0].Body, time.Now()) != nil || arrived[0].Header.Get("X-Tenant") != "t1" {
			t.Fatalf("%s", asJSON(arrived))
		}
		if body := string(arrived[0].Body); !strings.HasPrefix(body, `{"event":"ping","timestamp":"`) || !strings.HasSuffix(body, `"data":{"message":"Webhook test"}}`) || body != string(got.Delivery.Payload()) {
			t.Errorf("%s", body)
		}
		if got.Delivery.Status != DeliveryDelivered || *got.Attempt.StatusCode != 200 || got.Attempt.Error != nil || got.Delivery.CompletedAt == nil {
			t.Errorf("%s", asJSON(got))
		}
		stored, err := b.Delivery(b.as(b.principal), got.Delivery.ID)
		if err != nil || stored.Status != DeliveryDelivered || stored.EventType != Ping || len(b.attemptsOf(stored.ID)) != 1 {
			t.Errorf("%s, %v", asJSON(stored), err)
		}
		if now, _ := b.Webhook(b.as(b.principal), w.ID); now.ConsecutiveFailures != 12 || now.CircuitState != CircuitOpen || now.Enabled {
			t.Errorf("it changed the webhook: %s", asJSON(now))
		}
	})
	t.Run("tells the status and a class of error, never what the receiver said, and counts for nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, nth int) {
			if nth == 1 {
				w.Header().Set("Location", "http://planted")
				w.WriteHeader(500)
				w.Write([]byte("planted"))
				return
			}
			panic(http.ErrAbortHandler)
		})
		w, _ := b.webhook(rc.URL, nil)
		got, err := b.TestWebhook(b.as(b.principal), w.ID, Ping)
		if err != nil || got.Delivery.Status != DeliveryExhausted || *got.Attempt.StatusCode != 500 || got.Attempt.ResponseBody() != nil || strings.Contains(asJSON(got), "planted") {
			t.Errorf("%s, %v", asJSON(got), err)
		}
		if a := b.attemptsOf(got.Delivery.ID)[0]; a.Response != nil || a.ResponseHeaders != nil || a.ResponseBody() != nil {
			t.Errorf("kept: %s", asJSON(a))
		}
		got, err = b.TestWebhook(b.as(b.principal), w.ID, Ping)
		if err != nil || got.Attempt.StatusCode != nil || got.Attempt.Error == nil || strings.Contains(*got.Attempt.Error, "127.0.0.1") {
			t.Errorf("%s, %v", asJSON(got), err)
		}
		if now, _ := b.Webhook(b.as(b.principal), w.ID); now.ConsecutiveFailures != 0 || b.count(`SELECT count(*) FROM river_job`) != 0 {
			t.Errorf("%s", asJSON(now))
		}
	})
	t.Run("refuses the seventh within a minute, across webhooks no one", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		w, _ := b.webhook(rc.URL, nil)
		other, _ := b.webhook(rc.URL, nil)
		for range testsPerMinute {
			if _, err := b.TestWebhook(b.as(b.principal), w.ID, Ping); err != nil {
				t.Fatal(err)
			}
		}
		var often TestsTooOften
		_, err := b.TestWebhook(b.as(b.principal), w.ID, Ping)
		refusals, rest := fault.Users(err)
		if !errors.As(err, &often) || often.RetryAfter <= 0 || often.RetryAfter > time.Minute || len(refusals) != 1 || rest != nil || often.General().Code() != fault.CodeLimitExceeded {
			t.Errorf("%v", err)
		}
		if _, err := b.TestWebhook(b.as(b.principal), other.ID, Ping); err != nil {
			t.Error(err)
		}
		b.exec(`UPDATE webhooks SET tested_at = ARRAY(SELECT t - interval '1 minute' FROM unnest(tested_at) AS t)`)
		if _, err := b.TestWebhook(b.as(b.principal), w.ID, Ping); err != nil || len(rc.seen()) != testsPerMinute+2 {
			t.Errorf("%v, %d arrivals", err, len(rc.seen()))
		}
	})
	t.Run("refuses a type that never fires, and what it does not find", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		w, _ := b.webhook(publicURL, nil)
		var invalid fault.InvalidInput
		if _, err := b.TestWebhook(b.as(b.principal), w.ID, "analysis.failed"); !errors.As(err, &invalid) {
			t.Errorf("%v", err)
		}
		var missing fault.NotFound
		if _, err := b.TestWebhook(b.as(b.company(false)), w.ID, Ping); !errors.As(err, &missing) {
			t.Errorf("%v", err)
		}
	})
}
