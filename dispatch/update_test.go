package dispatch

import (
	"errors"
	"slices"
	"testing"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
)

func TestUpdateWebhook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text := func(s string) OptionalText { return OptionalText{true, &s} }
	name := "first"
	fresh := func() *Webhook {
		w, _ := b.webhook(publicURL, func(in *CreateWebhookInput) {
			in.Name, in.Description = &name, &name
			in.Headers = []WebhookHeaderInput{{"X-A", "one"}, {"X-B", "two"}}
		})
		return w
	}

	t.Run("leaves everything that is not named as it was", func(t *testing.T) {
		w := fresh()
		got, err := b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{})
		if err != nil || asJSON(got) != asJSON(w) {
			t.Errorf("%v: %s is not %s", err, asJSON(got), asJSON(w))
		}
	})
	t.Run("changes each thing that is named", func(t *testing.T) {
		w := fresh()
		url, retries, timeout, off := publicURL+"/new", 0, 1000, false
		got, err := b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{
			URL: &url, Name: text("second"), Description: OptionalText{Given: true}, Headers: []WebhookHeaderInput{{"X-C", "three"}},
			EventTypes: []EventType{EnrichFailed, EnrichFailed, "sourcing.completed"}, AllRuns: &off, MaxRetries: &retries, TimeoutMillis: &timeout, Enabled: &off,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.URL != url || *got.Name != "second" || got.Description != nil || !slices.Equal(got.HeaderNames, []string{"X-C"}) || got.AllRuns || got.MaxRetries != 0 ||
			got.TimeoutMillis != 1000 || got.Enabled || !slices.Equal(got.Events, []EventType{EnrichFailed, "sourcing.completed"}) || !got.UpdatedAt.After(w.UpdatedAt) {
			t.Errorf("%s", asJSON(got))
		}
		headers, err := b.openHeaders(w.ID, got.SealedHeaders)
		if err != nil || len(headers) != 1 || headers[0].Value != "three" {
			t.Errorf("%d headers, %v", len(headers), err)
		}
	})
	t.Run("takes all headers away with an empty list", func(t *testing.T) {
		w := fresh()
		got, err := b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{Headers: []WebhookHeaderInput{}})
		if err != nil || len(got.HeaderNames) != 0 || got.SealedHeaders != nil {
			t.Errorf("%s, %v", asJSON(got), err)
		}
	})
	t.Run("refuses everything wrong at once, and changes nothing", func(t *testing.T) {
		w := fresh()
		url, bad := "https://10.1.2.3/", 99
		_, err := b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{
			URL: &url, Name: text("a\x00b"), EventTypes: []EventType{"nonsense"}, MaxRetries: &bad, TimeoutMillis: &bad, Headers: []WebhookHeaderInput{{"Host", "x"}},
		})
		refusals, rest := fault.Users(err)
		var fields []string
		for _, r := range refusals {
			fields = append(fields, r.Where()[0])
		}
		slices.Sort(fields)
		if rest != nil || !slices.Equal(fields, []string{"eventTypes", "headers", "maxRetries", "name", "timeoutMillis", "url"}) {
			t.Errorf("%v, rest %v", fields, rest)
		}
		if got, _ := b.Webhook(b.as(b.principal), w.ID); asJSON(got) != asJSON(w) {
			t.Errorf("changed to %s", asJSON(got))
		}
	})
	t.Run("does not find an unknown or a foreign one, whatever it is asked", func(t *testing.T) {
		foreign, _ := b.webhookOf(b.company(false), publicURL, nil)
		bad := 99
		for _, id := range []string{foreign.ID, ident.NewRandomUUID(), "\x00"} {
			_, err := b.UpdateWebhook(b.as(b.principal), id, WebhookChange{MaxRetries: &bad})
			refusals, rest := fault.Users(err)
			if len(refusals) != 1 || refusals[0].Code() != fault.CodeNotFound || rest != nil {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
	t.Run("gives a webhook that the service disabled a fresh start, and leaves its circuit open", func(t *testing.T) {
		w := fresh()
		b.exec(`UPDATE webhooks SET enabled = false, disabled_reason = 'FAILING', failing_since = now() - interval '6 days', consecutive_failures = 50,
			circuit_state = 'OPEN', circuit_opened_at = now() WHERE id = ?`, w.ID)
		on := true
		got, err := b.UpdateWebhook(b.as(b.principal), w.ID, WebhookChange{Enabled: &on})
		if err != nil || !got.Enabled || got.DisabledReason != nil || got.FailingSince != nil || got.CircuitState != CircuitOpen || got.Active() {
			t.Errorf("%s, %v", asJSON(got), err)
		}
	})
}

func TestOlderWebhooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	as := b.as(b.principal)

	t.Run("are made with the older contract's settings and a secret in its form", func(t *testing.T) {
		w, secret, err := b.CreateOlderWebhook(as, OlderWebhookInput{URL: publicURL, Events: []EventType{"analysis.completed", EnrichCompleted}})
		if err != nil {
			t.Fatal(err)
		}
		if w.CompanyID != nil || w.AllRuns || w.MaxRetries != 3 || w.TimeoutMillis != 30000 || len(secret) != 64 || !slices.Equal(w.Events, []EventType{"analysis.completed", EnrichCompleted}) {
			t.Errorf("%s %d", asJSON(w), len(secret))
		}
		own := b.principal.Company.ID
		if w, _, err = b.CreateOlderWebhook(as, OlderWebhookInput{URL: publicURL, Events: []EventType{Ping}, CompanyID: &own}); err != nil || *w.CompanyID != own {
			t.Errorf("%s, %v", asJSON(w), err)
		}
	})
	t.Run("are refused for a company that is not the key's, and without events", func(t *testing.T) {
		other := b.company(false).Company.ID
		var forbidden fault.Forbidden
		if _, _, err := b.CreateOlderWebhook(as, OlderWebhookInput{URL: publicURL, Events: []EventType{Ping}, CompanyID: &other}); !errors.As(err, &forbidden) {
			t.Errorf("%v", err)
		}
		var invalid fault.InvalidInput
		if _, _, err := b.CreateOlderWebhook(as, OlderWebhookInput{URL: publicURL}); !errors.As(err, &invalid) {
			t.Errorf("%v", err)
		}
	})
	t.Run("are listed per key, newest first, with or without the global ones", func(t *testing.T) {
		b := setup(t)
		second := *b.principal
		second.Key.ID = ident.NewUUID()
		second.Key.Digest = []byte(second.Key.ID)
		b.insert(&second.Key)
		b.webhookOf(&second, publicURL, nil) // the same company, another key
		var made []string
		for i := range 5 {
			in := OlderWebhookInput{URL: publicURL, Events: []EventType{Ping}}
			if i%2 == 0 {
				in.CompanyID = &b.principal.Company.ID
			}
			w, _, err := b.CreateOlderWebhook(b.as(b.principal), in)
			if err != nil {
				t.Fatal(err)
			}
			made = append([]string{w.ID}, made...)
		}
		var got []string
		for pageNumber := 1; ; pageNumber++ {
			rows, total, err := b.WebhooksOfKey(b.as(b.principal), nil, pageNumber, 2)
			if err != nil || total != 5 {
				t.Fatal(total, err)
			}
			if len(rows) == 0 {
				break
			}
			for _, w := range rows {
				got = append(got, w.ID)
			}
		}
		if !slices.Equal(got, made) {
			t.Errorf("%v is not %v", got, made)
		}
		if rows, total, err := b.WebhooksOfKey(b.as(b.principal), &b.principal.Company.ID, 1, 100); err != nil || total != 3 || len(rows) != 3 {
			t.Errorf("%d of %d, %v", len(rows), total, err)
		}
		if _, total, err := b.WebhooksOfKey(b.as(&second), nil, 1, 100); err != nil || total != 1 {
			t.Errorf("%d, %v", total, err)
		}
		for _, c := range [][2]int{{0, 1}, {1, 0}, {1, 101}, {1 << 40, 1}} {
			var invalid fault.InvalidInput
			if _, _, err := b.WebhooksOfKey(b.as(b.principal), nil, c[0], c[1]); !errors.As(err, &invalid) {
				t.Errorf("%v: %v", c, err)
			}
		}
		t.Run("and belong to their key", func(t *testing.T) {
			var forbidden fault.Forbidden
			if _, err := b.WebhookOfKey(b.as(&second), made[0]); !errors.As(err, &forbidden) || forbidden.Message != "Access denied to this webhook configuration" {
				t.Errorf("%v", err)
			}
			var missing fault.NotFound
			if _, err := b.WebhookOfKey(b.as(&second), ident.NewRandomUUID()); !errors.As(err, &missing) || missing.Type != "WebhookConfig" {
				t.Errorf("%v", err)
			}
			if w, err := b.WebhookOfKey(b.as(b.principal), made[0]); err != nil || w.ID != made[0] {
				t.Errorf("%v", err)
			}
		})
	})
}
