package enrichment

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
)

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("takes profiles from import to evidence, credits and events", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx := h.company(10, false)
		ids := h.profiles(ctx, "Ada Lindqvist", "Bo Nobody", "Cy Broken", "Di Panic")
		run, events := h.finished(ctx, h.start(ctx, append(ids, "unknown")...))

		members, err := h.Results(ctx, run)
		must(t, err)
		got := map[string]Outcome{}
		for _, m := range members {
			got[m.ProfileID] = m.Outcome
		}
		want := map[string]Outcome{
			ids[0]: OutcomeEnriched, ids[1]: OutcomeNoMatch, ids[2]: OutcomeFailed, ids[3]: OutcomeFailed, "unknown": OutcomeNotFound,
		}
		for id, o := range want {
			if got[id] != o {
				t.Errorf("%s ended %s, not %s", id, got[id], o)
			}
		}
		if c := run.Credits(); c != (billing.RunCredits{Reserved: 5, Captured: 1, Released: 4}) {
			t.Errorf("credits %+v", c)
		}
		if b := h.balance(ctx); b.Available != 9 || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
		if c := members[0].Candidate; c == nil || len(c.AllFacts) == 0 || len(c.AllFacts[0].Evidence) == 0 || len(c.Emails) != 1 {
			t.Errorf("candidate %+v", c)
		}
		last, ok := events[len(events)-1].(*RunStatusChanged)
		if !ok || last.Status != StatusCompleted || last.Sequence != run.LastSequence {
			t.Errorf("the last event is %+v", events[len(events)-1])
		}
		for _, s := range run.Stages {
			if s.Status != StageDone && s.Status != StageSkipped {
				t.Errorf("stage %s is %s at the end", s.Stage, s.Status)
			}
		}
		stored, err := h.Events(ctx, []string{run.ID}, 0, page.MaxFirst)
		must(t, err)
		if n := len(stored[run.ID]); n != len(events) {
			t.Errorf("%d events stored, %d streamed", n, len(events))
		}
	})

	t.Run("with nothing to do ends at once and costs nothing", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx := h.company(3, false)
		run := h.start(ctx, "nobody-1", "nobody-2")
		if run.Status != StatusCompleted || run.Released != 2 || run.Progress.NotFound != 2 {
			t.Errorf("%+v", run)
		}
		if b := h.balance(ctx); b.Available != 3 || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
		h.finished(ctx, run)
	})

	t.Run("of another company is not found", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		mine, theirs := h.company(3, false), h.company(3, false)
		run := h.start(mine, h.profiles(mine, "Ada Lindqvist")...)
		if got, err := h.Run(theirs, run.ID); got != nil || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
		if _, err := h.Follow(theirs, run.ID, nil); !errors.As(err, new(fault.NotFound)) {
			t.Errorf("following it gives %v", err)
		}
		h.finished(mine, run)
	})
}

func TestStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, newPlay())

	t.Run("accepts exactly what the balance pays for, however many ask at once", func(t *testing.T) {
		ctx := h.company(10, false)
		id := h.profiles(ctx, "Ada Lindqvist")[0]
		var accepted, refused atomic.Int32
		var wg sync.WaitGroup
		gate := make(chan struct{})
		for range 50 {
			wg.Go(func() {
				<-gate
				_, _, err := h.Start(ctx, StartInput{ProfileIDs: []string{id}})
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.As(err, new(billing.InsufficientCredits)):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		close(gate)
		wg.Wait()
		if accepted.Load() != 10 || refused.Load() != 40 {
			t.Errorf("%d accepted, %d refused", accepted.Load(), refused.Load())
		}
	})

	t.Run("refuses with nothing started and nothing held", func(t *testing.T) {
		ctx := h.company(1, false)
		ids := h.profiles(ctx, "Ada Lindqvist", "Bo Berg")
		hook := "123e4567-e89b-42d3-a456-426614174000"
		two := int64(1)
		for name, in := range map[string]StartInput{
			"too few credits": {ProfileIDs: ids}, "no profile": {}, "too many": {ProfileIDs: slices.Repeat([]string{"x"}, 11), AllowRepeats: true},
			"a repeat": {ProfileIDs: []string{ids[0], ids[0]}}, "NUL": {ProfileIDs: []string{"a\x00b"}}, "unknown webhook": {ProfileIDs: ids[:1], WebhookID: &hook},
			"over maxCredits": {ProfileIDs: ids, MaxCredits: &two}, "an empty id": {ProfileIDs: []string{""}},
		} {
			if run, _, err := h.Start(ctx, in); err == nil {
				t.Errorf("%s: accepted as %s", name, run.ID)
			} else if _, rest := fault.Users(err); rest != nil {
				t.Errorf("%s: %v is no refusal", name, err)
			}
		}
		if b := h.balance(ctx); b.Available != 1 || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
		c, err := h.Runs(ctx, pageArgs(10), RunFilter{}, OrderNewest)
		must(t, err)
		if len(c.Nodes) != 0 {
			t.Errorf("%d runs were started", len(c.Nodes))
		}
	})

	t.Run("once for one key, however often it is repeated", func(t *testing.T) {
		ctx := h.company(50, false)
		ids := h.profiles(ctx, "Ada Lindqvist", "Bo Berg")
		var mu sync.Mutex
		runs := map[string]int{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				run, _, err := h.Start(ctx, StartInput{IdempotencyKey: "same", ProfileIDs: ids})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				runs[run.ID]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if len(runs) != 1 {
			t.Errorf("%d runs: %v", len(runs), runs)
		}
		_, _, err := h.Start(ctx, StartInput{IdempotencyKey: "same", ProfileIDs: ids[:1]})
		var reused fault.IdempotencyKeyReused
		if !errors.As(err, &reused) || runs[reused.OriginalRequestID] == 0 {
			t.Errorf("other input under the same key gives %v", err)
		}
	})
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	t.Run("one hanging profile among ten times out, free, and the nine are done within eleven seconds", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx := h.company(10, false)
		ids := h.profiles(ctx, "A One", "B Two", "C Three", "D Four", "E Five", "F Six", "G Seven", "H Eight", "I Nine", "J Hang")
		began := time.Now()
		run, _ := h.finished(ctx, h.start(ctx, ids...))
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("the run took %s", took)
		}
		if run.Progress.Enriched != 9 || run.Progress.TimedOut != 1 || run.Captured != 9 || run.Released != 1 {
			t.Errorf("%+v %+v", run.Progress, run.Credits())
		}
	})
}

func TestDuplicateExecution(t *testing.T) {
	t.Parallel()
	p := newPlay()
	h := newHouse(t, nil, p)
	ctx := h.company(10, false)
	ids := h.profiles(ctx, "Ada Lindqvist", "Bo Berg")

	t.Run("of the same job at once settles the profile once", func(t *testing.T) {
		p.gate = make(chan struct{})
		run := h.start(ctx, ids...)
		var wg sync.WaitGroup
		for range 8 {
			for _, id := range ids {
				wg.Go(func() {
					job := &river.Job[ProfileArgs]{JobRow: &rivertype.JobRow{Attempt: 1, MaxAttempts: 3}, Args: ProfileArgs{Run: run.ID, Profile: id}}
					if err := h.worker.Work(context.Background(), job); err != nil {
						t.Error(err)
					}
				})
			}
		}
		close(p.gate)
		end, events := h.finished(ctx, run)
		wg.Wait()
		if end.Captured != 2 || end.Progress.Enriched != 2 {
			t.Errorf("%+v %+v", end.Progress, end.Credits())
		}
		again, err := h.Run(ctx, run.ID)
		must(t, err)
		if again.LastSequence != len(events) || again.Captured != 2 {
			t.Errorf("a late execution changed the run: %+v", again)
		}
	})

	t.Run("after the end changes nothing", func(t *testing.T) {
		end, _ := h.finished(ctx, h.start(ctx, ids[0]))
		job := &river.Job[ProfileArgs]{JobRow: &rivertype.JobRow{Attempt: 2, MaxAttempts: 3}, Args: ProfileArgs{Run: end.ID, Profile: ids[0]}}
		must(t, h.worker.Work(context.Background(), job))
		must(t, h.settler.Settle(ctx, end.ID, end.CompanyID, ids[0], Finish{Outcome: OutcomeEnriched, Candidate: &pipeline.Candidate{}}))
		after, err := h.Run(ctx, end.ID)
		must(t, err)
		if after.LastSequence != end.LastSequence || after.Captured != 1 {
			t.Errorf("%+v", after)
		}
	})
}
