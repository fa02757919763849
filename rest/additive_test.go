package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/access"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]Open{"usage": {}, "usage-minutes": {MinutesCompanies: []string{"*"}}, "usage-other-key": {CostKey: "sourcing", MinutesPerCredit: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(a *API) { a.Open = open })
			c := h.tenant(10)
			c.call("GET", "/billing/usage", "").golden(t, name+"-none")
			c.polled(c.started(c.person("Jane Smith"), c.person("Nobody Known"), c.person("Ada Berg"), c.person("Bo Ek")))
			today := time.Now().UTC().Format(time.DateOnly)
			c.call("GET", "/billing/usage", "").golden(t, name)
			for query, events := range map[string]int{
				"?start=" + today + "&end=" + today: 3, "?end=" + today: 3, "?start=2024-01-01&end=2024-12-31": 0,
				"?start=" + time.Now().UTC().Format(time.RFC3339): 3,
			} {
				var out struct {
					Data struct {
						BreakdownByCostKey []struct{ Events int }
					}
				}
				c.call("GET", "/billing/usage"+query, "").decode(t, &out)
				got := 0
				for _, row := range out.Data.BreakdownByCostKey {
					got += row.Events
				}
				if got != events {
					t.Errorf("%s: %d events instead of %d", query, got, events)
				}
			}
		})
	}
	t.Run("a range that makes no sense is refused", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil)
		c := h.tenant(10)
		for _, query := range []string{
			"?start=yesterday", "?end=2024-13-01", "?start=2024-02-01&end=2024-01-01", "?start=2023-01-01&end=2024-01-02", "?start=0001-01-01&end=0001-01-02", "?start=%00",
		} {
			c.call("GET", "/billing/usage"+query, "").expect(t, 400, "VALIDATION_ERROR")
		}
		c.call("GET", "/billing/usage?start=2024-01-01&end=2024-12-31", "").expect(t, 200, "") // 366 days
		c.call("GET", "/billing/usage?start=2023-01-01&end=2024-01-02", "").golden(t, "usage-400")
	})
	t.Run("a key that manages companies of both kinds sees both units", func(t *testing.T) {
		t.Parallel()
		var minutes string
		h := newHouse(t, nil)
		a, b := h.newCompany("A", 5, billing.Prepaid), h.newCompany("B", 5, billing.Prepaid)
		minutes = b.ID
		h.Open.MinutesCompanies = []string{minutes}
		for _, company := range []*access.Company{a, b} {
			c := h.keyOf(company, access.NewKey{})
			c.polled(c.started(c.person("Jane Smith")))
		}
		h.keyOf(a, access.NewKey{Manages: []string{a.ID, b.ID}}).call("GET", "/billing/usage", "").golden(t, "usage-both")
	})
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	bring := `{"profiles":[
		{"externalId":"profile_abc123","name":"Jane Smith","headline":"Engineer","currentCompany":"Stripe","skills":["Go"],"emails":["jane@example.com"],"links":["janesmith.dev"],"roleBrief":{"title":"Backend"},"metadata":{"a":[1]}},
		{"profileId":"profile_def456","fullName":"Ada Berg","profileUrl":"https://www.linkedin.com/in/adaberg","title":"CTO","companyName":"Berg AB","country":"SE"},
		{"externalId":"","name":"","emails":["nonsense"]}, {"externalId":"x","name":9}]}`
	r := c.call("POST", "/profiles", bring)
	r.golden(t, "profiles")
	c.call("POST", "/profiles", bring, "Idempotency-Key", "one").golden(t, "profiles-again")
	c.call("POST", "/profiles", `{"profiles":[{"externalId":"y","name":"Y"}]}`, "Idempotency-Key", "one").golden(t, "profiles-key-reused")
	var out struct {
		Data struct {
			Profiles []struct{ ProfileID string }
		}
	}
	r.decode(t, &out)
	id := out.Data.Profiles[0].ProfileID
	c.polled(c.started(id))
	c.call("GET", "/profiles/"+id, "").golden(t, "profile")
	t.Run("of a person who objected, only that is shown", func(t *testing.T) {
		_, _, err := h.Enrichment.Suppress(c.with(), enrichment.PersonRef{ProfileID: &out.Data.Profiles[1].ProfileID}, "asked")
		must(t, err)
		c.call("GET", "/profiles/"+out.Data.Profiles[1].ProfileID, "").golden(t, "profile-suppressed")
	})
	for name, r := range map[string]reply{
		"profiles-400":        c.call("POST", "/profiles", `{"profiles":[{"externalId":"","name":""}]}`),
		"profiles-400-none":   c.call("POST", "/profiles", `{"profiles":[]}`),
		"profiles-400-type":   c.call("POST", "/profiles", `{"profiles":{}}`),
		"profiles-400-items":  c.call("POST", "/profiles", `{"profiles":[7,null,{"externalId":"z","name":"Z"}]}`),
		"profiles-400-many":   c.call("POST", "/profiles", `{"profiles":[`+strings.Repeat("{},", 100)+`{}]}`),
		"profile-404":         c.call("GET", "/profiles/prof_unknown", ""),
		"profile-404-foreign": h.tenant(1).call("GET", "/profiles/"+id, ""),
	} {
		r.golden(t, name)
	}
	c.call("GET", "/profiles/%00%ff", "").expect(t, 404, "RESOURCE_NOT_FOUND")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	gate := h.play.gate("gate-one")
	run := c.started(c.person("Gate One"))
	eventually(t, "the profile to be at work", func() bool {
		r, err := h.Enrichment.Run(c.with(), run)
		must(t, err)
		return r.Progress.Active == 1
	})
	c.call("POST", "/sourcing/enrich/"+run+"/cancel", `{"reason":"No longer needed"}`).golden(t, "cancel-processing")
	close(gate)
	c.polled(run)
	c.call("POST", "/sourcing/enrich/"+run+"/cancel", "").golden(t, "cancel-again")
	ended := c.started("prof_nobody")
	c.call("POST", "/sourcing/enrich/"+ended+"/cancel", "").golden(t, "cancel-409")
	c.call("POST", "/sourcing/enrich/"+unknownRun+"/cancel", "").golden(t, "cancel-404")
	c.call("POST", "/sourcing/enrich/"+run+"/cancel", `{"reason":7}`).golden(t, "cancel-400")
	h.tenant(1).call("POST", "/sourcing/enrich/"+run+"/cancel", "").expect(t, 404, "REQUEST_NOT_FOUND")
}

