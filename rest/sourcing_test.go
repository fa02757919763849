package rest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/access"
)

const (
	unknownRun  = "enr_6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
	unknownUUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
)

func TestSourcing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(100)
	jane := c.person("Jane Smith")

	t.Run("a run is accepted, is processing while it goes, and ends with its results", func(t *testing.T) {
		gate := h.play.gate("gate-one")
		slow := c.person("Gate One")
		nobody, broken := c.person("Nobody Known"), c.person("Broken Source")
		r := c.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q,%q,"profile_abc123",%q,%q,%q]}`, jane, slow, nobody, broken, jane))
		r.golden(t, "enrich-accepted")
		var out struct{ RequestID string }
		r.decode(t, &out)
		going := c.call("GET", "/sourcing/enrich/"+out.RequestID+"/results", "")
		going.golden(t, "results-processing")
		close(gate)
		c.polled(out.RequestID).golden(t, "results-mixed")
	})
	t.Run("profiles named by the caller's own ids answer under these, wherever they stand", func(t *testing.T) {
		c.person("Mia Own")
		bo := c.person("Bo Ours")
		h.tenant(1).person("Theirs Alone")
		run := c.started("x-mia-own", bo, "x-nobody-here", "x-theirs-alone", "x-mia-own", "x-bo-ours")
		c.polled(run).golden(t, "results-external-ids")
		c.call("POST", "/sourcing/render-html", `{"profileIds":["x-mia-own","x-nobody-here","x-theirs-alone"]}`).golden(t, "render-external-ids")
	})
	t.Run("with a webhook, the answer names it last", func(t *testing.T) {
		hook, _ := c.hook("https://hooks.example.com/in", `["ENRICH_COMPLETED"]`)
		r := c.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q,"theme":"ignored"}`, jane, hook))
		r.golden(t, "enrich-accepted-webhook")
	})
	t.Run("a key is replayed, refused with another body, and bills once", func(t *testing.T) {
		body := fmt.Sprintf(`{"profileIds":[%q]}`, jane)
		first := c.call("POST", "/sourcing/enrich", body, "Idempotency-Key", "same")
		again := c.call("POST", "/v1/sourcing/enrich", ` { "other":1, "profileIds" : [`+`"`+jane+`"] }`, "Idempotency-Key", "same")
		if first.status != 202 || !bytes.Equal(first.body, again.body) || first.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%s, then %s", first.body, again.body)
		}
		again.golden(t, "enrich-replayed")
		c.call("POST", "/sourcing/enrich", `{"profileIds":["other"]}`, "Idempotency-Key", "same").golden(t, "enrich-key-reused")
	})
	t.Run("while the first use of a key is at work, the second waits and is told to come back", func(t *testing.T) {
		ctx := context.Background()
		tx, err := h.db.Bun.BeginTx(ctx, nil)
		must(t, err)
		defer func() { _ = tx.Rollback() }()
		_, err = tx.ExecContext(ctx, `INSERT INTO idempotency_keys (company_id, operation, key, fingerprint, resource_id) VALUES (?, 'startEnrichment', 'busy', 'x', 'enr_x')`, c.company.ID)
		must(t, err)
		c.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q]}`, jane), "Idempotency-Key", "busy").golden(t, "enrich-key-in-progress")
	})
	t.Run("what is refused says why", func(t *testing.T) {
		deaf, _ := c.hook("https://hooks.example.com/in", `["PING"]`)
		theirs, _ := h.tenant(1).hook("https://hooks.example.com/in", `["ENRICH_COMPLETED"]`)
		poor := h.tenant(1)
		postpaid := h.keyOf(h.newCompany("Postpaid", 0, billing.Postpaid), access.NewKey{})
		_, err := h.db.Bun.ExecContext(context.Background(), "UPDATE billing_accounts SET credit_limit = 1 WHERE company_id = ?", postpaid.company.ID)
		must(t, err)
		for name, r := range map[string]reply{
			"enrich-402-prepaid":       poor.call("POST", "/sourcing/enrich", `{"profileIds":["a","b","a"]}`),
			"enrich-402-postpaid":      postpaid.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q,%q]}`, postpaid.person("A B"), postpaid.person("C D"))),
			"enrich-404-webhook":       c.call("POST", "/sourcing/enrich", `{"profileIds":["a"],"webhookId":"`+unknownUUID+`"}`),
			"enrich-403-webhook":       c.call("POST", "/sourcing/enrich", `{"profileIds":["a"],"webhookId":"`+theirs+`"}`),
			"enrich-422-webhook":       c.call("POST", "/sourcing/enrich", `{"profileIds":["a"],"webhookId":"`+deaf+`"}`),
			"enrich-400-none":          c.call("POST", "/sourcing/enrich", `{}`),
			"enrich-400-eleven":        c.call("POST", "/sourcing/enrich", `{"profileIds":["`+strings.Repeat(`x","`, 10)+`y"]}`),
			"enrich-400-several":       c.call("POST", "/sourcing/enrich", `{"profileIds":7,"webhookId":"hook"}`),
			"enrich-400-empty-id":      c.call("POST", "/sourcing/enrich", `{"profileIds":["a",""]}`),
			"enrich-400-not-json":      c.call("POST", "/sourcing/enrich", `profileIds=a`),
			"enrich-400-media":         c.call("POST", "/sourcing/enrich", `{}`, "Content-Type", "text/plain"),
			"enrich-400-key":           c.call("POST", "/sourcing/enrich", `{"profileIds":["a"]}`, "Idempotency-Key", "two words"),
			"enrich-413":               c.call("POST", "/sourcing/enrich", `{"a":"`+strings.Repeat("x", maxBody)+`"}`),
			"results-404":              c.call("GET", "/sourcing/enrich/"+unknownRun+"/results", ""),
			"results-404-malformed":    c.call("GET", "/sourcing/enrich/req_123/results", ""),
			"enrich-404-not-served":    c.call("POST", "/sourcing", `{}`),
			"enrich-404-method":        c.call("PUT", "/sourcing/enrich", `{}`),
			"enrich-404-v1":            c.call("GET", "/v1/anything", ""),
			"enrich-404-company":       c.call("GET", "/company", ""),
			"enrich-404-jobs":          c.call("GET", "/v1/jobs/1", ""),
			"enrich-404-preview":       c.call("GET", "/sourcing/preview", ""),
			"enrich-404-delivery-log":  c.call("GET", "/webhooks/"+deaf+"/deliveries", ""),
			"enrich-404-search-result": c.call("GET", "/sourcing/"+unknownUUID+"/results", ""),
		} {
			r.golden(t, name)
		}
	})
	t.Run("both mounts answer the same bytes", func(t *testing.T) {
		run := c.started(jane)
		c.polled(run)
		for _, path := range []string{"/sourcing/enrich/" + run + "/results", "/webhooks", "/billing/usage?start=2025-01-01&end=2025-01-31", "/profiles/" + jane, "/company", "/sourcing/enrich/x/results"} {
			a, b := c.call("GET", path, ""), c.call("GET", "/v1"+path, "")
			if a.status != b.status || blankTimes(a.body) != blankTimes(b.body) {
				t.Errorf("%s:\n%d %s\n%d %s", path, a.status, a.body, b.status, b.body)
			}
		}
		if r := c.call("GET", "/v1/company", ""); r.status != 404 || r.header.Get("X-RateLimit-Limit-Minute") != "600" {
			t.Errorf("%d %v", r.status, r.header)
		}
	})
}

