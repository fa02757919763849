package enrichment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
)

func ptr[T any](v T) *T { return &v }

// one imports one person and returns the profile.
func (h *house) one(ctx context.Context, key string, in ProfileInput) *Profile {
	h.t.Helper()
	im, err := h.Import(ctx, key, []ImportRow{{Input: in}})
	must(h.t, err)
	if len(im.Refused) > 0 {
		h.t.Fatalf("refused: %v", im.Refused)
	}
	return im.Profiles[0]
}

// found returns every table and column, as table.column, whose text holds the marker.
func (h *house) found(marker string) (where []string) {
	h.t.Helper()
	ctx := context.Background()
	var tables []string
	must(h.t, h.DB.NewRaw(`SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`).Scan(ctx, &tables))
	for _, table := range tables {
		var rows []string
		// As JSON, with bytea read as text as well: bodies and answers are stored as bytes.
		must(h.t, h.DB.NewRaw(fmt.Sprintf(`SELECT to_json(t)::text FROM %s AS t WHERE to_json(t)::text ILIKE ? OR to_json(t)::text ILIKE ?`, table),
			"%"+marker+"%", "%"+fmt.Sprintf("%x", marker)+"%").Scan(ctx, &rows))
		for _, row := range rows {
			where = append(where, table+" "+row)
		}
	}
	return where
}

