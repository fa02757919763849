package cmd_test

import (
	"bufio"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/internal/sandbox"
)

// TestRun is the main job, end to end, over every surface that a customer has:
// one run started and polled over REST, one over the command line, both followed
// live, read through GraphQL and announced by webhooks.
func TestRun(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	w := newWorld(t, hook)
	n := w.serve(t)
	me := w.tenant(t, n, 20)
	people := w.importAll(t, me.company)
	webhook, secret := me.webhook(t, hook.url, "ENRICH_COMPLETED", "ENRICH_FAILED")
	groups := make([][]string, 2)
	for _, e := range w.web.Expected() {
		groups[e.Run-1] = append(groups[e.Run-1], people[e.ExternalID])
	}
	groups[1] = append(groups[1], "prof_nobody")

	// Over REST, with a subscription from the first event on.
	first := me.start(t, groups[0], webhook)
	var accepted struct {
		Success                               bool
		RequestID, Status, Message, WebhookID string
		CreatedAt                             string
	}
	first.decode(t, &accepted)
	if first.status != 202 || !accepted.Success || accepted.Status != "processing" || accepted.WebhookID != webhook || !strings.HasPrefix(accepted.RequestID, "enr_") {
		t.Fatalf("%d %s", first.status, first.body)
	}
	zero := 0
	live := me.follow(t, accepted.RequestID, &zero)
	polled, waited := me.poll(t, accepted.RequestID)
	if !waited {
		t.Error("polling was never told that the run is processing")
	}
	t.Run("streams what is stored, once and in order", func(t *testing.T) {
		events := live.all(t)
		expectWhole(t, events, len(groups[0]))
		if stored := me.stored(t, accepted.RequestID); !reflect.DeepEqual(events, stored) {
			t.Errorf("%d events came and %d are stored, or they differ", len(events), len(stored))
		}
		half := len(events) / 2
		if rest := me.follow(t, accepted.RequestID, &half).all(t); !reflect.DeepEqual(rest, events[half:]) {
			t.Error("afterSequence does not replay what is after it")
		}
		late := me.follow(t, accepted.RequestID, nil).all(t)
		if len(late) == 0 || late[0].Typename != "RunSnapshot" || late[0].Sequence != len(events) || late[0].Run.Status != "COMPLETED" {
			t.Errorf("who comes late gets %+v", late)
		}
	})
	t.Run("announces the end with the bytes that polling answers", func(t *testing.T) {
		hook.one(t).expect(t, secret, "enrich.completed", polled.body)
	})

	// Over the command line.
	client := []string{"ENRICHD_URL=" + n.url, "ENRICHD_API_KEY=" + me.key}
	var started struct {
		RequestID string
		Credits   credits
	}
	must(t, client, &started, append([]string{"start", "--webhook", webhook, "--label", "second"}, groups[1]...)...)
	if held := len(groups[1]); started.Credits.Reserved != held {
		t.Errorf("%+v for %d profiles", started.Credits, held)
	}
	watched := lines[event](t, command(t, client, "watch", started.RequestID, "--after", "0", "--json"))
	expectWhole(t, watched, len(groups[1]))
	second, _ := me.poll(t, started.RequestID)
	hook.one(t).expect(t, secret, "enrich.completed", second.body)

	results := map[string]sandbox.Result{}
	spent := 0
	for i, id := range []string{accepted.RequestID, started.RequestID} {
		r := me.results(t, id)
		expectOrder(t, r, groups[i])
		succeeded := r.Progress["enriched"] + r.Progress["partial"]
		if want := (credits{len(groups[i]), succeeded, len(groups[i]) - succeeded, 0}); r.Credits != want {
			t.Errorf("run %d: credits %+v instead of %+v", i+1, r.Credits, want)
		}
		spent += succeeded
		for _, p := range r.Profiles.Nodes {
			if p.Profile != nil {
				results[p.Profile.ExternalID] = p.judged(t)
			} else if p.Outcome != "NOT_FOUND" || p.Credits != 0 {
				t.Errorf("the unknown id ended %+v", p)
			}
		}
		t.Run("shows the same over the command line", func(t *testing.T) {
			shown := lines[runProfile](t, command(t, client, "results", id, "--json"))
			if len(shown) != len(groups[i]) {
				t.Fatalf("%d of %d profiles", len(shown), len(groups[i]))
			}
			for k, p := range shown {
				if p.ProfileID != groups[i][k] || p.Outcome != r.Profiles.Nodes[k].Outcome {
					t.Errorf("profile %d is %s, %s", k, p.ProfileID, p.Outcome)
				}
			}
		})
	}
	t.Run("finds what is there, and nothing that is not", func(t *testing.T) {
		for _, problem := range w.web.Judge(results) {
			t.Error(problem)
		}
	})
	t.Run("spends a credit for each success", func(t *testing.T) {
		me.expectBalance(t, 20-spent, 0)
	})
	t.Run("says the same over REST", func(t *testing.T) {
		expectREST(t, polled, me.results(t, accepted.RequestID))
		expectREST(t, second, me.results(t, started.RequestID))
	})
}

// lines decodes JSON Lines on stdout.
func lines[T any](t *testing.T, s said) (all []T) {
	t.Helper()
	if s.status != 0 {
		t.Fatalf("status %d: %s", s.status, s.stderr)
	}
	in := bufio.NewScanner(strings.NewReader(s.stdout))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Fatalf("%v in %s", err, in.Text())
		}
		all = append(all, v)
	}
	return all
}

