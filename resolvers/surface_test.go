package resolvers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/access"
)

func TestRuns(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(100)
	ids := c.people(12)
	done := c.enriched(ids[0], ids[1])
	open := func() *enrichment.Run {
		run, _, err := c.runs.Start(c.ctx, enrichment.StartInput{ProfileIDs: ids[2:4], Label: ptr("open")})
		must(t, err)
		return run
	}()

	type list struct {
		EnrichmentRuns struct {
			Nodes    []struct{ ID, Status string }
			PageInfo struct {
				HasNextPage bool
				EndCursor   *string
			}
			TotalCount int
		}
	}
	runs := func(args string) list {
		var got list
		c.ask(&got, `{ enrichmentRuns(`+args+`) { nodes { id status } pageInfo { hasNextPage endCursor } totalCount } }`)
		return got
	}

	t.Run("are filtered, ordered and counted", func(t *testing.T) {
		for args, want := range map[string][]string{
			`first: 10`:                                      {open.ID, done.ID},
			`first: 10, orderBy: OLDEST`:                     {done.ID, open.ID},
			`first: 10, orderBy: RECENTLY_FINISHED`:          {done.ID},
			`first: 10, filter: {status: [QUEUED, RUNNING]}`: {open.ID},
			`first: 10, filter: {label: "open"}`:             {open.ID},
			`first: 10, filter: {label: "ope"}`:              nil,
			`first: 10, filter: {createdAfter: "0001-01-01T00:00:00Z", createdBefore: "9999-12-31T00:00:00Z"}`:                    {open.ID, done.ID},
			`first: 10, filter: {createdBefore: "2020-01-01T00:00:00Z"}`:                                                          nil,
			`first: 10, filter: {createdAfter: "2020-01-01T00:00:00Z", createdBefore: "2100-01-01T00:00:00Z", status: COMPLETED}`: {done.ID},
		} {
			got := runs(args).EnrichmentRuns
			var have []string
			for _, n := range got.Nodes {
				have = append(have, n.ID)
			}
			if fmt.Sprint(have) != fmt.Sprint(want) || got.TotalCount != len(want) {
				t.Errorf("%s: %v of %d, not %v", args, have, got.TotalCount, want)
			}
		}
	})

	t.Run("are paged without a gap or a repeat while others begin", func(t *testing.T) {
		for _, order := range []string{"NEWEST", "OLDEST", "RECENTLY_FINISHED"} {
			p := h.caller(100)
			who := p.people(1)
			want := map[string]bool{}
			for range 7 {
				want[p.enriched(who...).ID] = true
			}
			seen, after := map[string]bool{}, ""
			for {
				var got list
				p.ask(&got, `query($after: Cursor, $by: EnrichmentRunOrder!) { enrichmentRuns(first: 2, after: $after, orderBy: $by) { nodes { id } pageInfo { hasNextPage endCursor } } }`,
					map[string]any{"after": nullable(after), "by": order})
				for _, n := range got.EnrichmentRuns.Nodes {
					if seen[n.ID] {
						t.Errorf("%s: %s came twice", order, n.ID)
					}
					seen[n.ID] = true
				}
				p.enriched(who...)
				if !got.EnrichmentRuns.PageInfo.HasNextPage || len(seen) > 50 {
					break
				}
				after = *got.EnrichmentRuns.PageInfo.EndCursor
				if order == "OLDEST" && len(seen) >= 7 {
					break
				}
			}
			for id := range want {
				if !seen[id] {
					t.Errorf("%s: %s is missing", order, id)
				}
			}
		}
	})

	t.Run("refuse a cursor of another list", func(t *testing.T) {
		if _, errs := c.answer(`{ enrichmentRuns(first: 2, orderBy: RECENTLY_FINISHED, after: "eA") { nodes { id } } }`); len(errs) != 1 || errs[0].Extensions["code"] != "GRAPHQL_VALIDATION_FAILED" {
			t.Errorf("%v", errs)
		}
	})

	t.Run("are quoted, cancelled and tried again", func(t *testing.T) {
		var quote struct {
			EnrichmentQuote struct {
				Eligible, Repeats, Suppressed, NotFound, MaxCredits int
				Affordable                                          bool
			}
		}
		const ask = `query($ids: [ID!]!) { enrichmentQuote(profileIds: $ids) { eligible repeats suppressed notFound maxCredits affordable } }`
		c.ask(&quote, ask, map[string]any{"ids": append([]string{"nobody"}, ids[5:8]...)})
		if q := quote.EnrichmentQuote; q.Eligible != 3 || q.NotFound != 1 || q.MaxCredits != 3 || !q.Affordable {
			t.Errorf("%+v", q)
		}
		poor := h.caller(1)
		two := poor.people(2)
		poor.ask(&quote, ask, map[string]any{"ids": two})
		if q := quote.EnrichmentQuote; q.Eligible != 2 || q.Affordable {
			t.Errorf("%+v", q)
		}
		var cancel struct {
			CancelEnrichment struct {
				Run        *struct{ Status, CancelReason string }
				UserErrors []struct{ Code, State string }
			}
		}
		const stop = `mutation($id: ID!) { cancelEnrichment(input: {requestId: $id, reason: "too many"}) {
			run { status cancelReason } userErrors { code ... on Conflict { state } } } }`
		c.ask(&cancel, stop, map[string]any{"id": open.ID})
		if r := cancel.CancelEnrichment.Run; r == nil || r.Status != "CANCELLED" || r.CancelReason != "too many" {
			t.Errorf("%+v", cancel)
		}
		c.ask(&cancel, stop, map[string]any{"id": done.ID})
		if e := cancel.CancelEnrichment.UserErrors; len(e) != 1 || e[0].Code != "CONFLICT" || e[0].State != "COMPLETED" || cancel.CancelEnrichment.Run != nil {
			t.Errorf("%+v", cancel)
		}
		run, _, err := c.runs.Start(c.ctx, enrichment.StartInput{ProfileIDs: ids[8:10]})
		must(t, err)
		c.finish(run, ids[8], candidate(run.ID, ids[8]))
		c.finish(run, ids[9], nil)
		var retry struct {
			RetryFailedProfiles struct {
				Run *struct {
					ID, Status string
					Profiles   struct {
						TotalCount int
						Nodes      []struct{ ProfileID string }
					}
				}
				Requeued   int
				UserErrors []struct{ Code string }
			}
		}
		const again = `mutation($id: ID!, $key: String!) { retryFailedProfiles(input: {requestId: $id, idempotencyKey: $key}) {
			requeued run { id status profiles(first: 5, outcome: [QUEUED]) { totalCount nodes { profileId } } } userErrors { code } } }`
		c.ask(&retry, again, map[string]any{"id": run.ID, "key": "k1"})
		if r := retry.RetryFailedProfiles; r.Requeued != 1 || r.Run.ID != run.ID || r.Run.Profiles.TotalCount != 1 || r.Run.Profiles.Nodes[0].ProfileID != ids[9] {
			t.Errorf("%+v", r)
		}
		c.ask(&retry, again, map[string]any{"id": run.ID, "key": ""})
		if e := retry.RetryFailedProfiles.UserErrors; len(e) != 1 || e[0].Code != "INVALID_INPUT" {
			t.Errorf("%+v", e)
		}
	})
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(100)
	im, err := c.runs.Import(c.ctx, "i", []enrichment.ImportRow{
		{Input: enrichment.ProfileInput{ExternalID: "a", Name: "Ada 100%_Lindqvist", Emails: []string{"ada@acme.test"}}},
		{Input: enrichment.ProfileInput{ExternalID: "b", Name: "Bo Berg", Headline: ptr("Sailor"), CurrentCompany: ptr("Norrsken"), Skills: []string{"go"}, Links: []string{"https://bo.test"}}},
		{Input: enrichment.ProfileInput{ExternalID: "c", Name: "Cy Carlsson"}},
	})
	must(t, err)
	c.enriched(im.Profiles[1].ID)
	_, _, err = c.runs.Suppress(c.ctx, enrichment.PersonRef{ExternalID: ptr("a")}, "by phone")
	must(t, err)

	t.Run("are searched, but for what is not shown of them", func(t *testing.T) {
		for filter, want := range map[string]string{
			`{externalIds: ["b", "c", "x"]}`:             "b c",
			`{search: "norr"}`:                           "b",
			`{search: "SAIL"}`:                           "b",
			`{search: "%"}`:                              "",
			`{search: "ada"}`:                            "",
			`{search: "c"}`:                              "c",
			`{suppressed: true}`:                         "a",
			`{suppressed: false, maxCompleteness: 0.2}`:  "c",
			`{notEnrichedSince: "2020-01-01T00:00:00Z"}`: "a c",
			`{notEnrichedSince: "2100-01-01T00:00:00Z", externalIds: ["a", "b", "c"]}`: "a b c",
		} {
			var got struct {
				Profiles struct {
					TotalCount int
					Nodes      []struct{ ExternalID, Name string }
				}
			}
			c.ask(&got, `{ profiles(first: 10, filter: `+filter+`) { totalCount nodes { externalId name } } }`)
			var have []string
			for _, n := range got.Profiles.Nodes {
				have = append(have, n.ExternalID)
			}
			if strings.Join(have, " ") != want || got.Profiles.TotalCount != len(have) {
				t.Errorf("%s: %q of %d, not %q", filter, have, got.Profiles.TotalCount, want)
			}
		}
	})

	t.Run("show fields from the newest run, and else from the import", func(t *testing.T) {
		var got struct {
			Profile struct {
				Fields []struct {
					Name     string
					Value    any
					Evidence []struct{ Source string }
				}
				Runs      struct{ TotalCount int }
				Candidate *struct{ Name string }
			}
		}
		query := `query($id: ID!) { profile(id: $id) { fields { name value evidence { source } } runs { totalCount } candidate { name } } }`
		c.ask(&got, query, map[string]any{"id": im.Profiles[1].ID})
		by := map[string]int{}
		for _, f := range got.Profile.Fields {
			by[f.Name] = len(f.Evidence)
			if f.Name == "name" && f.Value != "Found" {
				t.Errorf("%+v", f)
			}
		}
		if by["name"] != 1 || by["headline"] != 0 || len(by) != 5 || got.Profile.Runs.TotalCount != 1 || got.Profile.Candidate == nil {
			t.Errorf("%+v", got)
		}
		c.ask(&got, query, map[string]any{"id": im.Profiles[0].ID})
		if len(got.Profile.Fields) != 0 || got.Profile.Candidate != nil {
			t.Errorf("of a suppressed person: %+v", got)
		}
	})
}

