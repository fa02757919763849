package enrichment

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/dispatch"
)

func TestNews(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, newPlay())
	ctx := h.company(100, false)
	// Only what a webhook asks for: the runs' ends would need a renderer.
	hook, _, err := h.Dispatch.CreateWebhook(ctx, dispatch.CreateWebhookInput{
		URL: "https://hooks.example.com/", AllRuns: true, TimeoutMillis: 1000,
		EventTypes: []dispatch.EventType{dispatch.EnrichStarted, dispatch.EnrichProfileCompleted, dispatch.EnrichProfileFailed},
	})
	must(t, err)
	ada := h.one(ctx, "ada", ProfileInput{ExternalID: "ada", Name: "Ada Lindqvist", Links: []string{"https://ada-lindqvist.test"}})
	run, _ := h.finished(ctx, h.start(ctx, ada.ID, "prof_unknown"))
	if run.Status != StatusCompleted {
		t.Fatalf("%+v", run)
	}

	t.Run("tells webhooks when a run begins and how each profile ended, without a word about the person", func(t *testing.T) {
		c, err := h.Dispatch.Deliveries(ctx, pageArgs(10), dispatch.DeliveryFilter{WebhookID: &hook.ID})
		must(t, err)
		told := map[string]string{}
		for _, d := range c.Nodes {
			var body struct {
				Event string
				Data  struct {
					RequestID, ProfileID, Outcome string
					Sequence                      int
				}
			}
			must(t, json.Unmarshal(d.Payload(), &body))
			if body.Data.RequestID != run.ID || body.Data.Sequence < 1 || strings.Contains(string(d.Payload()), "Lindqvist") {
				t.Errorf("%s", d.Payload())
			}
			told[body.Event+" "+body.Data.ProfileID] = body.Data.Outcome
		}
		want := map[string]string{"enrich.started ": "", "enrich.profile_completed " + ada.ID: "ENRICHED", "enrich.profile_failed prof_unknown": "NOT_FOUND"}
		for k, v := range want {
			if got, ok := told[k]; !ok || got != v {
				t.Errorf("%q: %q of %v", k, got, told)
			}
		}
		if len(told) != len(want) || len(c.Nodes) != len(want) {
			t.Errorf("%v", told)
		}
	})
	t.Run("tells the company of imports, beginnings and ends, once each and in order", func(t *testing.T) {
		// All of it ended before it began: nothing of this run is known.
		none, _ := h.finished(ctx, h.start(ctx, "prof_unknown"))
		ours := []dispatch.ActivityKind{dispatch.ActivityProfilesImported, dispatch.ActivityEnrichmentStarted, dispatch.ActivityEnrichmentFinished}
		rows, err := h.Dispatch.ActivitySince(ctx, "", ours...)
		must(t, err)
		var kinds []dispatch.ActivityKind
		for _, a := range rows {
			kinds = append(kinds, a.Kind)
			if strings.Contains(a.Summary, "Lindqvist") {
				t.Errorf("%+v", a)
			}
		}
		if !slices.Equal(kinds, []dispatch.ActivityKind{
			dispatch.ActivityProfilesImported, dispatch.ActivityEnrichmentStarted, dispatch.ActivityEnrichmentFinished, dispatch.ActivityEnrichmentFinished,
		}) {
			t.Fatalf("%v", kinds)
		}
		if rows[1].SubjectID != run.ID || rows[2].SubjectID != run.ID || rows[3].SubjectID != none.ID || rows[2].Summary != "An enrichment of 2 profiles ended: 1 succeeded" {
			t.Errorf("%+v", rows[2])
		}
		// A repeated import is no news.
		h.one(ctx, "ada", ProfileInput{ExternalID: "ada", Name: "Ada Lindqvist", Links: []string{"https://ada-lindqvist.test"}})
		if again, err := h.Dispatch.ActivitySince(ctx, rows[3].Cursor(), ours...); err != nil || len(again) != 0 {
			t.Errorf("%v, %v", again, err)
		}
	})
}
