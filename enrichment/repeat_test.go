package enrichment

import (
	"context"
	"testing"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/access"
)

// windowed is ctx's principal with a repeat window of days.
func windowed(ctx context.Context, days int) context.Context {
	p := *access.From(ctx)
	p.Company.RepeatWindowDays = days
	return access.With(ctx, &p)
}

func TestRepeatWindow(t *testing.T) {
	t.Parallel()
	p := newPlay()
	h := newHouse(t, nil, p)
	plain := h.company(100, false)
	ids := h.profiles(plain, "Ada One", "Bo Two")
	ctx := windowed(plain, 30)
	first, _ := h.finished(ctx, h.start(ctx, ids...))
	if first.Captured != 2 {
		t.Fatalf("%+v", first.Credits())
	}

	t.Run("serves an unchanged repeat from store, at once and free", func(t *testing.T) {
		before := h.balance(ctx)
		run := h.start(ctx, ids...)
		if run.Status != StatusCompleted || run.Captured != 0 || run.Released != 2 || run.Progress.Enriched != 2 {
			t.Fatalf("%s %+v %+v", run.Status, run.Credits(), run.Progress)
		}
		_, events := h.finished(ctx, run)
		if len(events) != run.LastSequence {
			t.Errorf("%d events, the last is %d", len(events), run.LastSequence)
		}
		was, err := h.Results(ctx, first)
		must(t, err)
		now, err := h.Results(ctx, run)
		must(t, err)
		for i, m := range now {
			if !m.FromStore || m.Credits != 0 || m.Outcome != OutcomeEnriched || m.Candidate == nil || m.Candidate.Name != was[i].Candidate.Name {
				t.Errorf("%+v", m)
			}
		}
		if h.balance(ctx) != before {
			t.Errorf("the balance moved from %+v to %+v", before, h.balance(ctx))
		}
		rc, err := h.Ledger.Credits(ctx, h.DB, run.ID)
		must(t, err)
		if rc[run.ID] != (billing.RunCredits{Reserved: 2, Released: 2}) || rc[run.ID] != run.Credits() {
			t.Errorf("%+v in the ledger, %+v in the run", rc[run.ID], run.Credits())
		}
	})
	t.Run("works again on a profile that has changed, and serves the other", func(t *testing.T) {
		_, err := h.Import(ctx, "changed", []ImportRow{{Input: ProfileInput{ExternalID: "x0", Name: "Ada One", Headline: ptr("Founder"), Links: []string{"https://ada-one.test"}}}})
		must(t, err)
		run, _ := h.finished(ctx, h.start(ctx, ids...))
		if run.Captured != 1 || run.Released != 1 || run.Progress.Enriched != 2 {
			t.Errorf("%+v %+v", run.Credits(), run.Progress)
		}
		members, err := h.Results(ctx, run)
		must(t, err)
		if members[0].FromStore || !members[1].FromStore {
			t.Errorf("from store: %t, %t", members[0].FromStore, members[1].FromStore)
		}
		again := h.start(ctx, ids...)
		if again.Captured != 0 || !again.Status.Final() {
			t.Errorf("the changed profile has a success of its own now: %+v", again.Credits())
		}
	})
	t.Run("works and costs as ever without a window, with a test key, and once the window has closed", func(t *testing.T) {
		if run, _ := h.finished(plain, h.start(plain, ids...)); run.Captured != 2 {
			t.Errorf("without a window: %+v", run.Credits())
		}
		_, err := h.DB.ExecContext(ctx, "UPDATE run_profiles SET finished_at = finished_at - interval '30 days' WHERE company_id = ?", access.From(ctx).Company.ID)
		must(t, err)
		if run, _ := h.finished(ctx, h.start(ctx, ids...)); run.Captured != 2 {
			t.Errorf("after the window: %+v", run.Credits())
		}
	})
	t.Run("opens no window of its own", func(t *testing.T) {
		_, err := h.DB.ExecContext(ctx, "UPDATE run_profiles SET finished_at = finished_at - interval '29 days' WHERE company_id = ?", access.From(ctx).Company.ID)
		must(t, err)
		if run := h.start(ctx, ids...); run.Captured != 0 {
			t.Fatalf("%+v", run.Credits())
		}
		_, err = h.DB.ExecContext(ctx, "UPDATE run_profiles SET finished_at = finished_at - interval '2 days' WHERE company_id = ?", access.From(ctx).Company.ID)
		must(t, err)
		if run, _ := h.finished(ctx, h.start(ctx, ids...)); run.Captured != 2 {
			t.Errorf("served from what was served: %+v", run.Credits())
		}
	})
	t.Run("never serves a person who objected", func(t *testing.T) {
		_, _, err := h.Suppress(ctx, PersonRef{ProfileID: &ids[1]}, "asked for it")
		must(t, err)
		run, _ := h.finished(ctx, h.start(ctx, ids...))
		if run.Progress.Suppressed != 1 || run.Progress.Enriched != 1 {
			t.Errorf("%+v", run.Progress)
		}
	})
}

func TestAbandonedRun(t *testing.T) {
	t.Parallel()
	p := newPlay()
	h := newHouse(t, nil, p)
	ctx := h.company(10, false)
	ids := h.profiles(ctx, "Ada One", "Bo Two")
	p.gate = make(chan struct{})
	run := h.start(ctx, ids...)
	late := func() {
		_, err := h.DB.ExecContext(ctx, "UPDATE billing_reservations SET expires_at = now() - interval '1 second'")
		must(t, err)
		_, err = h.DB.ExecContext(ctx, "UPDATE runs SET created_at = now() - interval '1 hour'")
		must(t, err)
	}
	late()
	n, err := h.Ledger.Reap(ctx, h.settler.Runs())
	must(t, err)
	if b := h.balance(ctx); n != 0 || b.Held != 2 {
		t.Errorf("a live run lost its hold: %+v", b)
	}
	close(p.gate)
	h.finished(ctx, run)

	// A run whose jobs are gone: the reaper has it fail, which releases its hold.
	p.mu.Lock()
	p.gate = make(chan struct{})
	gate := p.gate
	p.mu.Unlock()
	defer close(gate)
	lost := h.start(ctx, ids...)
	_, err = h.DB.ExecContext(ctx, "UPDATE river_job SET state = 'cancelled', finalized_at = now() WHERE kind = 'enrich_profile' AND args ->> 'run' = ?", lost.ID)
	must(t, err)
	late()
	_, err = h.Ledger.Reap(ctx, h.settler.Runs())
	must(t, err)
	end, _ := h.finished(ctx, lost)
	if b := h.balance(ctx); end.Progress.Failed != 2 || b.Held != 0 {
		t.Errorf("%+v %+v", end.Progress, b)
	}
}
