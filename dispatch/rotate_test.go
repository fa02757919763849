package dispatch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/enrichd/enrichd/internal/fault"
)

func TestRotateSecret(t *testing.T) {
	t.Parallel()

	// accepts says which of secrets verify what arrived, by the reference library and by the older header.
	accepts := func(t *testing.T, a arrival, secrets ...string) (standard, older []bool) {
		t.Helper()
		for _, secret := range secrets {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			ok := wh.Verify(a.Body, a.Header) == nil
			if (Verify(secret, a.Header.Get, a.Body, time.Now()) == nil) != ok {
				t.Error("our verifier and the reference library differ")
			}
			standard = append(standard, ok)
			older = append(older, olderSignature(OlderSecret(secret), a.Body) == a.Header.Get("X-Webhook-Signature"))
		}
		return standard, older
	}
	deliver := func(b *bundle, rc *endpoint) arrival {
		b.t.Helper()
		b.attempt(b.last())
		seen := rc.seen()
		return seen[len(seen)-1]
	}

	t.Run("lets both secrets sign until the overlap ends, the older header the old one", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		w, old := b.webhook(rc.URL, nil)
		r, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID, OverlapHours: 24})
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(*r.OldExpiresAt); left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("the old one signs for %s", left)
		}
		if !slices.Equal(r.Webhook.SecretHints, []string{r.Secret[:10], old[:10]}) {
			t.Errorf("hints %v", r.Webhook.SecretHints)
		}
		check := func(when string, wantStandard, wantOlder []bool) {
			t.Helper()
			standard, older := accepts(t, deliver(b, rc), old, r.Secret)
			if !slices.Equal(standard, wantStandard) || !slices.Equal(older, wantOlder) {
				t.Errorf("%s: old and new verify %v, in the older header %v", when, standard, older)
			}
		}
		check("during", []bool{true, true}, []bool{true, false})
		var conflict fault.Conflict
		if _, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID, OverlapHours: 1}); !errors.As(err, &conflict) || conflict.State != "ROTATING" {
			t.Errorf("a third: %v", err)
		}
		b.exec(`UPDATE webhook_secrets SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL`)
		check("after", []bool{false, true}, []bool{false, true})
		if got := b.circuit(w.ID); !slices.Equal(got.SecretHints, []string{r.Secret[:10]}) {
			t.Errorf("hints %v", got.SecretHints)
		}
		if _, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID, OverlapHours: 1}); err != nil {
			t.Errorf("after the overlap: %v", err)
		}
		if n := b.count(`SELECT count(*) FROM webhook_secrets`); n != 2 {
			t.Errorf("%d secrets kept", n)
		}
	})
	t.Run("without overlap revokes what signed before at once, also in the middle of an overlap", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		w, first := b.webhook(rc.URL, nil)
		second, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID, OverlapHours: 24})
		if err != nil {
			t.Fatal(err)
		}
		third, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID})
		if err != nil || third.OldExpiresAt != nil {
			t.Fatal(third, err)
		}
		standard, older := accepts(t, deliver(b, rc), first, second.Secret, third.Secret)
		if !slices.Equal(standard, []bool{false, false, true}) || !slices.Equal(older, []bool{false, false, true}) {
			t.Errorf("%v %v", standard, older)
		}
		if n := b.count(`SELECT count(*) FROM webhook_secrets`); n != 1 {
			t.Errorf("%d secrets kept", n)
		}
	})
	t.Run("keeps body and id through a rotation between two attempts", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		rc := b.receive(false, nil)
		w, old := b.webhook(rc.URL, nil)
		d := b.last()
		b.attempt(d)
		r, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID})
		if err != nil {
			t.Fatal(err)
		}
		b.redeliver("k", d.ID)
		b.attempt(b.all()[0])
		seen := rc.seen()
		if len(seen) != 2 || string(seen[0].Body) != string(seen[1].Body) || seen[0].Header.Get("webhook-id") != seen[1].Header.Get("webhook-id") {
			t.Fatalf("%s", asJSON(seen))
		}
		standard, _ := accepts(t, seen[1], old, r.Secret)
		if !slices.Equal(standard, []bool{false, true}) {
			t.Errorf("%v", standard)
		}
	})
	t.Run("refuses overlaps out of bounds, and what it does not find", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		w, _ := b.webhook(publicURL, nil)
		for _, hours := range []int{-1, 169} {
			var invalid fault.InvalidInput
			if _, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID, OverlapHours: hours}); !errors.As(err, &invalid) {
				t.Errorf("%d: %v", hours, err)
			}
		}
		var missing fault.NotFound
		if _, err := b.RotateSecret(b.as(b.company(false)), RotateSecretInput{ID: w.ID, OverlapHours: 1}); !errors.As(err, &missing) {
			t.Errorf("%v", err)
		}
	})
}

// TestNothingLeaks plants secrets and header values and looks for them in all that is printed or kept in the clear.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rc := b.receive(false, nil)
	w, secret := b.webhook(rc.URL+"/planted-path", func(in *CreateWebhookInput) {
		in.MaxRetries = 1
		in.Headers = []WebhookHeaderInput{{"Authorization", "Bearer planted-value"}}
	})
	r, err := b.RotateSecret(b.as(b.principal), RotateSecretInput{ID: w.ID, OverlapHours: 1})
	if err != nil {
		t.Fatal(err)
	}
	planted := []string{"planted-value", secret[10:], OlderSecret(secret), r.Secret[10:], OlderSecret(r.Secret)}

	b.attempt(b.last())
	rc.Close() // the rest cannot connect
	d := b.last()
	b.attempt(d)
	b.exec(`UPDATE deliveries SET next_attempt_at = now()`)
	b.attempt(d)
	if _, err := b.TestWebhook(b.as(b.principal), w.ID, Ping); err != nil {
		t.Fatal(err)
	}
	said := b.logs.String()
	for _, table := range []string{"webhooks", "webhook_secrets", "delivery_attempts", "company_activity", "river_job", "dispatch_events", "deliveries"} {
		var rows string
		if err := b.DB.NewRaw(`SELECT coalesce(string_agg(x::text, ''), '') FROM `+table+` AS x`).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		said += rows
	}
	said += asJSON(b.circuit(w.ID))
	_, err = b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{Headers: []WebhookHeaderInput{{"Bad Name", "planted-value"}, {"X", "planted-value\n"}, {"host", "planted-value"}}})
	said += fmt.Sprintf("%v %+v %#v", err, err, err)
	// A value that cannot be opened is an error that does not show it.
	b.exec(`UPDATE webhooks SET id = id, sealed_headers = (SELECT secret FROM webhook_secrets LIMIT 1)`)
	if _, err := b.TestWebhook(b.as(b.principal), w.ID, Ping); err == nil {
		t.Error("sent with headers that could not be opened")
	} else {
		said += fmt.Sprintf("%v %+v", err, err)
	}
	if len(said) < 2000 || !strings.Contains(said, "webhook attempt") {
		t.Fatalf("nothing to search: %s", said)
	}
	for _, p := range planted {
		if strings.Contains(said, p) {
			t.Errorf("%q can be read", p)
		}
	}
}

// olderSignature is the older header's value, written by hand from the contract.
func olderSignature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
