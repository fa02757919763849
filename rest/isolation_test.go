package rest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/pg"
)

// TestIsolation asks for what is one's own, somebody else's and nobody's, by
// every route that names a thing, with a standard and a managing key.
func TestIsolation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	mine, theirs := h.tenant(10), h.tenant(10)
	ats := h.keyOf(&mine.company, access.NewKey{Manages: []string{mine.company.ID}})
	of := func(c *tenant) (run, hook, profile string) {
		profile = c.person("Jane Smith")
		run = c.started(profile)
		c.polled(run)
		hook, _ = c.hook("https://hooks.example.com/in", `["PING","ENRICH_COMPLETED"]`)
		return run, hook, profile
	}
	myRun, myHook, myProfile := of(mine)
	theirRun, theirHook, theirProfile := of(theirs)

	t.Run("runs and profiles: foreign is as unknown, to the byte", func(t *testing.T) {
		for _, c := range []*tenant{mine, ats} {
			for _, at := range [][2]string{
				{"GET", "/sourcing/enrich/%s/results?companyId=" + mine.company.ID}, {"GET", "/sourcing/enrich/%s/events?companyId=" + mine.company.ID},
				{"POST", "/sourcing/enrich/%s/cancel?companyId=" + mine.company.ID},
			} {
				foreign, unknown := c.call(at[0], fmt.Sprintf(at[1], theirRun), ""), c.call(at[0], fmt.Sprintf(at[1], unknownRun), "")
				foreign.expect(t, 404, "REQUEST_NOT_FOUND")
				if blankTimes(foreign.body) != blankTimes(unknown.body) {
					t.Errorf("%v: %s and %s", at, foreign.body, unknown.body)
				}
			}
			c.call("GET", "/sourcing/enrich/"+myRun+"/results?companyId="+mine.company.ID, "").expect(t, 200, "")
			q := "?companyId=" + mine.company.ID
			c.call("GET", "/profiles/"+myProfile+q, "").expect(t, 200, "")
			foreign, unknown := c.call("GET", "/profiles/"+theirProfile+q, ""), c.call("GET", "/profiles/prof_00000000000000000000000000"+q, "")
			foreign.expect(t, 404, "RESOURCE_NOT_FOUND")
			if blankTimes(foreign.body) != blankTimes(unknown.body) {
				t.Errorf("%s and %s", foreign.body, unknown.body)
			}
			rendered := c.call("POST", "/sourcing/render-html"+q, fmt.Sprintf(`{"profileIds":[%q,"prof_00000000000000000000000000"]}`, theirProfile))
			if want := fmt.Sprintf(`{"success":true,"renderedCount":0,"data":[{"profileId":%q,"success":false,"errorCode":"PROFILE_NOT_FOUND"},{"profileId":"prof_00000000000000000000000000","success":false,"errorCode":"PROFILE_NOT_FOUND"}]}`, theirProfile); string(rendered.body) != want {
				t.Errorf("%s", rendered.body)
			}
		}
	})
	t.Run("and as much work, so that the time tells nothing either", func(t *testing.T) {
		once := func(r route, id string) int {
			ctx, count := pg.CountStatements(context.Background())
			req := httptest.NewRequest(r.method, "/", nil).WithContext(ctx)
			req.Header.Set("Authorization", "Bearer "+mine.token)
			req.SetPathValue("id", id)
			w := httptest.NewRecorder()
			h.serve(r).ServeHTTP(w, req)
			if w.Code != 404 {
				t.Errorf("%s %s: %d %s", r.method, r.path, w.Code, w.Body)
			}
			return count.N()
		}
		// Now and then a connection prepares, or the limits ask for a lease: the least of a few tries is the work itself.
		statements := func(r route, id string) int {
			least := once(r, id)
			for range 9 {
				least = min(least, once(r, id))
			}
			return least
		}
		for _, r := range routes {
			theirs, nobodys := theirRun, unknownRun
			switch {
			case strings.HasPrefix(r.path, "/profiles/{id}"):
				theirs, nobodys = theirProfile, "prof_00000000000000000000000000"
			case !strings.HasPrefix(r.path, "/sourcing/enrich/{id}"):
				continue
			}
			if a, b := statements(r, theirs), statements(r, nobodys); a != b {
				t.Errorf("%s %s: %d statements for a foreign one, %d for an unknown one", r.method, r.path, a, b)
			}
		}
	})
	t.Run("webhooks: foreign is 403, unknown 404", func(t *testing.T) {
		for _, at := range [][3]string{
			{"GET", "", ""}, {"PATCH", "", `{"name":"x"}`}, {"POST", "/test", ""}, {"POST", "/reset-circuit", ""}, {"DELETE", "", ""},
		} {
			for _, c := range []*tenant{mine, ats} {
				c.call(at[0], "/webhooks/"+theirHook+at[1], at[2]).expect(t, 403, "RESOURCE_ACCESS_DENIED")
				c.call(at[0], "/webhooks/"+unknownUUID+at[1], at[2]).expect(t, 404, "RESOURCE_NOT_FOUND")
			}
			ats.call(at[0], "/webhooks/"+myHook+at[1], at[2]).expect(t, 403, "RESOURCE_ACCESS_DENIED") // it is another key's
		}
		mine.call("GET", "/webhooks/"+myHook, "").expect(t, 200, "")
		for hook, want := range map[string]int{theirHook: 403, unknownUUID: 404, myHook: 202} {
			if r := mine.call("POST", "/sourcing/enrich", fmt.Sprintf(`{"profileIds":[%q],"webhookId":%q}`, myProfile, hook)); r.status != want {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
	})
	t.Run("companies", func(t *testing.T) {
		for company, want := range map[string]int{mine.company.ID: 404, theirs.company.ID: 403, unknownUUID: 403, "": 400} {
			if r := ats.call("GET", "/sourcing/enrich/"+unknownRun+"/results?companyId="+company, ""); r.status != want {
				t.Errorf("%q: %d %s", company, r.status, r.body)
			}
		}
	})
	t.Run("a test key sees none of what live keys made", func(t *testing.T) {
		test := h.keyOf(&mine.company, access.NewKey{Test: true})
		test.call("GET", "/sourcing/enrich/"+myRun+"/results", "").expect(t, 404, "REQUEST_NOT_FOUND")
		test.call("GET", "/webhooks/"+myHook, "").expect(t, 403, "RESOURCE_ACCESS_DENIED")
		run := test.started("profile_test_success", "profile_test_no_match")
		test.polled(run).golden(t, "results-sandbox")
		mine.call("GET", "/sourcing/enrich/"+run+"/results", "").expect(t, 404, "REQUEST_NOT_FOUND")
	})
}
