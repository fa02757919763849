package rest

import (
	"context"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/access"
)

// limitHeaders are the six that every answer to a key that was identified carries.
var limitHeaders = []string{
	"X-RateLimit-Limit-Minute", "X-RateLimit-Limit-Hour", "X-RateLimit-Remaining-Minute", "X-RateLimit-Remaining-Hour",
	"X-RateLimit-Reset-Minute", "X-RateLimit-Reset-Hour",
}

// tells says how many of the six headers an answer has; it may have all or none.
func (r reply) tells(t *testing.T, all bool) {
	t.Helper()
	n := 0
	for _, name := range limitHeaders {
		if r.header.Get(name) != "" {
			n++
		}
	}
	if want := map[bool]int{true: len(limitHeaders)}[all]; n != want {
		t.Errorf("%s %s, status %d: %d of the six limit headers instead of %d", r.method, r.path, r.status, n, want)
	}
}

// TestLimitHeaders goes over all routes, and beside them, in every class of
// answer: whoever is identified by a key, suspended or out of place too, is
// told its limits; nobody else is, so that no answer says whether a key exists.
func TestLimitHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	suspended, elsewhere := h.keyOf(&c.company, access.NewKey{}), h.keyOf(&c.company, access.NewKey{AllowedIPs: []string{"10.1.0.0/16"}})
	_, err := h.Access.Suspend(context.Background(), "", suspended.key.ID, "")
	must(t, err)
	revoked := h.keyOf(&c.company, access.NewKey{})
	_, err = h.Access.Revoke(context.Background(), "", revoked.key.ID)
	must(t, err)
	unscoped := h.keyOf(&c.company, access.NewKey{Scopes: []access.Scope{access.PrivacyWrite}})
	ats := h.keyOf(&c.company, access.NewKey{Manages: []string{c.company.ID}})
	spent := h.limited(&c.company, access.Limits{PerMinute: 1, PerHour: 1000, Burst: 1}, access.NewKey{})
	spent.call("GET", "/webhooks", "").expect(t, 200, "")
	unknown := *c
	unknown.token = "sk_nobody"
	hook, _ := c.hook("https://hooks.example.com/in", `["PING","ENRICH_COMPLETED"]`)

	type at struct{ method, path string }
	all := []at{}
	for _, prefix := range mounts {
		for _, r := range routes {
			all = append(all, at{r.method, prefix + strings.ReplaceAll(r.path, "{id}", unknownRun)})
		}
		all = append(all, at{"GET", prefix + "/company"}, at{"PUT", prefix + "/webhooks"}, at{"OPTIONS", prefix + "/sourcing/enrich"}, at{"HEAD", prefix + "/webhooks"}, at{"HEAD", prefix + "/sourcing/enrich"})
	}
	all = append(all, at{"GET", "/v1"})
	for _, at := range all {
		routed := !strings.HasSuffix(at.path, "/company") && at.method != "PUT" && at.method != "OPTIONS" && at.path != "/v1" && (at.method != "HEAD" || strings.HasSuffix(at.path, "/webhooks"))
		is := func(c *tenant, status int, told bool) {
			t.Helper()
			r := c.once(at.method, at.path)
			if r.status != status {
				t.Errorf("%s %s: %d instead of %d: %s", at.method, at.path, r.status, status, r.body)
			}
			r.tells(t, told)
		}
		is(&unknown, 401, false)
		is(revoked, 401, false)
		is(suspended, 401, true)
		is(elsewhere, 403, true)
		if routed {
			is(unscoped, 403, true)
			is(spent, 429, true)
		} else {
			is(c, 404, true)
		}
		c.once(at.method, at.path).tells(t, true) // 400, 404, or a success
		ats.once(at.method, at.path).tells(t, true)
	}
	t.Run("and in the classes that a route of its own gives", func(t *testing.T) {
		poor := h.tenant(0)
		for status, r := range map[int]reply{
			400: c.call("POST", "/sourcing/enrich", `{}`),
			402: poor.call("POST", "/sourcing/enrich", `{"profileIds":["a"]}`),
			202: c.call("POST", "/sourcing/enrich", `{"profileIds":["a"]}`),
			404: c.call("GET", "/webhooks/"+unknownUUID, ""),
			413: c.call("POST", "/sourcing/enrich", strings.Repeat("x", maxBody+1)),
			422: c.call("POST", "/sourcing/enrich", `{"profileIds":["a"],"webhookId":"`+hookOf(c, `["PING"]`)+`"}`),
			200: c.call("GET", "/webhooks/"+hook, ""),
			201: c.call("POST", "/webhooks", `{"url":"https://hooks.example.com/in","events":["PING"]}`),
			204: c.call("DELETE", "/webhooks/"+hook, ""),
		} {
			if r.status != status {
				t.Errorf("%d instead of %d", r.status, status)
			}
			r.tells(t, true)
		}
	})
	t.Run("and when something of ours fails", func(t *testing.T) {
		broken := newHouse(t, nil)
		k := broken.tenant(1)
		k.call("GET", "/webhooks", "").expect(t, 200, "")
		_, err := broken.db.Bun.ExecContext(context.Background(), "ALTER TABLE webhooks RENAME TO webhooks_away")
		must(t, err)
		r := k.call("GET", "/webhooks", "")
		r.expect(t, 500, "INTERNAL_ERROR")
		r.tells(t, true)
		r.golden(t, "500-webhooks")
		broken.API.Enrichment = nil // a fault of the program
		r = k.call("GET", "/sourcing/enrich/"+unknownRun+"/results", "")
		r.expect(t, 500, "INTERNAL_ERROR")
		r.tells(t, true)
		broken.Drain()
	})
	t.Run("but not on what needs no key", func(t *testing.T) {
		for _, path := range []string{"/docs", "/openapi.json"} {
			for method, status := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "OPTIONS": 405} {
				r := c.once(method, path)
				if r.status != status {
					t.Errorf("%s %s: %d", method, path, r.status)
				}
				r.tells(t, false)
			}
		}
	})
	t.Run("a key that is not served draws on nothing, however often it comes", func(t *testing.T) {
		idle := h.limited(&c.company, access.Limits{PerMinute: 2, PerHour: 2, Burst: 2}, access.NewKey{})
		_, err := h.Access.Suspend(context.Background(), "", idle.key.ID, "")
		must(t, err)
		for range 5 {
			r := idle.once("GET", "/webhooks")
			r.expect(t, 401, "API_KEY_SUSPENDED")
			if left := r.header.Get("X-RateLimit-Remaining-Hour"); left != "2" || r.header.Get("Retry-After") != "" {
				t.Errorf("%s left", left)
			}
		}
	})
}

func hookOf(c *tenant, events string) string {
	id, _ := c.hook("https://hooks.example.com/in", events)
	return id
}
