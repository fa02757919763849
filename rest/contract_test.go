package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/access"
)

// once makes one request and follows no redirect.
func (c *tenant) once(method, path string, headers ...string) reply {
	c.t.Helper()
	req, err := http.NewRequest(method, c.server.URL+path, nil)
	must(c.t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	must(c.t, err)
	defer res.Body.Close()
	return reply{method, path, res.StatusCode, res.Header, []byte(readAll(c.t, res))}
}

// TestContractPage holds the server to sentences of the contract page that a
// walk over it, line by line, found broken.
func TestContractPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	jane := c.person("Jane Smith")

	t.Run("every body is JSON: the bare prefix is a route that does not exist, not a redirect", func(t *testing.T) {
		for _, path := range []string{"/v1", "/v1/"} {
			r := c.once("GET", path)
			r.expect(t, 404, "RESOURCE_NOT_FOUND")
			must(t, r.published())
		}
	})
	t.Run("a UUID is one in capitals too", func(t *testing.T) {
		upper := strings.ToUpper
		made := c.call("POST", "/webhooks", fmt.Sprintf(`{"url":"https://hooks.example.com/in","events":["ENRICH_COMPLETED"],"companyId":%q}`, upper(c.company.ID)))
		made.expect(t, 201, "")
		var out struct{ Data struct{ ID string } }
		made.decode(t, &out)
		id := out.Data.ID
		for _, at := range [][3]string{
			{"GET", "", ""}, {"PATCH", "", `{"name":"x"}`}, {"POST", "/reset-circuit", ""}, {"POST", "/test", ""},
		} {
			c.call(at[0], "/webhooks/"+upper(id)+at[1], at[2]).expect(t, 200, "")
		}
		r := c.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q}`, jane, upper(id)))
		if r.expect(t, 202, ""); !strings.HasSuffix(string(r.body), `"webhookId":"`+id+`"}`) {
			t.Errorf("%s", r.body)
		}
		var list struct{ Data struct{ Total int } }
		c.call("GET", "/webhooks?companyId="+upper(c.company.ID), "").decode(t, &list)
		if list.Data.Total != 1 {
			t.Errorf("%d webhooks of the company", list.Data.Total)
		}
		ats := h.keyOf(&c.company, access.NewKey{Manages: []string{c.company.ID}})
		ats.call("GET", "/sourcing/enrich/"+unknownRun+"/results?companyId="+upper(c.company.ID), "").expect(t, 404, "REQUEST_NOT_FOUND")
		c.call("DELETE", "/webhooks/"+upper(id), "").expect(t, 204, "")
	})
	t.Run("a list is never null: the usage of a key that manages no company any more", func(t *testing.T) {
		other := h.newCompany("Left", 0, billing.Prepaid)
		ats := h.keyOf(&c.company, access.NewKey{Manages: []string{other.ID}})
		must(t, h.Access.Manage(context.Background(), ats.key.ID, other.ID, false))
		ats.call("GET", "/billing/usage", "").golden(t, "usage-no-company")
	})
	t.Run("HEAD of an event stream is its headers, and does not wait for the run", func(t *testing.T) {
		gate := h.play.gate("gate-head")
		defer close(gate)
		run := c.started(c.person("Gate Head"))
		r := c.once("HEAD", "/sourcing/enrich/"+run+"/events")
		if r.status != 200 || r.header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Errorf("%d %v", r.status, r.header)
		}
		if n := len(h.streams.keys()); n != 0 {
			t.Errorf("%d streams are open", n)
		}
		c.once("HEAD", "/sourcing/enrich/"+unknownRun+"/events").expect(t, 404, "")
	})
	t.Run("a 503 names the line of the log", func(t *testing.T) {
		run := c.started(jane)
		h.Drain()
		r := c.call("GET", "/sourcing/enrich/"+run+"/events", "")
		r.expect(t, 503, "SERVICE_UNAVAILABLE")
		var body struct {
			Error struct{ Details struct{ RequestID string } }
		}
		must(t, json.Unmarshal(r.body, &body))
		if id := r.header.Get("X-Request-Id"); id == "" || body.Error.Details.RequestID != id {
			t.Errorf("X-Request-Id %q, and %s", id, r.body)
		}
	})
}

// TestLengths counts characters, not bytes, at each limit of the contract and one above it.
func TestLengths(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	hook := hookOf(c, `["PING"]`)
	header := func(n int) string {
		return `{"headers":[{"name":"X-A","value":"` + strings.Repeat("é", n) + `"}]}`
	}
	for _, letter := range []string{"n", "ä", "語", "😀"} {
		long := func(n int) string { return strings.Repeat(letter, n) }
		c.call("PATCH", "/webhooks/"+hook, `{"name":"`+long(255)+`","description":"`+long(2000)+`"}`).expect(t, 200, "")
		for field, n := range map[string]int{"name": 255, "description": 2000} {
			r := c.call("PATCH", "/webhooks/"+hook, `{"`+field+`":"`+long(n+1)+`"}`)
			r.expect(t, 400, "VALIDATION_ERROR")
			if want := fmt.Sprintf(`{"field":%q,"message":"must be at most %d characters long, not %d"}`, field, n, n+1); !strings.Contains(string(r.body), want) {
				t.Errorf("%s", r.body)
			}
		}
		c.call("POST", "/sourcing/render-html", `{"profileIds":["`+long(200)+`"]}`).expect(t, 200, "")
		c.call("POST", "/sourcing/render-html", `{"profileIds":["`+long(201)+`"]}`).expect(t, 400, "VALIDATION_ERROR")
		c.call("GET", "/profiles/"+url.PathEscape(long(200)), "").expect(t, 404, "RESOURCE_NOT_FOUND")
		c.call("GET", "/profiles/"+url.PathEscape(long(201)), "").expect(t, 404, "RESOURCE_NOT_FOUND")
	}
	c.call("PATCH", "/webhooks/"+hook, header(4096)).expect(t, 200, "")
	c.call("PATCH", "/webhooks/"+hook, header(4097)).expect(t, 400, "VALIDATION_ERROR")
}
