package resolvers_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/metrics"
)

// replays reads idempotency_replays_total by operation.
func replays(t *testing.T, m *metrics.Metrics) map[string]int {
	t.Helper()
	families, err := m.Registry.Gather()
	must(t, err)
	out := map[string]int{}
	for _, f := range families {
		if f.GetName() == "idempotency_replays_total" {
			for _, v := range f.GetMetric() {
				out[v.GetLabel()[0].GetValue()] = int(v.GetCounter().GetValue())
			}
		}
	}
	return out
}

// TestReplays repeats every operation that takes an idempotency key and looks at what is counted.
func TestReplays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	m := metrics.New()
	h.runs.Metrics, h.hooks.Metrics, h.ledger.Metrics = m, m, m
	c := h.caller(1000)
	_, _, err := c.hooks.CreateWebhook(c.ctx, dispatch.CreateWebhookInput{URL: "https://example.com/hook", AllRuns: true, TimeoutMillis: 5000})
	must(t, err)
	ids := c.people(4)
	c.enriched(ids[0], ids[1])
	spent := c.enriched(ids[2])
	failed, _, err := c.runs.Start(c.ctx, enrichment.StartInput{ProfileIDs: []string{ids[3]}})
	must(t, err)
	c.finish(failed, ids[3], nil)
	var sent struct {
		Deliveries struct{ Nodes []struct{ ID string } }
	}
	c.ask(&sent, `{ deliveries(first: 1) { nodes { id } } }`)

	if got := replays(t, m); len(got) != len(metrics.KeyedOperations) {
		t.Errorf("before anything is repeated: %v", got)
	}
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for operation, input := range map[string][2]string{ // what is asked, and what is other input under the same key
		"startEnrichment":     {"profileIds: [" + quoted(ids[0]) + "]", "profileIds: [" + quoted(ids[1]) + "]"},
		"retryFailedProfiles": {"requestId: " + quoted(failed.ID), "requestId: " + quoted(failed.ID) + ", profileIds: [" + quoted(ids[3]) + "]"},
		"importProfiles":      {`source: {rows: [{externalId: "new", name: "New Person"}]}`, `source: {rows: [{externalId: "new", name: "Other Person"}]}`},
		"erasePerson":         {"person: {profileId: " + quoted(ids[1]) + `}, reason: "by letter"`, "person: {profileId: " + quoted(ids[1]) + `}, reason: "by phone"`},
		"redeliver":           {"select: {deliveryIds: [" + quoted(sent.Deliveries.Nodes[0].ID) + "]}", `select: {failedSince: {webhookId: "x", since: "2026-01-01T00:00:00Z"}}`},
		"grantCredits":        {"companyId: " + quoted(c.who.Company.ID) + `, credits: 5, memo: "m"`, "companyId: " + quoted(c.who.Company.ID) + `, credits: 6, memo: "m"`},
		"purchaseCredits":     {`credits: 5, paymentReference: "pi_1"`, `credits: 6, paymentReference: "pi_1"`},
	} {
		before := replays(t, m)[operation]
		send := func(input string) string {
			var out map[string]struct{ UserErrors []struct{ Code string } }
			c.ask(&out, fmt.Sprintf(`mutation { %s(input: {idempotencyKey: "of-%s", %s}) { userErrors { code } } }`, operation, operation, input))
			codes := ""
			for _, e := range out[operation].UserErrors {
				codes += e.Code + " "
			}
			return strings.TrimSpace(codes)
		}
		for n := range 3 {
			if code := send(input[0]); code != "" {
				t.Errorf("%s: %s", operation, code)
			}
			if got := replays(t, m)[operation] - before; got != n {
				t.Errorf("%s: %d replays are counted after %d calls", operation, got, n+1)
			}
		}
		if code := send(input[1]); code != "IDEMPOTENCY_KEY_REUSED" {
			t.Errorf("%s: other input under the same key: %q", operation, code)
		}
		if got := replays(t, m)[operation] - before; got != 2 {
			t.Errorf("%s: a refused call counts as a replay", operation)
		}
	}
	// The two that are commands only.
	for range 2 {
		_, _, err := c.ledger.Adjust(c.ctx, billing.Adjust{CompanyID: c.who.Company.ID, Credits: 1, Memo: "m", Actor: "test", Key: "adjust"})
		must(t, err)
		_, _, err = c.ledger.Refund(c.ctx, billing.Refund{CompanyID: c.who.Company.ID, RunID: spent.ID, ProfileID: ids[2], Memo: "m", Actor: "test", Key: "refund"})
		must(t, err)
	}
	want := map[string]int{}
	for _, operation := range metrics.KeyedOperations {
		if want[operation] = 2; operation == "adjustCredits" || operation == "refundCredits" {
			want[operation] = 1
		}
	}
	if got := replays(t, m); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, not %v", got, want)
	}
	m.Replayed("of a caller's making")
	if got := replays(t, m)["other"]; got != 1 {
		t.Error("the set of labels is not bounded")
	}
}