func expectOrder(t *testing.T, r *run, ids []string) {
	t.Helper()
	var got []string
	for _, p := range r.Profiles.Nodes {
		got = append(got, p.ProfileID)
	}
	if !slices.Equal(got, ids) {
		t.Errorf("profiles %v instead of %v", got, ids)
	}
}

// judged reads a profile's result as the sandbox judges it, and looks that nothing stands without evidence.
func (p runProfile) judged(t *testing.T) sandbox.Result {
	t.Helper()
	out := sandbox.Result{Outcome: p.Outcome, Missing: p.Missing}
	c := p.Candidate
	if c == nil {
		return out
	}
	complete := func(what string, all []evidence) {
		for _, e := range all {
			if e.Source == "" || e.Extractor == "" || e.URL == "" || len(e.ContentHash) != 64 {
				t.Errorf("%s, %s: evidence %+v", c.Name, what, e)
			}
		}
		if len(all) == 0 {
			t.Errorf("%s, %s: no evidence", c.Name, what)
		}
	}
	out.ScoreBasis, out.MatchScore = c.ScoreBasis, c.MatchScore
	for _, e := range c.Emails {
		out.Emails = append(out.Emails, sandbox.ResultEmail{Address: e.Address, Status: e.Status, Method: e.Method, Reasons: e.Reasons})
		complete(e.Address, e.Evidence)
	}
	for _, l := range c.Links {
		if l.Verified {
			out.VerifiedLinks = append(out.VerifiedLinks, l.URL)
		}
		complete(l.URL, l.Evidence)
	}
	for _, f := range c.Facts {
		fact := sandbox.ResultFact{Name: f.Name, Value: string(f.Value)}
		var text string
		if json.Unmarshal(f.Value, &text) == nil {
			fact.Value = text
		}
		for _, e := range f.Evidence {
			fact.Sources = append(fact.Sources, e.Source)
		}
		complete(f.Name, f.Evidence)
		out.Facts = append(out.Facts, fact)
	}
	return out
}

// expectREST compares the older contract's results body with the run.
func expectREST(t *testing.T, polled reply, r *run) {
	t.Helper()
	var body struct {
		Success                                      bool
		Status                                       string
		EnrichedCount, FailureCount, CreditsConsumed int
		Data                                         []struct {
			ProfileID, ErrorCode string
			Success              bool
			Candidate            *struct {
				ProfileID, Name string
				MatchScore      int
				Emails          []string
			}
		}
	}
	polled.decode(t, &body)
	succeeded := r.Progress["enriched"] + r.Progress["partial"]
	if !body.Success || body.Status != "completed" || body.EnrichedCount != succeeded ||
		body.FailureCount != r.Progress["total"]-succeeded || body.CreditsConsumed != r.Credits.Captured || len(body.Data) != r.Progress["total"] {
		t.Fatalf("%.400s", polled.body)
	}
	codes := map[string]string{"NO_MATCH": "NO_MATCH", "NOT_FOUND": "PROFILE_NOT_FOUND", "TIMED_OUT": "ENRICHMENT_TIMEOUT"}
	for i, p := range r.Profiles.Nodes {
		item := body.Data[i]
		if item.ProfileID != p.ProfileID || item.Success != (p.Candidate != nil) || item.ErrorCode != codes[p.Outcome] {
			t.Errorf("item %d is %+v for %s", i, item, p.Outcome)
			continue
		}
		if p.Candidate == nil {
			continue
		}
		var valid []string
		for _, e := range p.Candidate.Emails {
			if e.Status == "VALID" {
				valid = append(valid, e.Address)
			}
		}
		c := item.Candidate
		if c.ProfileID != p.ProfileID || c.Name != p.Candidate.Name || c.MatchScore != p.Candidate.MatchScore || !slices.Equal(c.Emails, valid) {
			t.Errorf("item %d is %+v", i, *c)
		}
	}
}

// TestTestKeys plays the reserved profiles, which cost nothing and reach no network.
func TestTestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.serve(t)
	me := w.tenant(t, n, 3, "--mode", "test")
	if !strings.HasPrefix(me.key, "sk_test_") {
		t.Errorf("a test key begins with %.8s", me.key)
	}
	id := me.started(t, []string{
		"profile_test_success", "profile_test_no_email", "profile_test_partial", "profile_test_no_match",
		"profile_test_timeout", "profile_test_failure", "profile_test_suppressed", "prof_nobody",
	}, "")
	live := me.follow(t, id, new(int))
	polled, _ := me.poll(t, id)
	expectWhole(t, live.all(t), 8)
	r := me.results(t, id)
	r.expectOutcomes(t, "ENRICHED", "ENRICHED", "PARTIAL", "NO_MATCH", "TIMED_OUT", "FAILED", "SUPPRESSED", "NOT_FOUND")
	if !r.Test || r.Credits != (credits{}) {
		t.Errorf("test %v, credits %+v", r.Test, r.Credits)
	}
	var body struct{ EnrichedCount, FailureCount, CreditsConsumed int }
	polled.decode(t, &body)
	if body.EnrichedCount != 3 || body.FailureCount != 5 || body.CreditsConsumed != 0 {
		t.Errorf("%+v", body)
	}
	me.expectBalance(t, 3, 0)
	if visits := w.web.Requests(); len(visits) > 0 {
		t.Errorf("a test key reached %s%s", visits[0].Host, visits[0].Path)
	}
	_, live2 := newKey(t, w.env, n, me.company)
	if got := live2.send(t, "GET", "/sourcing/enrich/"+id+"/results", nil); got.status != 404 {
		t.Errorf("a live key sees a test run: %d", got.status)
	}
}