// blankTimes hides the envelope's own timestamp.
func blankTimes(b []byte) string { return stable(string(b)) }

func TestKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	paths := [][2]string{
		{"POST", "/sourcing/enrich"}, {"GET", "/sourcing/enrich/" + unknownRun + "/results"}, {"POST", "/sourcing/render-html"},
		{"GET", "/webhooks"}, {"POST", "/webhooks"}, {"GET", "/webhooks/x"}, {"PATCH", "/webhooks/x"}, {"DELETE", "/webhooks/x"},
		{"POST", "/webhooks/x/test"}, {"POST", "/webhooks/x/reset-circuit"}, {"GET", "/billing/usage"}, {"POST", "/profiles"}, {"GET", "/profiles/x"},
		{"POST", "/sourcing/enrich/x/cancel"}, {"GET", "/sourcing/enrich/x/events"}, {"GET", "/company"}, {"GET", "/v1/nothing"},
	}
	send := func(c *tenant, at [2]string, headers ...string) reply {
		body := ""
		if at[0] == "POST" || at[0] == "PATCH" {
			body = `{"broken`
		}
		return c.call(at[0], at[1], body, headers...)
	}
	revoked := h.keyOf(&c.company, access.NewKey{})
	_, err := h.Access.Revoke(context.Background(), "", revoked.key.ID)
	must(t, err)
	soon := h.keyOf(&c.company, access.NewKey{ExpiresAt: ptr(time.Now().Add(time.Hour))})
	_, err = h.db.Bun.ExecContext(context.Background(), "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = ?", soon.key.ID)
	must(t, err)
	t.Run("no key that holds: 401 with one body, before anything of the request is read", func(t *testing.T) {
		for _, at := range paths {
			plain := send(c, at, "Authorization", "")
			plain.expect(t, 401, "INVALID_API_KEY")
			for name, r := range map[string]reply{
				"unknown": send(c, at, "Authorization", "Bearer sk_unknown"), "mistyped": send(c, at, "Authorization", "Bearer "+c.token[:len(c.token)-1]+"_"),
				"basic": send(c, at, "Authorization", "Basic "+c.token), "revoked": send(revoked, at), "expired": send(soon, at),
			} {
				if r.status != 401 || blankTimes(r.body) != blankTimes(plain.body) || r.header.Get("X-RateLimit-Limit-Minute") != "" || r.header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s on %v: %d %s", name, at, r.status, r.body)
				}
			}
		}
		send(c, paths[0], "Authorization", "").golden(t, "401")
		send(c, paths[3], "Authorization", "").golden(t, "401-webhooks")
		send(c, paths[11], "Authorization", "").golden(t, "401-problem")
	})
	t.Run("a suspended key is told when and why", func(t *testing.T) {
		suspended := h.keyOf(&c.company, access.NewKey{})
		_, err := h.Access.Suspend(context.Background(), "", suspended.key.ID, "The invoice of May is open")
		must(t, err)
		send(suspended, paths[0]).golden(t, "401-suspended")
	})
	t.Run("a scope that is missing is named, before the body is read", func(t *testing.T) {
		none := h.keyOf(&c.company, access.NewKey{Scopes: []access.Scope{access.PrivacyWrite}})
		scopes := map[string]string{"/webhooks": "webhooks", "/billing": "read:billing", "/sourcing": "enrich:write", "/profiles": "enrich:"}
		for _, at := range paths[:15] {
			r := send(none, at)
			r.expect(t, 403, "INSUFFICIENT_PERMISSIONS")
			for prefix, scope := range scopes {
				if strings.HasPrefix(at[1], prefix) && !strings.Contains(string(r.body), scope) {
					t.Errorf("%v: %s", at, r.body)
				}
			}
			if r.header.Get("X-RateLimit-Limit-Minute") == "" {
				t.Errorf("no limits on %v", at)
			}
		}
		send(none, paths[0]).golden(t, "403-scope")
		send(none, paths[3]).golden(t, "403-scope-webhooks")
		send(none, paths[11]).golden(t, "403-scope-problem")
		reader := h.keyOf(&c.company, access.NewKey{Scopes: []access.Scope{access.EnrichRead}})
		reader.call("GET", "/sourcing/enrich/"+unknownRun+"/results", "").expect(t, 404, "REQUEST_NOT_FOUND")
		reader.call("POST", "/sourcing/enrich", `{}`).expect(t, 403, "INSUFFICIENT_PERMISSIONS")
	})
	t.Run("an address that is not allowed is denied without saying why", func(t *testing.T) {
		elsewhere := h.keyOf(&c.company, access.NewKey{AllowedIPs: []string{"10.1.0.0/16"}})
		send(elsewhere, paths[0]).golden(t, "403-address")
		here := h.keyOf(&c.company, access.NewKey{AllowedIPs: []string{"10.1.0.0/16", "127.0.0.1"}})
		here.call("GET", "/webhooks", "").expect(t, 200, "")
	})
}

func TestManagingKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	a, b, foreign := h.newCompany("A", 5, billing.Prepaid), h.newCompany("B", 5, billing.Prepaid), h.newCompany("C", 5, billing.Prepaid)
	ats := h.keyOf(a, access.NewKey{Manages: []string{a.ID, b.ID}})
	query := func(path string, c *access.Company) string { return path + "?companyId=" + c.ID }
	inB := h.keyOf(b, access.NewKey{})
	jane := inB.person("Jane Smith")
	start := fmt.Sprintf(`{"profileIds":[%q]}`, jane)

	t.Run("must name a company that they manage", func(t *testing.T) {
		ats.call("POST", "/sourcing/enrich", start).golden(t, "ats-400-company")
		ats.call("POST", query("/sourcing/enrich", foreign), start).golden(t, "ats-403-company")
		ats.call("POST", "/sourcing/enrich?companyId=nonsense", start).expect(t, 403, "RESOURCE_ACCESS_DENIED")
		ats.call("GET", "/sourcing/enrich/"+unknownRun+"/results", "").expect(t, 400, "VALIDATION_ERROR")
		ats.call("POST", "/sourcing/render-html", `{}`).expect(t, 400, "VALIDATION_ERROR")
		ats.call("GET", "/profiles/"+jane, "").expect(t, 400, "VALIDATION_ERROR")
	})
	t.Run("act for it, and spend its credits", func(t *testing.T) {
		r := ats.call("POST", query("/sourcing/enrich", b), start)
		r.expect(t, 202, "")
		var out struct{ RequestID string }
		r.decode(t, &out)
		inB.polled(out.RequestID)
		ats.call("GET", query("/sourcing/enrich/"+out.RequestID+"/results", b), "").expect(t, 200, "")
		ats.call("GET", query("/sourcing/enrich/"+out.RequestID+"/results", a), "").expect(t, 404, "REQUEST_NOT_FOUND")
	})
	t.Run("see the usage of all, and the totals", func(t *testing.T) {
		ats.call("GET", "/billing/usage", "").golden(t, "usage-ats")
		var one, all struct {
			Data struct {
				Companies        []struct{ CompanyName string }
				TotalCreditsUsed float64
			}
		}
		ats.call("GET", "/billing/usage", "").decode(t, &all)
		inB.call("GET", "/billing/usage", "").decode(t, &one)
		if len(all.Data.Companies) != 2 || len(one.Data.Companies) != 1 || all.Data.TotalCreditsUsed != 1 || one.Data.TotalCreditsUsed != 1 {
			t.Errorf("%+v, %+v", all, one)
		}
	})
	t.Run("have webhooks of their own, of one company or of all", func(t *testing.T) {
		events := `"url":"https://hooks.example.com/in","events":["enrich.completed","ping"]`
		ofB := ats.call("POST", "/webhooks", `{`+events+`,"companyId":"`+b.ID+`"}`)
		global := ats.call("POST", "/webhooks", `{`+events+`}`)
		ats.call("POST", "/webhooks", `{`+events+`,"companyId":"`+foreign.ID+`"}`).expect(t, 403, "RESOURCE_ACCESS_DENIED")
		var made [2]struct{ Data struct{ ID string } }
		ofB.expect(t, 201, "")
		global.expect(t, 201, "")
		ofB.decode(t, &made[0])
		global.decode(t, &made[1])
		total := func(path string) int {
			var list struct{ Data struct{ Total int } }
			ats.call("GET", path, "").decode(t, &list)
			return list.Data.Total
		}
		if total("/webhooks") != 2 || total(query("/webhooks", b)) != 1 || total(query("/webhooks", a)) != 0 {
			t.Error("the lists are wrong")
		}
		ats.call("GET", query("/webhooks", foreign), "").expect(t, 403, "RESOURCE_ACCESS_DENIED")
		for _, hook := range made {
			ats.call("GET", "/webhooks/"+hook.Data.ID, "").expect(t, 200, "")
			ats.call("PATCH", "/webhooks/"+hook.Data.ID, `{"name":"x"}`).expect(t, 200, "")
			ats.call("POST", query("/sourcing/enrich", b), fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q}`, jane, hook.Data.ID)).expect(t, 202, "")
			ats.call("POST", "/webhooks/"+hook.Data.ID+"/reset-circuit", "").expect(t, 200, "")
		}
		ats.call("POST", query("/sourcing/enrich", a), fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q}`, jane, made[0].Data.ID)).expect(t, 403, "RESOURCE_ACCESS_DENIED")
		inB.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q}`, jane, made[1].Data.ID)).expect(t, 403, "RESOURCE_ACCESS_DENIED")
		for _, hook := range made {
			ats.call("DELETE", "/webhooks/"+hook.Data.ID, "").expect(t, 204, "")
		}
	})
	t.Run("a standard key ignores companyId", func(t *testing.T) {
		inB.call("POST", query("/sourcing/enrich", foreign), start).expect(t, 202, "")
	})
}

// limited is a key with figures of its own.
func (h *house) limited(company *access.Company, l access.Limits, in access.NewKey) *tenant {
	h.t.Helper()
	c := h.keyOf(company, in)
	_, err := h.Access.SetKeyLimits(context.Background(), "", c.key.ID, &l)
	must(h.t, err)
	return c
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]Open{"429": {}, "429-envelope": {LimitEnvelope: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(a *API) { a.Open = open })
			company := h.newCompany("Limited", 5, billing.Prepaid)
			c := h.limited(company, access.Limits{PerMinute: 2, PerHour: 1000, Burst: 2}, access.NewKey{})
			first := c.call("GET", "/webhooks", "")
			first.golden(t, "limits-headers")
			c.call("GET", "/webhooks", "").expect(t, 200, "")
			for _, at := range [][3]string{
				{"POST", "/sourcing/enrich", ""}, {"GET", "/webhooks", "-webhooks"}, {"GET", "/billing/usage", "-billing"}, {"POST", "/profiles", "-problem"},
			} {
				r := c.call(at[0], at[1], "")
				r.expect(t, 429, "RATE_LIMIT_EXCEEDED")
				r.golden(t, name+at[2])
				if after := r.header.Get("Retry-After"); !strings.Contains(string(r.body), `"retryAfter":`+after+`,`) || after == "0" {
					t.Errorf("Retry-After %q in %s", after, r.body)
				}
			}
			none := h.limited(company, access.Limits{PerMinute: 1, PerHour: 1, Burst: 1}, access.NewKey{Scopes: []access.Scope{access.PrivacyWrite}})
			none.call("GET", "/webhooks", "")
			none.call("GET", "/webhooks", "").expect(t, 403, "INSUFFICIENT_PERMISSIONS")
		})
	}
	t.Run("the hour", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil)
		c := h.limited(h.newCompany("Limited", 5, billing.Prepaid), access.Limits{PerMinute: 50, PerHour: 1, Burst: 50}, access.NewKey{})
		c.call("GET", "/webhooks", "").expect(t, 200, "")
		r := c.call("GET", "/webhooks", "")
		r.expect(t, 429, "RATE_LIMIT_EXCEEDED")
		if !strings.Contains(string(r.body), `"limit":1,"remaining":0`) {
			t.Errorf("%s", r.body)
		}
	})
	t.Run("121 polls a minute", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil)
		c := h.tenant(1)
		for range 120 {
			c.call("GET", "/sourcing/enrich/"+unknownRun+"/results", "").expect(t, 404, "REQUEST_NOT_FOUND")
		}
		var r reply
		eventually(t, "a refusal", func() bool {
			r = c.call("GET", "/sourcing/enrich/"+unknownRun+"/results", "")
			return r.status == 429
		})
		if !strings.Contains(string(r.body), `"limit":120`) {
			t.Errorf("%s", r.body)
		}
		c.call("GET", "/webhooks", "").expect(t, 200, "")
	})
	t.Run("bad keys from one address", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, func(a *API) { a.Access.Failures = 3 })
		c := h.tenant(1)
		c.token = "sk_nobody"
		for range 3 {
			c.call("GET", "/webhooks", "").expect(t, 401, "INVALID_API_KEY")
		}
		eventually(t, "a refusal", func() bool { return c.call("GET", "/webhooks", "").status == 429 })
		r := c.call("GET", "/webhooks", "")
		if r.header.Get("X-RateLimit-Limit-Minute") != "" || r.header.Get("Retry-After") == "" {
			t.Errorf("%v", r.header)
		}
		r.golden(t, "429-bad-keys")
	})
}

// TestOrder puts two faults into each request and expects the one that the
// contract checks first: 401, 403, company, 429, 400, replay, webhook, 402.
func TestOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(2)
	const path = "/sourcing/enrich"
	unscoped := []access.Scope{access.BillingRead}
	revoked := h.keyOf(&c.company, access.NewKey{Scopes: unscoped})
	_, err := h.Access.Revoke(context.Background(), "", revoked.key.ID)
	must(t, err)
	revoked.call("POST", path, `{`).expect(t, 401, "INVALID_API_KEY")
	h.keyOf(&c.company, access.NewKey{Scopes: unscoped, Manages: []string{c.company.ID}}).call("POST", path, `{`).expect(t, 403, "INSUFFICIENT_PERMISSIONS")
	ats := h.limited(&c.company, access.Limits{PerMinute: 1, PerHour: 1, Burst: 1}, access.NewKey{Manages: []string{c.company.ID}})
	ats.call("POST", path+"?companyId="+c.company.ID, `{`).expect(t, 400, "VALIDATION_ERROR")
	ats.call("POST", path, `{}`).expect(t, 400, "VALIDATION_ERROR") // the company, though the limit is reached
	ats.call("POST", path+"?companyId="+unknownUUID, `{`).expect(t, 403, "RESOURCE_ACCESS_DENIED")
	ats.call("POST", path+"?companyId="+c.company.ID, `{`).expect(t, 429, "RATE_LIMIT_EXCEEDED")

	jane := c.person("Jane Smith")
	hook, _ := c.hook("https://hooks.example.com/in", `["ENRICH_COMPLETED"]`)
	body := fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q}`, jane, hook)
	c.call("POST", path, body, "Idempotency-Key", "k").expect(t, 202, "")
	c.call("POST", path, `{"profileIds":[]}`, "Idempotency-Key", "k").expect(t, 400, "VALIDATION_ERROR")
	c.call("DELETE", "/webhooks/"+hook, "").expect(t, 204, "")
	c.call("POST", path, body, "Idempotency-Key", "k").expect(t, 202, "") // a replay, though the webhook is gone
	c.call("POST", path, fmt.Sprintf(`{"profileIds":[%q,"b"],"webhookId":%q}`, jane, hook), "Idempotency-Key", "k").expect(t, 422, "IDEMPOTENCY_KEY_REUSED")
	c.call("POST", path, fmt.Sprintf(`{"profileIds":["a","b","c"],"webhookId":%q}`, hook)).expect(t, 404, "RESOURCE_NOT_FOUND")
	c.call("POST", path, `{"profileIds":["a","b","c"]}`, "Idempotency-Key", "poor").expect(t, 402, "INSUFFICIENT_CREDITS")
	c.call("POST", path, `{"profileIds":["a"]}`, "Idempotency-Key", "poor").expect(t, 202, "") // a refusal leaves the key free
}
