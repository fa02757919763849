package dispatch

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/page"
)

const publicURL = "https://hooks.example.com/in"

func TestCreateWebhook(t *testing.T) {
	t.Parallel()
	b := setup(t)

	t.Run("shows the secret once and keeps it and the header values sealed", func(t *testing.T) {
		name := "Production"
		w, secret := b.webhook(publicURL, func(in *CreateWebhookInput) {
			in.Name, in.AllRuns = &name, false
			in.EventTypes = []EventType{EnrichFailed, "analysis.completed", EnrichCompleted}
			in.Headers = []WebhookHeaderInput{{"X-Plain", "planted"}, {"Authorization", "planted"}}
		})
		got, err := b.Webhook(b.as(b.principal), w.ID)
		if err != nil || got == nil {
			t.Fatal(got, err)
		}
		if !strings.HasPrefix(secret, "whsec_") || len(OlderSecret(secret)) != 64 || !slices.Equal(got.SecretHints, []string{secret[:10]}) {
			t.Errorf("secret %q, older %q, hints %v", secret, OlderSecret(secret), got.SecretHints)
		}
		if got.URL != publicURL || *got.Name != name || got.Description != nil || got.AllRuns || got.MaxRetries != 9 || got.TimeoutMillis != 5000 || !got.Enabled || got.Test ||
			got.APIKeyID != b.principal.Key.ID || *got.CompanyID != b.principal.Company.ID || got.CreatedAt.IsZero() {
			t.Errorf("%s", asJSON(got))
		}
		if !slices.Equal(got.Headers(), []WebhookHeader{{"X-Plain", false}, {"Authorization", true}}) {
			t.Errorf("headers %v", got.Headers())
		}
		if !slices.Equal(got.EventTypes(), []EventType{EnrichFailed, EnrichCompleted}) || len(got.Events) != 3 {
			t.Errorf("types %v of %v", got.EventTypes(), got.Events)
		}
		var rows string
		if err := b.DB.NewRaw(`SELECT string_agg(w::text, '') || (SELECT string_agg(s::text, '') FROM webhook_secrets s) FROM webhooks w`).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		for _, planted := range []string{"planted", secret[10:], OlderSecret(secret)} {
			if strings.Contains(rows, planted) || strings.Contains(b.logs.String(), planted) {
				t.Errorf("%q is stored or logged in the clear", planted)
			}
		}
	})

	t.Run("refuses URLs that deliveries could not go to", func(t *testing.T) {
		for url, reason := range map[string]string{
			"ftp://hooks.example.com/": "scheme", "https://10.0.0.1/": "address", "https://user:pw@hooks.example.com/": "credentials",
			"https://hooks.example.com:22/": "port", "https://" + strings.Repeat("a", 2048): "", "": "", "/relative": "",
		} {
			_, _, err := b.CreateWebhook(b.as(b.principal), CreateWebhookInput{URL: url, TimeoutMillis: 30000})
			var rejected EndpointRejected
			if !errors.As(err, &rejected) || reason != "" && rejected.Reason != reason || rejected.Code() != fault.CodeEndpointRejected {
				t.Errorf("%q: %v (%s)", url, err, rejected.Reason)
			}
		}
	})

	t.Run("refuses everything wrong at once and makes nothing", func(t *testing.T) {
		before := b.count(`SELECT count(*) FROM webhooks`)
		_, _, err := b.CreateWebhook(b.as(b.principal), CreateWebhookInput{URL: "gopher://x", MaxRetries: -1})
		refusals, rest := fault.Users(err)
		if len(refusals) != 3 || rest != nil {
			t.Errorf("%v, rest %v", refusals, rest)
		}
		if after := b.count(`SELECT count(*) FROM webhooks`); after != before {
			t.Errorf("%d made", after-before)
		}
	})

	t.Run("refuses the 21st, however many are asked for at once", func(t *testing.T) {
		b := setup(t)
		errs := make([]error, 30)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				_, _, errs[i] = b.CreateWebhook(b.as(b.principal), CreateWebhookInput{URL: publicURL, TimeoutMillis: 30000})
			})
		}
		all.Wait()
		refused := 0
		for _, err := range errs {
			var limit fault.LimitExceeded
			if errors.As(err, &limit) && limit.Limit == 20 && limit.Actual == 21 {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		if n := b.count(`SELECT count(*) FROM webhooks`); refused != 10 || n != 20 {
			t.Errorf("%d refused, %d made", refused, n)
		}
		var id string
		if err := b.DB.NewRaw(`SELECT min(id) FROM webhooks`).Scan(t.Context(), &id); err != nil {
			t.Fatal(err)
		}
		if err := b.DeleteWebhook(b.as(b.principal), id); err != nil {
			t.Fatal(err)
		}
		b.webhook(publicURL, nil) // there is room again
		b.webhookOf(b.company(false), publicURL, nil)
	})
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, testKey := b.company(false), b.testKey()
	var made []string
	for range 5 {
		w, _ := b.webhook(publicURL, nil)
		made = append([]string{w.ID}, made...)
	}
	foreign, _ := b.webhookOf(other, publicURL, nil)
	sandbox, _ := b.webhookOf(testKey, publicURL, nil)

	t.Run("are listed newest first, page by page, only one's own", func(t *testing.T) {
		var got []string
		args := page.Args{First: 2}
		for {
			c, err := b.Webhooks(b.as(b.principal), args)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Edges {
				got = append(got, e.Node.ID)
				if len(e.Node.SecretHints) != 1 {
					t.Errorf("hints %v", e.Node.SecretHints)
				}
			}
			if !c.PageInfo.HasNextPage {
				break
			}
			args.After = *c.PageInfo.EndCursor
		}
		if !slices.Equal(got, made) {
			t.Errorf("%v\nnot %v", got, made)
		}
		c, err := b.Webhooks(b.as(testKey), page.Args{First: 100})
		if err != nil || len(c.Nodes) != 1 || c.Nodes[0].ID != sandbox.ID {
			t.Errorf("the test key sees %s, %v", asJSON(c.Nodes), err)
		}
	})
	t.Run("refuse pages and cursors that cannot be", func(t *testing.T) {
		for _, a := range []page.Args{
			{First: 0}, {First: 101}, {First: 1, After: "!"}, {First: 1, After: page.Encode("x")}, {First: 1, After: page.Encode("1.x")},
			{First: 1, After: page.Encode("9223372036854775807." + ident.NewRandomUUID())}, {First: 1, After: page.Encode("-1." + ident.NewRandomUUID())},
		} {
			var invalid fault.InvalidInput
			if _, err := b.Webhooks(b.as(b.principal), a); !errors.As(err, &invalid) {
				t.Errorf("%+v: %v", a, err)
			}
		}
	})
	t.Run("are nil when unknown, foreign or of the other kind of key", func(t *testing.T) {
		for _, id := range []string{"", "x\x00", ident.NewRandomUUID(), foreign.ID, sandbox.ID} {
			if w, err := b.Webhook(b.as(b.principal), id); w != nil || err != nil {
				t.Errorf("%q: %v, %v", id, w, err)
			}
			var notFound fault.NotFound
			if err := b.DeleteWebhook(b.as(b.principal), id); !errors.As(err, &notFound) {
				t.Errorf("delete %q: %v", id, err)
			}
		}
	})
	t.Run("need somebody who asks", func(t *testing.T) {
		if _, err := b.Webhooks(t.Context(), page.Args{First: 1}); err == nil {
			t.Error("answered nobody")
		}
	})
	t.Run("are gone once deleted, with their secrets and what they were still to be sent", func(t *testing.T) {
		b := setup(t)
		rc := b.receive(false, nil)
		w, _ := b.webhook(rc.URL, func(in *CreateWebhookInput) { in.Headers = []WebhookHeaderInput{{"X-A", "b"}} })
		b.publish(b.event(nil))
		if err := b.DeleteWebhook(b.as(b.principal), w.ID); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Webhook(b.as(b.principal), w.ID); got != nil || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		if n := b.count(`SELECT (SELECT count(*) FROM webhook_secrets) + (SELECT count(*) FROM webhooks WHERE sealed_headers IS NOT NULL)`); n != 0 {
			t.Errorf("%d secrets left", n)
		}
		b.work()
		b.until(func([]*Delivery) bool {
			return b.count(`SELECT count(*) FROM river_job WHERE state = 'completed'`) == 1
		})
		d := b.all()[0]
		by, err := b.WebhooksByID(b.as(b.principal), []string{d.WebhookID})
		if d.Status != DeliveryExhausted || len(rc.seen()) != 0 || err != nil || by[w.ID] == nil {
			t.Errorf("%s, %d arrivals, %v, %v", d.Status, len(rc.seen()), by, err)
		}
	})
}

func TestCheckForRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fine, _ := b.webhook(publicURL, func(in *CreateWebhookInput) { in.EventTypes = []EventType{EnrichFailed} })
	deaf, _ := b.webhook(publicURL, func(in *CreateWebhookInput) { in.EventTypes = []EventType{Ping} })
	foreign, _ := b.webhookOf(b.company(false), publicURL, nil)
	sandbox, _ := b.webhookOf(b.testKey(), publicURL, nil)
	check := func(id string) error { return b.CheckForRun(b.as(b.principal), b.DB, id) }

	t.Run("accepts one that hears of either end, also while disabled", func(t *testing.T) {
		if err := check(fine.ID); err != nil {
			t.Error(err)
		}
		b.exec(`UPDATE webhooks SET enabled = false WHERE id = ?`, fine.ID)
		if err := check(fine.ID); err != nil {
			t.Error(err)
		}
	})
	t.Run("does not find an unknown one", func(t *testing.T) {
		for _, id := range []string{ident.NewRandomUUID(), "nonsense", "\x00", ""} {
			var notFound fault.NotFound
			if err := check(id); !errors.As(err, &notFound) || notFound.Type != "WebhookConfig" || notFound.ID != id {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
	t.Run("forbids a foreign one", func(t *testing.T) {
		for _, id := range []string{foreign.ID, sandbox.ID} {
			var forbidden fault.Forbidden
			if err := check(id); !errors.As(err, &forbidden) {
				t.Errorf("%v", err)
			}
		}
	})
	t.Run("refuses one that would hear of neither end", func(t *testing.T) {
		err := check(deaf.ID)
		var deafness NotSubscribed
		refusals, rest := fault.Users(err)
		if !errors.As(err, &deafness) || deafness.WebhookID != deaf.ID || len(deafness.Required) != 2 || len(refusals) != 1 || refusals[0].Code() != fault.CodeConflict || rest != nil {
			t.Errorf("%v", err)
		}
	})
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other, testKey := b.company(false), b.testKey()
	one, _ := b.webhook(publicURL, nil)
	two, _ := b.webhook(publicURL, func(in *CreateWebhookInput) { in.EventTypes = []EventType{EnrichFailed} })
	b.webhookOf(other, publicURL, nil)
	b.webhookOf(testKey, publicURL, nil)
	first, second := b.event(nil), b.event(func(e *Event) { e.Type = EnrichFailed })
	b.publish(first)
	b.publish(second, b.event(func(e *Event) { e.Test = true }), b.event(func(e *Event) { e.CompanyID = other.Company.ID }))
	early := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	b.exec(`UPDATE deliveries SET created_at = ?, status = 'DELIVERED', completed_at = now() WHERE event_id IN (SELECT id FROM dispatch_events WHERE run_id = ?)`, early, first.RunID)

	list := func(f DeliveryFilter) (found []*Delivery) {
		args := page.Args{First: 1}
		for {
			c, err := b.Deliveries(b.as(b.principal), args, f)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, c.Nodes...)
			if !c.PageInfo.HasNextPage {
				return found
			}
			args.After = *c.PageInfo.EndCursor
		}
	}
	t.Run("are listed newest first with what their events say", func(t *testing.T) {
		all := list(DeliveryFilter{})
		if len(all) != 3 || *all[2].RunID != first.RunID || all[2].EventType != EnrichCompleted || !json.Valid(all[2].Payload()) || all[2].EventAt.IsZero() {
			t.Fatalf("%s", asJSON(all))
		}
		got, err := b.Delivery(b.as(b.principal), all[2].ID)
		if err != nil || got.ID != all[2].ID || got.EventType != EnrichCompleted {
			t.Errorf("%s, %v", asJSON(got), err)
		}
		for _, p := range []*struct{ as string }{{"other"}, {"test"}} {
			who := other
			if p.as == "test" {
				who = testKey
			}
			if got, err := b.Delivery(b.as(who), all[2].ID); got != nil || err != nil {
				t.Errorf("%s key got %v, %v", p.as, got, err)
			}
		}
		if got, err := b.Delivery(b.as(b.principal), "\x00"); got != nil || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("are narrowed by each filter", func(t *testing.T) {
		after, before := early.Add(time.Second), early.Add(time.Second)
		for what, c := range map[string]struct {
			f    DeliveryFilter
			want int
		}{
			"webhook": {DeliveryFilter{WebhookID: &two.ID}, 1},
			"run":     {DeliveryFilter{RequestID: &second.RunID}, 2},
			"both":    {DeliveryFilter{RequestID: &second.RunID, WebhookID: &one.ID}, 1},
			"status":  {DeliveryFilter{Status: []DeliveryStatus{DeliveryDelivered, DeliveryHeld}}, 1},
			"type":    {DeliveryFilter{EventTypes: []EventType{EnrichFailed}}, 2},
			"after":   {DeliveryFilter{CreatedAfter: &after}, 2},
			"before":  {DeliveryFilter{CreatedBefore: &before}, 1},
		} {
			if got := list(c.f); len(got) != c.want {
				t.Errorf("%s: %d, not %d", what, len(got), c.want)
			}
		}
		bad := "a\x00b"
		var invalid fault.InvalidInput
		if _, err := b.Deliveries(b.as(b.principal), page.Args{First: 1}, DeliveryFilter{RequestID: &bad}); !errors.As(err, &invalid) {
			t.Errorf("NUL: %v", err)
		}
	})
}
