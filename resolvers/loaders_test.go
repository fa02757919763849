package resolvers_test

import (
	"net/netip"
	"testing"

	"github.com/enrichd/enrichd/dispatch"
)

func noAddr() netip.Addr { return netip.Addr{} }

// attempted gives every delivery of the company n attempts, whose answers say which delivery, webhook and run they are of.
func (c *caller) attempted(n int) {
	c.t.Helper()
	res, err := c.db.ExecContext(c.ctx, `
		INSERT INTO delivery_attempts (delivery_id, number, started_at, duration_millis, status_code, response_headers, response_body)
		SELECT d.id, i, d.created_at + i * interval '1 second', 5, 500, '{}', convert_to(concat_ws('/', d.id, d.webhook_id, e.run_id), 'UTF8')
		  FROM deliveries d JOIN dispatch_events e ON e.id = d.event_id, generate_series(1, ?) AS i WHERE d.company_id = ?`, n, c.who.Company.ID)
	must(c.t, err)
	if rows, _ := res.RowsAffected(); rows == 0 {
		c.t.Fatal("nothing was to be delivered")
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	few, many := h.caller(1000), h.caller(1000)
	for c, runs := range map[*caller]int{few: 3, many: 50} {
		for range map[*caller]int{few: 2, many: 9}[c] {
			_, _, err := c.hooks.CreateWebhook(c.ctx, dispatch.CreateWebhookInput{URL: "https://example.com/hook", AllRuns: true, TimeoutMillis: 5000})
			must(t, err)
		}
		ids := c.people(runs * 2)
		for i := range runs {
			c.enriched(ids[2*i], ids[2*i+1])
		}
		c.attempted(3)
	}
	for name, query := range map[string]string{
		"runs with their profiles, evidence and events": `{ enrichmentRuns(first: 50) { totalCount nodes { id credits { held }
			events(first: 5) { sequence }
			profiles(first: 10) { totalCount nodes { profileId outcome profile { name suppressed lastEnrichedAt }
				candidate { name facts { evidence { source run { id status } } } } } } } } }`,
		"the ledger with its runs": `{ billingAccount { ledger(first: 50) { nodes { kind amount run { id status profiles(first: 2) { nodes { profile { name } } } } } } } }`,
		"profiles with all that is known": `{ profiles(first: 50) { totalCount nodes { name fields { name value evidence { run { id } } }
			candidate { name facts { evidence { run { id } } } } runs(first: 3) { totalCount nodes { id profiles(first: 1) { nodes { profileId } } } } } } }`,
		"deliveries with webhooks and attempts": `{ deliveries(first: 50) { nodes { id eventType webhook { id url } attempts { number statusCode responseBody }
			run { id status credits { held } profiles(first: 2) { nodes { profile { name } candidate { name } } } } } } }`,
		"webhooks with their deliveries and health": `{ webhooks(first: 50) { nodes { id health(hours: 48) { delivered failed p50Millis }
			deliveries(first: 5, status: [PENDING, RETRYING]) { nodes { id webhook { id } attempts { number } run { id status } } } } } }`,
	} {
		t.Run("of "+name+" are as many for fifty as for three", func(t *testing.T) {
			// Twice, because a connection prepares and the parser caches at the first use.
			counts := map[*caller]int{}
			for range 2 {
				for _, c := range []*caller{few, many} {
					c.ask(new(any), query)
					counts[c] = h.count.Load().N()
				}
			}
			if counts[few] != counts[many] || counts[many] > 12 {
				t.Errorf("%d and %d\n%s", counts[few], counts[many], h.shape())
			}
		})
	}
	t.Run("show each delivery its own webhook, run and attempts", func(t *testing.T) {
		var got struct {
			Deliveries struct {
				PageInfo struct{ EndCursor string }
				Nodes    []struct {
					ID       string
					Webhook  struct{ ID string }
					Run      struct{ ID string }
					Attempts []struct {
						Number       int
						ResponseBody string
					}
				}
			}
		}
		webhooks, runs := map[string]int{}, map[string]int{}
		for after, n := "", 0; n < 100; n += 50 {
			many.ask(&got, `query($after: Cursor) { deliveries(first: 50, after: $after) { pageInfo { endCursor } nodes { id webhook { id } run { id } attempts { number responseBody } } } }`,
				map[string]any{"after": nullable(after)})
			after = got.Deliveries.PageInfo.EndCursor
			if len(got.Deliveries.Nodes) != 50 {
				t.Fatalf("%d deliveries", len(got.Deliveries.Nodes))
			}
			for _, d := range got.Deliveries.Nodes {
				webhooks[d.Webhook.ID]++
				runs[d.Run.ID]++
				if len(d.Attempts) != 3 {
					t.Fatalf("%d attempts of %s", len(d.Attempts), d.ID)
				}
				for i, a := range d.Attempts {
					if a.Number != i+1 || a.ResponseBody != d.ID+"/"+d.Webhook.ID+"/"+d.Run.ID {
						t.Fatalf("attempt %+v of %+v", a, d)
					}
				}
			}
		}
		if len(webhooks) != 9 || len(runs) < 4 {
			t.Errorf("of %d webhooks and %d runs", len(webhooks), len(runs))
		}
	})
	t.Run("show each webhook the newest deliveries to itself, page by page", func(t *testing.T) {
		type deliveries struct {
			PageInfo struct {
				EndCursor   string
				HasNextPage bool
			}
			Nodes []struct {
				ID, CreatedAt string
				Webhook       struct{ ID string }
			}
		}
		var all struct {
			Webhooks struct{ Nodes []struct{ ID string } }
		}
		many.ask(&all, `{ webhooks(first: 50) { nodes { id } } }`)
		for _, w := range all.Webhooks.Nodes {
			seen, last := map[string]bool{}, "9"
			var got struct {
				Webhook struct{ Deliveries deliveries }
			}
			for after := ""; after == "" || got.Webhook.Deliveries.PageInfo.HasNextPage; after = got.Webhook.Deliveries.PageInfo.EndCursor {
				got.Webhook.Deliveries = deliveries{}
				many.ask(&got, `query($id: ID!, $after: Cursor) { webhook(id: $id) { deliveries(first: 20, after: $after) { pageInfo { endCursor hasNextPage } nodes { id createdAt webhook { id } } } } }`,
					map[string]any{"id": w.ID, "after": nullable(after)})
				for _, d := range got.Webhook.Deliveries.Nodes {
					if d.Webhook.ID != w.ID || seen[d.ID] || d.CreatedAt > last {
						t.Fatalf("%+v of %s, behind %s", d, w.ID, last)
					}
					seen[d.ID], last = true, d.CreatedAt
				}
			}
			if len(seen) != 50*3 { // the run and its two profiles
				t.Fatalf("%d deliveries to %s", len(seen), w.ID)
			}
		}
		var none struct {
			Webhooks struct {
				Nodes []struct{ Deliveries deliveries }
			}
		}
		many.ask(&none, `{ webhooks(first: 50) { nodes { deliveries(status: [EXHAUSTED]) { nodes { id createdAt webhook { id } } } } } }`)
		for _, w := range none.Webhooks.Nodes {
			if len(w.Deliveries.Nodes) != 0 {
				t.Fatalf("%+v", w)
			}
		}
	})
	t.Run("show each its own", func(t *testing.T) {
		var got struct {
			EnrichmentRuns struct {
				Nodes []struct {
					ID       string
					Profiles struct {
						Nodes []struct {
							ProfileID string
							Profile   struct{ ID string }
							Candidate struct {
								Name  string
								Facts []struct {
									Evidence []struct{ Run struct{ ID string } }
								}
							}
						}
					}
				}
			}
		}
		many.ask(&got, `{ enrichmentRuns(first: 50) { nodes { id profiles(first: 5) { nodes { profileId profile { id } candidate { name facts { evidence { run { id } } } } } } } } }`)
		for _, r := range got.EnrichmentRuns.Nodes {
			if len(r.Profiles.Nodes) != 2 {
				t.Fatalf("run %s has %d profiles", r.ID, len(r.Profiles.Nodes))
			}
			for _, m := range r.Profiles.Nodes {
				if m.Profile.ID != m.ProfileID || m.Candidate.Name != "Found "+m.ProfileID || m.Candidate.Facts[0].Evidence[0].Run.ID != r.ID {
					t.Fatalf("%+v in %s", m, r.ID)
				}
			}
		}
	})
}