func TestPrivacy(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(100)
	ids := c.people(2)
	c.enriched(ids...)

	t.Run("suppresses, exports, erases and lists", func(t *testing.T) {
		var got struct {
			SuppressPerson struct {
				SuppressedAt     *time.Time
				ProfilesAffected int
				UserErrors       []struct{ Code string }
			}
			ErasePerson struct {
				ReceiptID      *string
				ProfilesErased int
				UserErrors     []struct{ Code string }
			}
			PersonExport map[string]any
			Suppressions struct {
				Nodes []struct {
					ID, Digest, Reason string
					Erased             bool
				}
			}
			Node *struct {
				Typename string `json:"__typename"`
			}
		}
		c.ask(&got, `mutation { suppressPerson(input: {person: {externalId: "x000"}, reason: "by phone"}) { suppressedAt profilesAffected userErrors { code } } }`)
		if s := got.SuppressPerson; s.SuppressedAt == nil || s.ProfilesAffected != 1 || len(s.UserErrors) > 0 {
			t.Errorf("%+v", s)
		}
		c.ask(&got, `{ personExport(person: {profileId: "`+ids[0]+`"}) }`)
		if len(got.PersonExport["profiles"].([]any)) != 1 {
			t.Errorf("%v", got.PersonExport)
		}
		erase := `mutation { erasePerson(input: {idempotencyKey: "e", person: {profileId: "` + ids[0] + `"}, reason: "by letter"}) { receiptId profilesErased userErrors { code } } }`
		c.ask(&got, erase)
		first := got.ErasePerson
		c.ask(&got, erase)
		if first.ReceiptID == nil || first.ProfilesErased != 1 || *got.ErasePerson.ReceiptID != *first.ReceiptID {
			t.Errorf("%+v then %+v", first, got.ErasePerson)
		}
		c.ask(&got, `mutation { erasePerson(input: {idempotencyKey: "e2", person: {profileId: "`+ids[0]+`"}, reason: "again"}) { receiptId profilesErased userErrors { code } } }`)
		if e := got.ErasePerson; len(e.UserErrors) != 1 || e.UserErrors[0].Code != "NOT_FOUND" || e.ReceiptID != nil {
			t.Errorf("%+v", e)
		}
		c.ask(&got, `{ suppressions { nodes { id digest reason erased } } }`)
		n := got.Suppressions.Nodes
		if len(n) < 2 || !n[0].Erased || len(n[0].Digest) != 64 || n[0].Reason != "by phone" {
			t.Errorf("%+v", n)
		}
		c.ask(&got, `{ node(id: "`+n[0].ID+`") { __typename } }`)
		if got.Node == nil || got.Node.Typename != "Suppression" {
			t.Errorf("%+v", got.Node)
		}
		var refused struct {
			ImportProfiles struct {
				Profiles   []struct{ ID string }
				UserErrors []struct {
					Typename     string `json:"__typename"`
					Code         string
					Field        []string
					SuppressedAt time.Time
				}
			}
		}
		c.ask(&refused, `mutation { importProfiles(input: {idempotencyKey: "again", source: {rows: [{externalId: "x000", name: "Person Number000"}]}}) {
			profiles { id } userErrors { __typename code field ... on PersonSuppressed { suppressedAt } } } }`)
		if e := refused.ImportProfiles.UserErrors; len(e) != 1 || e[0].Typename != "PersonSuppressed" || e[0].Field[0] != "0" || e[0].SuppressedAt.IsZero() {
			t.Errorf("%+v", refused)
		}
	})

	t.Run("needs its scope", func(t *testing.T) {
		reader := h.key(&c.who.Company, access.EnrichRead, access.EnrichWrite)
		for _, query := range []string{
			`{ suppressions { nodes { id } } }`, `{ personExport(person: {email: "a@b.test"}) }`,
			`mutation { suppressPerson(input: {person: {email: "a@b.test"}, reason: "x"}) { profilesAffected } }`,
			`mutation { erasePerson(input: {idempotencyKey: "k", person: {email: "a@b.test"}, reason: "x"}) { profilesErased } }`,
		} {
			if _, errs := reader.answer(query); len(errs) != 1 || errs[0].Extensions["code"] != "FORBIDDEN" {
				t.Errorf("%s: %v", query, errs)
			}
		}
	})
}

