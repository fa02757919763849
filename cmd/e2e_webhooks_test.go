package cmd_test

import (
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestWebhookLife takes a webhook through everything that GraphQL offers for one.
func TestWebhookLife(t *testing.T) {
	t.Parallel()
	hooks := newReceiver(t)
	w := newWorld(t, hooks)
	n := w.serve(t)
	me := w.tenant(t, n, 10)
	id, secret := me.webhook(t, hooks.url, "ENRICH_COMPLETED")

	const fields = `{ name description eventTypes headers { name masked } maxRetries enabled secretHints circuit { state consecutiveFailures openedAt retryAt } health(hours: 1) { delivered failed p50Millis p95Millis } }`
	type webhook struct {
		Name, Description *string
		EventTypes        []string
		Headers           []struct {
			Name   string
			Masked bool
		}
		MaxRetries  int
		Enabled     bool
		SecretHints []string
		Circuit     struct {
			State               string
			ConsecutiveFailures int
			OpenedAt, RetryAt   *string
		}
		Health struct{ Delivered, Failed int }
	}
	change := func(in map[string]any) (*webhook, []userError) {
		t.Helper()
		var out struct {
			UpdateWebhook struct {
				Webhook    *webhook
				UserErrors []userError
			}
		}
		in["id"] = id
		me.ask(t, `mutation($in: UpdateWebhookInput!) { updateWebhook(input: $in) { webhook `+fields+` userErrors { __typename code message field } } }`,
			map[string]any{"in": in}, &out)
		return out.UpdateWebhook.Webhook, out.UpdateWebhook.UserErrors
	}
	test := func() (status string, code *int) {
		t.Helper()
		var out struct {
			TestWebhook struct {
				Delivery *struct {
					EventType, Status string
					Attempts          []struct {
						StatusCode          *int
						Error, ResponseBody *string
					}
				}
				UserErrors []userError
			}
		}
		me.ask(t, `mutation($id: ID!) { testWebhook(input: {id: $id}) { delivery { eventType status attempts { statusCode error responseBody } } userErrors { code message } } }`,
			map[string]any{"id": id}, &out)
		d := out.TestWebhook.Delivery
		if d == nil || d.EventType != "PING" || len(d.Attempts) != 1 || d.Attempts[0].ResponseBody != nil {
			t.Fatalf("%+v", out)
		}
		return d.Status, d.Attempts[0].StatusCode
	}
	verifies := func(d delivery, secret string) bool {
		t.Helper()
		v, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		return v.Verify(d.body, d.header) == nil
	}

	t.Run("is changed in what is named, and null is not the same as nothing", func(t *testing.T) {
		got, refused := change(map[string]any{"name": "Production", "description": "d", "headers": []any{map[string]any{"name": "Authorization", "value": "v"}}})
		if len(refused) > 0 || *got.Name != "Production" || len(got.Headers) != 1 || !got.Headers[0].Masked {
			t.Fatalf("%+v %+v", got, refused)
		}
		got, refused = change(map[string]any{"description": nil, "maxRetries": 2})
		if len(refused) > 0 || got.Name == nil || got.Description != nil || got.MaxRetries != 2 || len(got.Headers) != 1 || got.Circuit.State != "CLOSED" {
			t.Errorf("%+v %+v", got, refused)
		}
		got, refused = change(map[string]any{"maxRetries": 99, "url": "https://10.0.0.1/"})
		if got != nil || len(refused) != 2 || refused[0].Type != "InvalidInput" || refused[0].Field[0] != "maxRetries" || refused[1].Type != "EndpointRejected" {
			t.Errorf("%+v %+v", got, refused)
		}
	})
	t.Run("is tested at once", func(t *testing.T) {
		if status, code := test(); status != "DELIVERED" || code == nil || *code != 204 {
			t.Errorf("%s %v", status, code)
		}
		if d := hooks.one(t); !verifies(d, secret) || d.header.Get("Authorization") != "v" {
			t.Errorf("%s", d.body)
		}
	})
	t.Run("signs with both secrets after a rotation, and refuses another one meanwhile", func(t *testing.T) {
		var out struct {
			RotateWebhookSecret struct {
				Webhook            *webhook
				Secret             string
				OldSecretExpiresAt *string
				UserErrors         []userError
			}
		}
		const mutation = `mutation($id: ID!) { rotateWebhookSecret(input: {id: $id}) { webhook ` + fields + ` secret oldSecretExpiresAt userErrors { __typename code message ... on Conflict { state } } } }`
		me.ask(t, mutation, map[string]any{"id": id}, &out)
		rotated := out.RotateWebhookSecret
		if rotated.Webhook == nil || len(rotated.Webhook.SecretHints) != 2 || rotated.OldSecretExpiresAt == nil {
			t.Fatalf("%+v", rotated)
		}
		test()
		if d := hooks.one(t); !verifies(d, secret) || !verifies(d, rotated.Secret) {
			t.Error("not both verify")
		}
		me.ask(t, mutation, map[string]any{"id": id}, &out)
		if e := out.RotateWebhookSecret.UserErrors; len(e) != 1 || e[0].Type != "Conflict" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("is sent again what it was sent, and a reset of its closed circuit changes nothing", func(t *testing.T) {
		people := w.importAll(t, me.company)
		run := me.started(t, people.pick(t, "ada-lindqvist"), id)
		first := hooks.one(t)
		var listed struct {
			Webhook struct {
				Deliveries struct {
					Nodes []struct {
						ID  string
						Run struct{ RequestID string }
					}
				}
			}
		}
		eventually(t, patience, "the delivery to be recorded", func() bool {
			me.ask(t, `query($id: ID!) { webhook(id: $id) { deliveries(status: [DELIVERED]) { nodes { id run { requestId } } } } }`, map[string]any{"id": id}, &listed)
			return len(listed.Webhook.Deliveries.Nodes) == 3 // with the two tests
		})
		latest := listed.Webhook.Deliveries.Nodes[0]
		if latest.Run.RequestID != run {
			t.Fatalf("%+v", latest)
		}
		var again struct {
			Redeliver struct {
				Requeued, Remaining int
				UserErrors          []userError
			}
		}
		me.ask(t, `mutation($ids: [ID!]!) { redeliver(input: {idempotencyKey: "again", select: {deliveryIds: $ids}}) { requeued remaining userErrors { code message field } } }`,
			map[string]any{"ids": []string{latest.ID}}, &again)
		if again.Redeliver.Requeued != 1 {
			t.Fatalf("%+v", again)
		}
		if second := hooks.one(t); string(second.body) != string(first.body) || second.header.Get("webhook-id") != first.header.Get("webhook-id") {
			t.Errorf("%s", second.body)
		}
		var reset struct {
			ResetWebhookCircuit struct {
				Webhook    *webhook
				UserErrors []userError
			}
		}
		me.ask(t, `mutation($id: ID!) { resetWebhookCircuit(input: {id: $id}) { webhook `+fields+` userErrors { code message } } }`, map[string]any{"id": id}, &reset)
		if got := reset.ResetWebhookCircuit.Webhook; got == nil || got.Circuit.State != "CLOSED" || !got.Enabled {
			t.Errorf("%+v", reset)
		}
	})
}