func TestErase(t *testing.T) {
	t.Parallel()
	// A receiver that says back what it was told.
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	t.Cleanup(echo.Close)
	p := newPlay()
	p.ports = []uint16{netip.MustParseAddrPort(echo.Listener.Addr().String()).Port()}
	h := newHouse(t, nil, p)
	h.Render = func(r *Run, ms []*RunProfile) ([]byte, error) {
		return json.Marshal(map[string]any{"run": r.ID, "profiles": ms})
	}
	ctx := h.company(100, false)
	hook, _, err := h.Dispatch.CreateWebhook(ctx, dispatch.CreateWebhookInput{URL: echo.URL, AllRuns: true, MaxRetries: 1, TimeoutMillis: 5000})
	must(t, err)

	// Every value is a marker of its own.
	const m = "zqx7marker"
	person := ProfileInput{
		ExternalID: m + "external", Name: "Zelda " + m + "name", Headline: ptr(m + "headline"), Location: ptr(m + "location"),
		CurrentCompany: ptr(m + "company"), CurrentRole: ptr(m + "role"), Skills: []string{m + "skill"},
		Emails: []string{m + "mail@acme.test"}, Links: []string{"https://" + m + "site.test"}, Metadata: json.RawMessage(`{"note":"` + m + `meta"}`),
	}
	mine := h.one(ctx, "import", person)
	other := h.one(ctx, "other", ProfileInput{ExternalID: "other", Name: "Bo Berg", Links: []string{"https://bo-berg.test"}})
	run, _, err := h.Start(ctx, StartInput{ProfileIDs: []string{mine.ID, other.ID}, WebhookID: &hook.ID, Label: ptr("about Zelda " + m + "name")})
	must(t, err)
	run, _ = h.finished(ctx, run)
	if run.Progress.Enriched != 2 {
		t.Fatalf("%+v", run.Progress)
	}
	h.deliver(ctx, run.ID)
	places := h.found(m)
	if len(places) < 6 {
		t.Fatalf("the marker was planted in too few places: %q", places)
	}

	t.Run("refuses a reason that keeps what is to be forgotten", func(t *testing.T) {
		var invalid fault.InvalidInput
		if _, err := h.Erase(ctx, "e0", PersonRef{ProfileID: &mine.ID}, "asked by "+strings.ToUpper(m)+"MAIL@acme.test"); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("leaves no trace in any table, and everybody else's data", func(t *testing.T) {
		receipt, err := h.Erase(ctx, "e1", PersonRef{ProfileID: &mine.ID}, "asked by letter")
		must(t, err)
		if receipt.Profiles != 1 {
			t.Errorf("%+v", receipt)
		}
		for _, place := range h.found(m) {
			t.Errorf("still in %s", place)
		}
		members, err := h.Results(ctx, run)
		must(t, err)
		if members[0].Candidate != nil || members[0].ProfileID != mine.ID || members[0].Outcome != OutcomeEnriched {
			t.Errorf("%+v", members[0])
		}
		if members[1].Candidate == nil || members[1].Candidate.Name != "Bo Berg" {
			t.Errorf("somebody else's result is gone: %+v", members[1])
		}
		if gone, err := h.Profile(ctx, mine.ID); gone != nil || err != nil {
			t.Errorf("%+v, %v", gone, err)
		}
		after, err := h.Run(ctx, run.ID)
		must(t, err)
		if after.Label != nil || after.Captured != 2 {
			t.Errorf("%+v", after)
		}
	})

	t.Run("answers a repeat with the same receipt, though the profile is gone", func(t *testing.T) {
		first, err := h.Erase(ctx, "e1", PersonRef{ProfileID: &mine.ID}, "asked by letter")
		must(t, err)
		again, err := h.Erase(ctx, "e1", PersonRef{ProfileID: &mine.ID}, "asked by letter")
		must(t, err)
		if again.ID != first.ID || again.Profiles != 1 {
			t.Errorf("%+v and %+v", first, again)
		}
	})

	t.Run("refuses to hold the person again, by any identifier", func(t *testing.T) {
		for name, in := range map[string]ProfileInput{
			"address":       {ExternalID: "new-1", Name: "Z.", Emails: []string{strings.ToUpper(m) + "mail@ACME.test"}},
			"external id":   {ExternalID: person.ExternalID, Name: "Z."},
			"name and site": {ExternalID: "new-2", Name: m + "name, Zelda", Links: []string{"https://" + m + "site.test"}},
		} {
			im, err := h.Import(ctx, "again-"+strings.ReplaceAll(name, " ", "-"), []ImportRow{{Input: ProfileInput{ExternalID: "fine", Name: "Somebody Else"}}, {Input: in}})
			must(t, err)
			var refused PersonSuppressed
			if len(im.Refused) != 1 || !errors.As(im.Refused[0], &refused) || refused.Field[0] != "1" || refused.SuppressedAt.IsZero() || len(im.Profiles) != 1 {
				t.Errorf("by %s: %v, %d held", name, im.Refused, len(im.Profiles))
			}
		}
		if places := h.found(m); len(places) > 0 {
			t.Errorf("a refused import left %q", places)
		}
	})

	t.Run("does not hit a namesake, nor a stranger on the same site", func(t *testing.T) {
		h.one(ctx, "namesake", ProfileInput{ExternalID: "n1", Name: person.Name, Links: []string{"https://elsewhere.test"}})
		h.one(ctx, "colleague", ProfileInput{ExternalID: "n2", Name: "Hans Huber", Links: person.Links, Emails: []string{"hans@acme.test"}})
	})

	t.Run("has nothing to export afterwards but the objection", func(t *testing.T) {
		b, err := h.Export(ctx, PersonRef{Email: &person.Emails[0]})
		must(t, err)
		var out export
		must(t, json.Unmarshal(b, &out))
		if len(out.Profiles) != 0 || len(out.Results) != 0 || len(out.Suppressions) != 1 || !out.Suppressions[0].Erased {
			t.Errorf("%+v", out)
		}
	})
}

// deliver makes the attempts of a run's deliveries, as the delivery worker does.
func (h *house) deliver(ctx context.Context, runID string) {
	h.t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		c, err := h.Dispatch.Deliveries(ctx, pageArgs(10), dispatch.DeliveryFilter{RequestID: &runID, EventTypes: []dispatch.EventType{dispatch.EnrichCompleted}})
		must(h.t, err)
		if len(c.Nodes) > 0 && c.Nodes[0].Status == dispatch.DeliveryDelivered {
			return
		}
	}
	h.t.Fatal("the webhook was not told")
}

func TestSuppress(t *testing.T) {
	t.Parallel()
	p := newPlay()
	p.gate = make(chan struct{})
	h := newHouse(t, nil, p)
	ctx := h.company(100, false)

	t.Run("ends what is going on about the person, asks nobody any more, and shows nothing", func(t *testing.T) {
		ada := h.one(ctx, "ada", ProfileInput{ExternalID: "ada", Name: "Ada Lindqvist", Links: []string{"https://ada-lindqvist.test"}, Emails: []string{"ada@acme.test"}})
		bo := h.one(ctx, "bo", ProfileInput{ExternalID: "bo", Name: "Bo Berg", Links: []string{"https://bo-berg.test"}})
		run := h.start(ctx, ada.ID, bo.ID)
		h.waitFor(ctx, run.ID, func(r *Run) bool { return r.Progress.Active == 2 })
		at, n, err := h.Suppress(ctx, PersonRef{Email: ptr("Ada@ACME.test")}, "by phone")
		must(t, err)
		if n != 1 || at.IsZero() {
			t.Errorf("%d profiles since %s", n, at)
		}
		now, err := h.Run(ctx, run.ID)
		must(t, err)
		if now.Progress.Suppressed != 1 || now.Progress.Active != 1 {
			t.Errorf("%+v", now.Progress)
		}
		close(p.gate)
		end, _ := h.finished(ctx, run)
		if end.Progress.Suppressed != 1 || end.Progress.Enriched != 1 || end.Captured != 1 || end.Released != 1 {
			t.Errorf("%+v %+v", end.Progress, end.Credits())
		}
		shown, err := h.Profile(ctx, ada.ID)
		must(t, err)
		if !shown.Suppressed || shown.Name != "" || len(shown.Emails) > 0 {
			t.Errorf("%+v", shown)
		}
		again, n, err := h.Suppress(ctx, PersonRef{ProfileID: &ada.ID}, "again")
		must(t, err)
		if n != 1 || !again.Equal(at) {
			t.Errorf("a repeat: %d profiles since %s, not %s", n, again, at)
		}
		before := len(p.asked)
		later, _ := h.finished(ctx, h.start(ctx, ada.ID))
		if later.Progress.Suppressed != 1 || len(p.asked) != before {
			t.Errorf("%+v, %d asked after %d", later.Progress, len(p.asked), before)
		}
	})

	t.Run("hides what earlier runs found, also by an address that only a run met", func(t *testing.T) {
		cy := h.one(ctx, "cy", ProfileInput{ExternalID: "cy", Name: "Cy Carlsson", Links: []string{"https://cy-carlsson.test"}})
		run, _ := h.finished(ctx, h.start(ctx, cy.ID))
		if run.Progress.Enriched != 1 {
			t.Fatalf("%+v", run.Progress)
		}
		_, n, err := h.Suppress(ctx, PersonRef{Email: ptr("me@cy-carlsson.test")}, "wrote to us")
		must(t, err)
		members, err := h.Results(ctx, run)
		must(t, err)
		if n != 1 || members[0].Candidate != nil {
			t.Errorf("%d profiles, %+v", n, members[0].Candidate)
		}
		again, _ := h.finished(ctx, h.start(ctx, cy.ID))
		if again.Progress.Suppressed != 1 {
			t.Errorf("%+v", again.Progress)
		}
	})

	t.Run("drops what was found when a run meets a suppressed address", func(t *testing.T) {
		_, n, err := h.Suppress(ctx, PersonRef{Email: ptr("me@di-dahl.test")}, "wrote to us")
		must(t, err)
		if n != 0 {
			t.Errorf("%d profiles", n)
		}
		di := h.one(ctx, "di", ProfileInput{ExternalID: "di", Name: "Di Dahl", Links: []string{"https://di-dahl.test"}})
		run, _ := h.finished(ctx, h.start(ctx, di.ID))
		members, err := h.Results(ctx, run)
		must(t, err)
		if run.Progress.Suppressed != 1 || run.Captured != 0 || members[0].Candidate != nil {
			t.Errorf("%+v", run.Progress)
		}
	})

	t.Run("holds for one company only, and is listed there", func(t *testing.T) {
		other := h.company(10, false)
		ada := h.one(other, "ada", ProfileInput{ExternalID: "ada", Name: "Ada Lindqvist", Links: []string{"https://ada-lindqvist.test"}, Emails: []string{"ada@acme.test"}})
		run, _ := h.finished(other, h.start(other, ada.ID))
		if run.Progress.Enriched != 1 {
			t.Errorf("%+v", run.Progress)
		}
		if c, err := h.Suppressions(other, pageArgs(10)); err != nil || len(c.Nodes) != 0 {
			t.Errorf("%v, %v", c, err)
		}
		c, err := h.Suppressions(ctx, pageArgs(3))
		must(t, err)
		if len(c.Nodes) != 3 || !c.PageInfo.HasNextPage || len(c.Nodes[0].Hex()) != 64 {
			t.Errorf("%+v", c)
		}
	})

	t.Run("takes a shared mailbox for its person only when the objection names it", func(t *testing.T) {
		shared := []string{"info@office.test"}
		eva := h.one(ctx, "eva", ProfileInput{ExternalID: "eva", Name: "Eva Ek", Emails: shared})
		fia := h.one(ctx, "fia", ProfileInput{ExternalID: "fia", Name: "Fia Falk", Emails: shared})
		suppressed := func(id string) bool {
			p, err := h.Profile(ctx, id)
			must(t, err)
			return p.Suppressed
		}
		if _, n, err := h.Suppress(ctx, PersonRef{ProfileID: &eva.ID}, "by phone"); err != nil || n != 1 || !suppressed(eva.ID) || suppressed(fia.ID) {
			t.Errorf("%d, %v", n, err)
		}
		if _, n, err := h.Suppress(ctx, PersonRef{Email: &shared[0]}, "by phone"); err != nil || n != 2 || !suppressed(fia.ID) {
			t.Errorf("%d, %v", n, err)
		}
	})

	t.Run("does not know profiles of others, and wants exactly one name", func(t *testing.T) {
		for name, ref := range map[string]PersonRef{
			"unknown": {ProfileID: ptr("prof_nobody")}, "none": {}, "two": {ProfileID: ptr("a"), Email: ptr("a@b.test")}, "no address": {Email: ptr("nobody")},
		} {
			if _, _, err := h.Suppress(ctx, ref, "x"); err == nil {
				t.Errorf("%s: accepted", name)
			} else if _, rest := fault.Users(err); rest != nil {
				t.Errorf("%s: %v is no refusal", name, err)
			}
		}
	})
}

func TestExport(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, newPlay())
	ctx := h.company(10, false)
	ada := h.one(ctx, "ada", ProfileInput{ExternalID: "ada", Name: "Ada Lindqvist", Links: []string{"https://ada-lindqvist.test"}})
	h.finished(ctx, h.start(ctx, ada.ID))

	t.Run("shows each value with its source and time, also of a suppressed person", func(t *testing.T) {
		_, _, err := h.Suppress(ctx, PersonRef{ProfileID: &ada.ID}, "by phone")
		must(t, err)
		b, err := h.Export(ctx, PersonRef{ExternalID: ptr("ada")})
		must(t, err)
		var out export
		must(t, json.Unmarshal(b, &out))
		if len(out.Profiles) != 1 || out.Profiles[0].Values[1] != (exportedValue{Field: "name", Value: "Ada Lindqvist", Source: "import", FetchedAt: out.Profiles[0].Values[1].FetchedAt}) {
			t.Errorf("%+v", out.Profiles)
		}
		c := out.Results[0].Candidate
		if c == nil || c.AllFacts[0].Evidence[0].Source != "play" || c.AllFacts[0].Evidence[0].ObservedAt.IsZero() || len(out.Suppressions) == 0 {
			t.Errorf("%+v", out)
		}
	})
	t.Run("is nothing when nothing is held", func(t *testing.T) {
		if b, err := h.Export(ctx, PersonRef{ProfileID: ptr("prof_nobody")}); b != nil || err != nil {
			t.Errorf("%s, %v", b, err)
		}
		if b, err := h.Export(ctx, PersonRef{Email: ptr("stranger@acme.test")}); b != nil || err != nil {
			t.Errorf("%s, %v", b, err)
		}
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, newPlay())
	ctx := h.company(10, false)
	ada := h.profiles(ctx, "Ada Lindqvist")[0]
	run, _, err := h.Start(ctx, StartInput{IdempotencyKey: "once", ProfileIDs: []string{ada}})
	must(t, err)
	h.finished(ctx, run)
	result := func() *RunProfile {
		members, err := h.Results(ctx, run)
		must(t, err)
		if len(members) == 0 {
			return nil
		}
		return members[0]
	}
	after := func(days int) time.Time { return time.Now().AddDate(0, 0, days) }

	t.Run("keeps evidence for thirty days, however often it is looked at", func(t *testing.T) {
		must(t, h.SweepRetention(ctx, after(29)))
		if c := result().Candidate; c == nil || len(c.AllFacts[0].Evidence) == 0 {
			t.Errorf("%+v", c)
		}
		must(t, h.SweepRetention(ctx, after(31)))
		c := result().Candidate
		if c == nil || len(c.AllFacts) == 0 || len(c.AllFacts[0].Evidence) != 0 || c.Name != "Ada Lindqvist" {
			t.Errorf("%+v", c)
		}
		if left := h.found("https://ada-lindqvist.test"); len(left) != 1 || !strings.HasPrefix(left[0], "public.profiles") {
			t.Errorf("evidence is left in %q", left)
		}
	})
	t.Run("keeps results for ninety days, and the ledger for good", func(t *testing.T) {
		must(t, h.SweepRetention(ctx, after(89)))
		if result() == nil {
			t.Fatal("gone too early")
		}
		must(t, h.SweepRetention(ctx, after(91)))
		if gone, err := h.Run(ctx, run.ID); gone != nil || err != nil || result() != nil {
			t.Errorf("%+v, %v", gone, err)
		}
		if b := h.balance(ctx); b.Available != 9 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("drops whole months of events, and makes those to come", func(t *testing.T) {
		must(t, h.SweepRetention(ctx, after(200)))
		var names []string
		must(t, h.DB.NewRaw("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'run_events'::regclass ORDER BY 1").Scan(ctx, &names))
		month := func(at time.Time) string { return "run_events_" + at.UTC().Format("2006_01") }
		want := map[string]bool{month(after(200)): true, "run_events_rest": true}
		for _, n := range names {
			delete(want, n)
			if n == month(time.Now()) {
				t.Errorf("%s is still there", n)
			}
		}
		if len(want) > 0 {
			t.Errorf("%v are missing of %v", want, names)
		}
	})
	t.Run("moves events that came before their month had a place", func(t *testing.T) {
		at := after(500)
		_, err := h.DB.NewRaw("INSERT INTO run_events (run_id, sequence, kind, occurred_at, data) VALUES (run_id_floor(?) || '-7000-8000-000000000000', 1, 'RunStatusChanged', ?, '{}')", at, at).Exec(ctx)
		must(t, err)
		must(t, h.SweepRetention(ctx, at))
		var where string
		must(t, h.DB.NewRaw("SELECT tableoid::regclass::text FROM run_events").Scan(ctx, &where))
		if where != "run_events_"+at.UTC().Format("2006_01") {
			t.Errorf("it lies in %s", where)
		}
	})
	t.Run("forgets idempotency keys after a day", func(t *testing.T) {
		var n int
		must(t, h.DB.NewRaw("SELECT count(*) FROM idempotency_keys").Scan(ctx, &n))
		if n != 0 {
			t.Errorf("%d are left", n)
		}
	})
	t.Run("can be set by company, but never below thirty days", func(t *testing.T) {
		id := access.From(ctx).Company.ID
		if err := h.SetRetention(ctx, id, 29, 90); !errors.As(err, new(fault.InvalidInput)) {
			t.Errorf("got %v", err)
		}
		if err := h.SetRetention(ctx, id, 60, 30); !errors.As(err, new(fault.InvalidInput)) {
			t.Errorf("got %v", err)
		}
		if err := h.SetRetention(ctx, "nobody", 30, 90); !errors.As(err, new(fault.NotFound)) {
			t.Errorf("got %v", err)
		}
		must(t, h.SetRetention(ctx, id, 40, 400))
		kept, _ := h.finished(ctx, h.start(ctx, ada))
		must(t, h.SweepRetention(ctx, after(399)))
		if still, err := h.Run(ctx, kept.ID); still == nil || err != nil {
			t.Errorf("gone: %v", err)
		}
	})
}