func TestNode(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c, other := h.caller(100), h.caller(100)
	ids := c.people(1)
	run := c.enriched(ids...)
	hook, _, err := c.hooks.CreateWebhook(c.ctx, dispatch.CreateWebhookInput{URL: "https://example.com/hook", AllRuns: true, TimeoutMillis: 5000})
	must(t, err)
	c.enriched(ids...) // is announced to the webhook
	sent, err := c.hooks.Deliveries(c.ctx, pageOf(5), dispatch.DeliveryFilter{})
	must(t, err)
	account, err := c.ledger.Account(c.ctx, c.who.Company.ID)
	must(t, err)
	entries, err := c.ledger.Entries(c.ctx, account.ID, pageOf(1), billing.EntryFilter{})
	must(t, err)
	of := map[string]string{
		run.ID: "EnrichmentRun", ids[0]: "Profile", c.who.Company.ID: "Company", c.who.Key.ID: "ApiKey", hook.ID: "Webhook",
		account.ID: "BillingAccount", entries.Nodes[0].ID(): "LedgerEntry", sent.Nodes[0].ID: "Delivery",
	}
	kind := func(who *caller, id string) string {
		var got struct {
			Node *struct {
				Typename string `json:"__typename"`
				ID       string
			}
		}
		who.ask(&got, `query($id: ID!) { node(id: $id) { __typename id } }`, map[string]any{"id": id})
		if got.Node == nil {
			return ""
		}
		if got.Node.ID != id {
			t.Errorf("%s answers as %s", id, got.Node.ID)
		}
		return got.Node.Typename
	}

	t.Run("finds every kind by its id", func(t *testing.T) {
		for id, want := range of {
			if got := kind(c, id); got != want {
				t.Errorf("%s is %q, not %q", id, got, want)
			}
		}
	})
	t.Run("finds nothing of another company, and nothing unknown", func(t *testing.T) {
		for id := range of {
			if got := kind(other, id); got != "" {
				t.Errorf("%s is %q to others", id, got)
			}
		}
		for _, id := range []string{"", "x", "enr_x", "prof_x", "ent_1_2", "acc_", "sup_", "inv_1_2", "00000000-0000-0000-0000-000000000000", strings.Repeat("a", 5000)} {
			if got := kind(c, id); got != "" {
				t.Errorf("%.20s is %q", id, got)
			}
		}
	})
	t.Run("finds no more than the key's scopes cover", func(t *testing.T) {
		reader := h.key(&c.who.Company, access.EnrichRead)
		seen := map[string]bool{"EnrichmentRun": true, "Profile": true, "Company": true}
		for id, what := range of {
			if got := kind(reader, id); (got != "") != seen[what] {
				t.Errorf("%s is %q", what, got)
			}
		}
		if got := kind(reader, reader.who.Key.ID); got != "ApiKey" {
			t.Errorf("its own key is %q", got)
		}
	})
}

