package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

func ptr[T any](v T) *T { return &v }

// jane is a candidate with every field, and sparse one with none that may be missing.
func jane() *pipeline.Candidate {
	return &pipeline.Candidate{
		ProfileID: "a1b2c3d4e5f6", Name: "Jane Smith", Headline: ptr("Senior Software Engineer at Stripe"), Location: ptr("San Francisco, CA"),
		CurrentCompany: ptr("Stripe"), CurrentRole: ptr("Senior Software Engineer"), LinkedinURL: ptr("https://www.linkedin.com/in/janesmith"),
		Skills: []string{"Node.js", "TypeScript", "PostgreSQL"}, MatchScore: 87, Rationale: "Strong backend <engineer> & FinTech background.",
		FitPoints: []string{"5+ years Node.js", "FinTech background"}, RedFlags: []string{"No public cloud experience"},
		DetailedRationale: []pipeline.RationaleItem{{Title: "Senior Software Engineer", Company: ptr("Stripe"), Duration: ptr("2 years"), Relevance: "Payments at scale."}},
		Experience:        []pipeline.Experience{{Role: "Senior Software Engineer", Company: ptr("Stripe"), Duration: ptr("2023 - Present"), Highlights: []string{"Ledger"}}},
		Emails:            []pipeline.Email{{Address: "jane.smith@example.com", Status: pipeline.EmailValid}, {Address: "jane@stripe.example", Status: pipeline.EmailRisky}},
	}
}

func sparse() *pipeline.Candidate {
	return &pipeline.Candidate{ProfileID: "profile_sparse", Name: "Ōta Jirō", Rationale: "One page of his own.", Experience: []pipeline.Experience{{Role: "Engineer"}}}
}

func aRun(status enrichment.Status) *enrichment.Run {
	at := time.Date(2025, 1, 1, 1, 0, 0, 0, time.FixedZone("CET", 3600))
	run := &enrichment.Run{
		ID: "enr_550e8400-e29b-41d4-a716-446655440000", Status: status, CreatedAt: at, Progress: enrichment.RunProgress{Total: 3}, Captured: 2,
	}
	if status.Final() {
		run.FinishedAt = ptr(at.Add(4210 * time.Millisecond))
	}
	return run
}

func TestRenderResults(t *testing.T) {
	t.Parallel()
	members := []*enrichment.RunProfile{
		{ProfileID: "a1b2c3d4e5f6", Outcome: enrichment.OutcomeEnriched, Candidate: jane()},
		{ProfileID: "profile_sparse", Outcome: enrichment.OutcomePartial, Candidate: sparse()},
	}
	for _, o := range []enrichment.Outcome{
		enrichment.OutcomeNotFound, enrichment.OutcomeNoMatch, enrichment.OutcomeSuppressed, enrichment.OutcomeTimedOut, enrichment.OutcomeFailed, enrichment.OutcomeCancelled,
	} {
		members = append(members, &enrichment.RunProfile{ProfileID: "prof_" + string(o), Outcome: o})
	}
	members = append(members, &enrichment.RunProfile{ProfileID: "prof_objected_since", Outcome: enrichment.OutcomeEnriched})
	broken := aRun(enrichment.StatusFailed)
	broken.Captured = 0
	explained := aRun(enrichment.StatusFailed)
	explained.Captured, explained.Failure = 0, &enrichment.Failure{Code: "AGENT_ERROR", Message: "The sourcing agent encountered an unexpected error."}
	for name, c := range map[string]struct {
		run     *enrichment.Run
		members []*enrichment.RunProfile
		open    Open
	}{
		"results-queued":            {run: aRun(enrichment.StatusQueued)},
		"results-running":           {run: aRun(enrichment.StatusRunning)},
		"results-cancelling":        {run: aRun(enrichment.StatusCancelling)},
		"results-completed":         {run: aRun(enrichment.StatusCompleted), members: members},
		"results-cancelled":         {run: aRun(enrichment.StatusCancelled), members: members[7:8]},
		"results-failed":            {run: broken, members: members[2:]},
		"results-failed-explained":  {run: explained},
		"results-failed-as-failure": {run: explained, open: Open{FailedRunFails: true}},
	} {
		body, err := c.open.RenderResults(c.run, c.members)
		must(t, err)
		golden(t, name+".json", body)
		status := http.StatusOK
		if !c.run.Status.Final() {
			status = http.StatusAccepted
		}
		r := reply{
			method: "GET", path: "/sourcing/enrich/x/results", status: status, body: body,
			header: http.Header{"Content-Type": {"application/json"}},
		}
		if err := r.conforms(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.published(); err != nil && !c.open.FailedRunFails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCandidateHasTheDocumentedFields(t *testing.T) {
	t.Parallel()
	body, err := marshal(candidateOf(jane()))
	must(t, err)
	dec := json.NewDecoder(jsonReader(body))
	var names []string
	depth := 0
	for key := false; ; {
		token, err := dec.Token()
		if err != nil {
			break
		}
		if d, ok := token.(json.Delim); ok {
			if d == '{' || d == '[' {
				depth++
			} else {
				depth--
			}
			key = depth == 1
			continue
		}
		if depth == 1 {
			if key {
				names = append(names, token.(string))
			}
			key = !key
		}
	}
	want := []string{
		"profileId", "name", "linkedinUrl", "matchScore", "rationale", "skills", "headline", "location", "currentCompany", "currentRole",
		"aiFitPoints", "aiRedFlags", "aiDetailedRationale", "detailedExperience", "emails",
	}
	if len(names) != len(want) {
		t.Fatalf("%d fields: %v", len(names), names)
	}
	for i := range want {
		if names[i] != want[i] {
			t.Errorf("field %d is %s instead of %s", i+1, names[i], want[i])
		}
	}
}

// TestFailedRun breaks a run for good, and looks at how polling and the webhook tell it.
func TestFailedRun(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]Open{"as a call that worked": {}, "as a call that failed": {FailedRunFails: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(a *API) { a.Open = open })
			c := h.tenant(10)
			id := c.started(c.person("Jane Smith"))
			c.polled(id)
			_, err := h.db.Bun.ExecContext(context.Background(),
				`UPDATE runs SET status = 'FAILED', failure = '{"code":"AGENT_ERROR","message":"It broke."}' WHERE id = ?`, id)
			must(t, err)
			r, _ := c.try("GET", "/sourcing/enrich/"+id+"/results", "")
			var body struct {
				Success              bool
				Status               string
				ErrorCode            string
				EnrichedCount, Total int
				Data                 []any
				Error                *errorDetail
			}
			r.decode(t, &body)
			if r.status != 200 || body.Success == open.FailedRunFails || body.Status != "failed" || body.ErrorCode != "AGENT_ERROR" || len(body.Data) != 0 || (body.Error != nil) != open.FailedRunFails {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}