// streamed is one event of a stream.
type streamed struct{ event, id, data string }

// stream reads a run's events until the stream ends, handing each to see.
func (c *tenant) stream(run string, see func(streamed), headers ...string) (status int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", c.server.URL+"/v1/sourcing/enrich/"+run+"/events", nil)
	must(c.t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	must(c.t, err)
	defer res.Body.Close()
	if ct := res.Header.Get("Content-Type"); res.StatusCode == 200 && ct != "text/event-stream; charset=utf-8" {
		c.t.Errorf("the stream is %q", ct)
	}
	var e streamed
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			e.event = value
		case "id":
			e.id = value
		case "data":
			e.data += value
		case "":
			if e.event != "" {
				see(e)
			}
			e = streamed{}
		}
	}
	must(c.t, lines.Err())
	return res.StatusCode
}

func TestEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)

	t.Run("a run is followed from its first event to its last, and resumed behind any", func(t *testing.T) {
		run := c.started(c.person("Jane Smith"), "prof_unknown")
		var all []streamed
		if status := c.stream(run, func(e streamed) { all = append(all, e) }); status != 200 {
			t.Fatalf("status %d", status)
		}
		last := all[len(all)-1]
		if last.event != "complete" || last.data != "" {
			t.Errorf("the stream ends with %+v", last)
		}
		seen := map[string]bool{}
		for i, e := range all[:len(all)-1] {
			seen[e.event] = true
			var body map[string]any
			if err := json.Unmarshal([]byte(e.data), &body); err != nil || e.id != strconv.Itoa(i+1) || body["sequence"] != float64(i+1) {
				t.Fatalf("event %d is %+v", i+1, e)
			}
		}
		for _, kind := range []string{"status", "stage", "profile", "source", "credits"} {
			if !seen[kind] {
				t.Errorf("no event %s", kind)
			}
		}
		if end := all[len(all)-2]; end.event != "status" || !strings.HasSuffix(end.data, `"status":"completed"}`) {
			t.Errorf("the last event is %+v", end)
		}
		var rest []streamed
		c.stream(run, func(e streamed) { rest = append(rest, e) }, "Last-Event-ID", "3")
		if fmt.Sprint(rest) != fmt.Sprint(all[3:]) {
			t.Errorf("behind 3 come %d events instead of %d", len(rest), len(all)-3)
		}
	})
	t.Run("what is refused is a problem", func(t *testing.T) {
		run := c.started("prof_unknown")
		c.call("GET", "/sourcing/enrich/"+run+"/events", "", "Last-Event-ID", "x").golden(t, "events-400")
		c.call("GET", "/sourcing/enrich/"+unknownRun+"/events", "").golden(t, "events-404")
		h.tenant(1).call("GET", "/sourcing/enrich/"+run+"/events", "").expect(t, 404, "REQUEST_NOT_FOUND")
	})
	t.Run("a key that is revoked loses its streams", func(t *testing.T) {
		doomed := h.keyOf(&c.company, access.NewKey{})
		gate := h.play.gate("gate-two")
		defer close(gate)
		run := c.started(c.person("Gate Two"))
		var end streamed
		revoked := false
		doomed.stream(run, func(e streamed) {
			end = e
			if !revoked {
				revoked = true
				_, err := h.Access.Revoke(context.Background(), "", doomed.key.ID)
				must(t, err)
			}
		})
		if end.event != "error" || !strings.Contains(end.data, "INVALID_API_KEY") {
			t.Errorf("the stream ends with %+v", end)
		}
	})
	t.Run("a server that stops ends them, and takes no more", func(t *testing.T) {
		gate := h.play.gate("gate-three")
		defer close(gate)
		run := c.started(c.person("Gate Three"))
		drained := false
		var end streamed
		c.stream(run, func(e streamed) {
			end = e
			if !drained {
				drained = true
				h.Drain()
			}
		})
		if end.event == "complete" {
			t.Error("the stream says that the run ended")
		}
		c.call("GET", "/sourcing/enrich/"+run+"/events", "").expect(t, 503, "SERVICE_UNAVAILABLE")
	})
}