func TestViewer(t *testing.T) {
	t.Parallel()
	t.Run("shows who asks and what may still be spent", func(t *testing.T) {
		t.Parallel()
		c := newHouse(t).caller(1)
		var got struct {
			Viewer struct {
				Company struct{ ID string }
				APIKey  struct{ ID string }
				Budget  struct{ Capacity, Remaining, RestorePerSecond int }
			}
		}
		c.ask(&got, `{ viewer { company { id } apiKey { id } budget { capacity remaining restorePerSecond } } }`)
		if v := got.Viewer; v.Company.ID != c.who.Company.ID || v.APIKey.ID != c.who.Key.ID || v.Budget.Capacity < 1 || v.Budget.Remaining > v.Budget.Capacity || v.Budget.RestorePerSecond < 1 {
			t.Errorf("%+v", v)
		}
	})
}

func TestCompanyActivity(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(100)
	ids := c.people(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	t.Run("is live, resumes behind a cursor, and names what it is about", func(t *testing.T) {
		live := c.stream(ctx, `subscription { companyActivity { cursor kind summary subject { __typename id } } }`)
		run := c.enriched(ids...)
		first, found := <-live, false
		for a := first; ; a = <-live {
			if a.Kind == "ENRICHMENT_FINISHED" {
				found = a.Subject != nil && a.Subject.ID == run.ID && a.Subject.Typename == "EnrichmentRun" && a.Summary != ""
				break
			}
			if a.Cursor == "" {
				break
			}
		}
		if !found {
			t.Fatalf("the end of %s was not told, or not of it", run.ID)
		}
		again := c.enriched(ids...)
		replay := c.stream(ctx, `subscription { companyActivity(after: "`+first.Cursor+`", kinds: [ENRICHMENT_FINISHED]) { cursor kind subject { id } } }`)
		want := []string{run.ID, again.ID}
		if first.Kind == "ENRICHMENT_FINISHED" { // nothing of the run came before it
			want = want[1:]
		}
		for _, id := range want {
			if a := <-replay; a.Subject == nil || a.Subject.ID != id {
				t.Errorf("%+v is not about %s", a, id)
			}
		}
	})
	t.Run("refuses a cursor of another list", func(t *testing.T) {
		if a := <-c.stream(ctx, `subscription { companyActivity(after: "eA") { cursor } }`); a.Cursor != "" {
			t.Errorf("%+v", a)
		}
	})
}

type activity struct {
	Cursor, Kind, Summary string
	Subject               *struct {
		ID       string
		Typename string `json:"__typename"`
	}
}

// stream follows the company over server-sent events.
func (c *caller) stream(ctx context.Context, query string) <-chan activity {
	c.t.Helper()
	b, err := json.Marshal(map[string]any{"query": query})
	must(c.t, err)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server.URL, strings.NewReader(string(b)))
	must(c.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultClient.Do(req)
	must(c.t, err)
	out := make(chan activity, 100)
	go func() {
		defer close(out)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			var got struct {
				Data struct{ CompanyActivity activity }
			}
			if ok && json.Unmarshal([]byte(data), &got) == nil && got.Data.CompanyActivity.Cursor != "" {
				out <- got.Data.CompanyActivity
			}
		}
	}()
	return out
}

func ptr[T any](v T) *T { return &v }

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
