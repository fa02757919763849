package dispatch

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestDelivery(t *testing.T) {
	t.Parallel()

	t.Run("arrives signed twice over, byte for byte as stored", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(true, nil)
		_, secret := b.webhook(rc.URL+"/hook?x=1", func(in *CreateWebhookInput) {
			in.Headers = []WebhookHeaderInput{{"Authorization", "Bearer planted"}, {"X-Custom", "é"}}
		})
		b.work()
		e := b.event(nil)
		b.publish(e)
		d := b.ended(1)[0]
		got := rc.seen()[0]

		if d.Status != DeliveryDelivered || !bytes.Equal(d.Body, got.Body) || string(d.Payload()) != string(got.Body) {
			t.Fatalf("%s, stored %q, sent %q", d.Status, d.Body, got.Body)
		}
		want := `{"event":"enrich.completed","timestamp":"` + e.At.UTC().Format("2006-01-02T15:04:05.000Z") + `","deliveryId":"` + d.ID + `","data":` + string(e.Data) + `}`
		if string(got.Body) != want {
			t.Errorf("body %s\nnot  %s", got.Body, want)
		}
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(got.Body, got.Header); err != nil {
			t.Error(err)
		}
		if err := Verify(secret, got.Header.Get, got.Body, time.Now()); err != nil {
			t.Error(err)
		}
		mac := hmac.New(sha256.New, []byte(OlderSecret(secret))) // as the older contract's receivers do it
		mac.Write(got.Body)
		if h := got.Header.Get("X-Webhook-Signature"); h != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("older header %q", h)
		}
		for name, want := range map[string]string{
			"webhook-id": d.EventID, "webhook-attempt": "1", "Content-Type": "application/json", "User-Agent": "enrichd/test",
			"Authorization": "Bearer planted", "X-Custom": "é", "Content-Length": strconv.Itoa(len(got.Body)),
		} {
			if h := got.Header.Get(name); h != want {
				t.Errorf("%s is %q, not %q", name, h, want)
			}
		}
		log := b.attemptsOf(d.ID)
		if len(log) != 1 || log[0].Number != 1 || *log[0].StatusCode != 200 || log[0].Error != nil || log[0].Manual || *log[0].RemoteIP != "127.0.0.1" || len(log[0].SecretIDs) != 1 {
			t.Errorf("log %s", asJSON(log))
		}
		for _, planted := range []string{"planted", secret, OlderSecret(secret)} {
			if strings.Contains(b.logs.String(), planted) || strings.Contains(asJSON(log), planted) {
				t.Errorf("%q shows in the logs", planted)
			}
		}
	})

	t.Run("is tried again after a failure, with the same id and bytes and a fresh timestamp", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.Config.Curve = []time.Duration{1100 * time.Millisecond, 30 * time.Millisecond}
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, nth int) {
			switch nth {
			case 1:
				w.WriteHeader(500)
				_, _ = w.Write(append([]byte("sorry \xff\x00"), bytes.Repeat([]byte("x"), 20<<10)...))
			case 2:
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(http.StatusFound)
			}
		})
		wh, secret := b.webhook(rc.URL, nil)
		b.work()
		b.publish(b.event(nil))
		b.until(func(rows []*Delivery) bool { return rows[0].Status == DeliveryRetrying })
		if n := b.count(`SELECT consecutive_failures FROM webhooks WHERE id = ? AND failing_since IS NOT NULL`, wh.ID); n < 1 {
			t.Errorf("%d failures counted", n)
		}
		d := b.ended(1)[0]
		got := rc.seen()
		if d.Status != DeliveryDelivered || d.AttemptCount != 3 || len(got) != 3 {
			t.Fatalf("%s after %d attempts, %d arrivals", d.Status, d.AttemptCount, len(got))
		}
		for i, a := range got {
			if !bytes.Equal(a.Body, d.Body) || a.Header.Get("webhook-id") != d.EventID || a.Header.Get("webhook-attempt") != strconv.Itoa(i+1) {
				t.Errorf("arrival %d differs: %v %s", i+1, a.Header, a.Body)
			}
			if err := Verify(secret, a.Header.Get, a.Body, time.Now()); err != nil {
				t.Error(err)
			}
		}
		if wait := got[1].At.Sub(got[0].At); wait < 880*time.Millisecond {
			t.Errorf("tried again after %s", wait)
		}
		if got[0].Header.Get("webhook-timestamp") == got[1].Header.Get("webhook-timestamp") {
			t.Error("both attempts carry the same timestamp")
		}
		log := b.attemptsOf(d.ID)
		if len(log) != 3 || *log[0].StatusCode != 500 || *log[1].StatusCode != 302 || log[1].ResponseHeaders["location"] != "/elsewhere" {
			t.Fatalf("log %s", asJSON(log))
		}
		if !log[0].Truncated || len(log[0].Response) != maxResponse || !strings.HasPrefix(*log[0].ResponseBody(), "sorry \uFFFD\uFFFDxx") || len(*log[0].ResponseBody()) > maxShownBody {
			t.Errorf("kept %d bytes, shows %q", len(log[0].Response), (*log[0].ResponseBody())[:20])
		}
		if n := b.count(`SELECT consecutive_failures FROM webhooks WHERE id = ? AND failing_since IS NULL`, wh.ID); n != 0 {
			t.Errorf("%d failures counted after a success", n)
		}
	})

	t.Run("is given up when its retries are spent", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(500) })
		b.webhook(rc.URL, func(in *CreateWebhookInput) { in.MaxRetries = 2 })
		b.work()
		b.publish(b.event(nil))
		if d := b.ended(1)[0]; d.Status != DeliveryExhausted || len(rc.seen()) != 3 || len(b.attemptsOf(d.ID)) != 3 || d.NextAttemptAt != nil {
			t.Errorf("%s after %d arrivals", d.Status, len(rc.seen()))
		}
	})

	t.Run("is given up at 410, which disables the webhook and ends what else waits for it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(410) })
		wh, _ := b.webhook(rc.URL, nil)
		b.publish(b.event(nil))
		b.publish(b.event(nil), b.event(nil))
		b.exec(`UPDATE deliveries SET next_attempt_at = now() + interval '2 seconds' WHERE id <> (SELECT min(id) FROM deliveries)`)
		b.work()
		for _, d := range b.ended(3) {
			if d.Status != DeliveryExhausted {
				t.Errorf("%s", d.Status)
			}
		}
		got, err := b.Webhook(b.as(b.principal), wh.ID)
		if err != nil || got.Enabled || got.DisabledReason == nil || *got.DisabledReason != "GONE" {
			t.Errorf("%s, %v", asJSON(got), err)
		}
		if len(rc.seen()) != 1 || !strings.Contains(b.logs.String(), "webhook disabled") {
			t.Errorf("%d arrivals, logs: %s", len(rc.seen()), b.logs)
		}
	})

	t.Run("is given up when the answer says abort-message", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("webhook-delivery", "abort-message")
			w.WriteHeader(422)
		})
		wh, _ := b.webhook(rc.URL, nil)
		b.work()
		b.publish(b.event(nil))
		if d := b.ended(1)[0]; d.Status != DeliveryExhausted || len(rc.seen()) != 1 {
			t.Errorf("%s after %d arrivals", d.Status, len(rc.seen()))
		}
		if got, _ := b.Webhook(b.as(b.principal), wh.ID); !got.Enabled {
			t.Error("the webhook was disabled")
		}
	})

	t.Run("waits as long as Retry-After asks", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(503)
		})
		b.webhook(rc.URL, nil)
		b.work()
		b.publish(b.event(nil))
		d := b.until(func(rows []*Delivery) bool { return rows[0].Status == DeliveryRetrying })[0]
		if wait := time.Until(*d.NextAttemptAt); (wait - time.Hour).Abs() > time.Minute {
			t.Errorf("waits %s", wait)
		}
		if n := b.count(`SELECT count(*) FROM river_job WHERE id = ? AND scheduled_at > now() + interval '59 minutes'`, *d.JobID); n != 1 {
			// The job snoozes after the row is written.
			b.until(func([]*Delivery) bool {
				return b.count(`SELECT count(*) FROM river_job WHERE id = ? AND scheduled_at > now() + interval '59 minutes'`, *d.JobID) == 1
			})
		}
	})

	t.Run("records what broke when no answer came", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never answers
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed.Close()
		untrusted := b.receive(true, nil)
		drip := b.receive(false, func(w http.ResponseWriter, r *http.Request, _ int) {
			for range 30 {
				if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
		b.policy.RootCAs = nil
		b.reach("http://" + silent.Addr().String())
		b.reach("http://" + closed.Addr().String())
		cases := map[string]string{ // URL to error class
			"http://" + silent.Addr().String(): "timeout", "http://" + closed.Addr().String(): "connect_failed",
			untrusted.URL: "tls_failed", drip.URL: "timeout",
		}
		for url := range cases {
			b.webhook(url, func(in *CreateWebhookInput) { in.TimeoutMillis, in.MaxRetries = 1000, 0 })
		}
		b.work()
		b.publish(b.event(nil))
		for _, d := range b.ended(len(cases)) {
			by, err := b.WebhooksByID(b.as(b.principal), []string{d.WebhookID})
			if err != nil {
				t.Fatal(err)
			}
			url := by[d.WebhookID].URL
			log := b.attemptsOf(d.ID)
			if d.Status != DeliveryExhausted || len(log) != 1 || log[0].Error == nil || *log[0].Error != cases[url] || log[0].DurationMillis > 2500 {
				t.Errorf("%s: %s %s, not %s", url, d.Status, asJSON(log), cases[url])
			}
		}
	})

	t.Run("never reaches a private address that is not allowed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		b.webhook(rc.URL, func(in *CreateWebhookInput) { in.MaxRetries = 0 })
		b.policy.Allow = nil // withdrawn after the webhook was saved
		b.Egress.SetPolicy(b.policy)
		b.work()
		b.publish(b.event(nil))
		d := b.ended(1)[0]
		if log := b.attemptsOf(d.ID); len(rc.seen()) != 0 || *log[0].Error != "refused" {
			t.Errorf("%d arrivals, %s", len(rc.seen()), asJSON(log))
		}
	})
}
