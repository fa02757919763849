package enrichment

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/fault"
)

// waitFor looks at a run until it is as wanted.
func (h *house) waitFor(ctx context.Context, id string, wanted func(*Run) bool) *Run {
	h.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		run, err := h.Run(ctx, id)
		must(h.t, err)
		if wanted(run) {
			return run
		}
	}
	h.t.Fatalf("run %s never came to it", id)
	return nil
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("lets what is at work finish and be paid for, and frees the rest", func(t *testing.T) {
		t.Parallel()
		p := newPlay()
		p.gate, p.workers = make(chan struct{}), 2
		h := newHouse(t, nil, p)
		ctx := h.company(10, false)
		run := h.start(ctx, h.profiles(ctx, "A One", "B Two", "C Three", "D Four", "E Five")...)
		h.waitFor(ctx, run.ID, func(r *Run) bool { return r.Progress.Active == 2 })
		reason := "enough for today"
		run, err := h.Cancel(ctx, run.ID, &reason)
		must(t, err)
		if run.Status != StatusCancelling || run.Progress.Cancelled != 3 || run.Progress.Active != 2 {
			t.Fatalf("%s %+v", run.Status, run.Progress)
		}
		again, err := h.Cancel(ctx, run.ID, nil)
		must(t, err)
		if again.Status != run.Status || again.Progress != run.Progress || *again.CancelReason != reason {
			t.Errorf("cancelling again changed the run: %+v", again)
		}
		close(p.gate)
		end, events := h.finished(ctx, run)
		if end.Status != StatusCancelled || end.Progress.Enriched != 2 || end.Progress.Cancelled != 3 {
			t.Errorf("%s %+v", end.Status, end.Progress)
		}
		if c := end.Credits(); c != (billing.RunCredits{Reserved: 5, Captured: 2, Released: 3}) {
			t.Errorf("credits %+v", c)
		}
		if b := h.balance(ctx); b.Available != 8 || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
		if last := events[len(events)-1].(*RunStatusChanged); last.Status != StatusCancelled {
			t.Errorf("the last event is %+v", last)
		}
		if n := len(p.asked); n != 2 {
			t.Errorf("%d people were asked about", n)
		}
		if after, err := h.Cancel(ctx, run.ID, nil); err != nil || after.LastSequence != end.LastSequence {
			t.Errorf("cancelling a cancelled run: %v", err)
		}
	})

	t.Run("ends a run at once of which nothing has begun", func(t *testing.T) {
		t.Parallel()
		p := newPlay()
		p.gate, p.workers = make(chan struct{}), 1
		h := newHouse(t, nil, p)
		ctx := h.company(10, false)
		ids := h.profiles(ctx, "A One", "B Two", "C Three")
		busy := h.start(ctx, ids[0])
		h.waitFor(ctx, busy.ID, func(r *Run) bool { return r.Progress.Active == 1 })
		run, err := h.Cancel(ctx, h.start(ctx, ids[1:]...).ID, nil)
		must(t, err)
		if run.Status != StatusCancelled || run.Released != 2 || run.StartedAt != nil {
			t.Errorf("%+v", run)
		}
		h.finished(ctx, run)
		close(p.gate)
		h.finished(ctx, busy)
		if b := h.balance(ctx); b.Available != 9 || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
	})

	t.Run("refuses a run that has ended, and does not know another company's", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx, other := h.company(10, false), h.company(10, false)
		run, _ := h.finished(ctx, h.start(ctx, h.profiles(ctx, "A One")...))
		var conflict fault.Conflict
		if _, err := h.Cancel(ctx, run.ID, nil); !errors.As(err, &conflict) || conflict.State != "COMPLETED" {
			t.Errorf("got %v", err)
		}
		for _, id := range []string{run.ID, "enr_nothing", "a\x00"} {
			if _, err := h.Cancel(other, id, nil); !errors.As(err, new(fault.NotFound)) {
				t.Errorf("%q: got %v", id, err)
			}
		}
		long := strings.Repeat("x", maxReason+1)
		if _, err := h.Cancel(ctx, run.ID, &long); !errors.As(err, new(fault.InvalidInput)) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRetryFailed(t *testing.T) {
	t.Parallel()
	p := newPlay()
	h := newHouse(t, nil, p)

	t.Run("tries again in the same run, holds anew, and goes on counting", func(t *testing.T) {
		ctx := h.company(10, false)
		ids := h.profiles(ctx, "Ada Lindqvist", "Cy Broken")
		first, before := h.finished(ctx, h.start(ctx, ids...))
		if first.Progress.Failed != 1 {
			t.Fatalf("%+v", first.Progress)
		}
		_, err := h.DB.NewRaw("UPDATE profiles SET links = ARRAY['https://mended.test'] WHERE id = ?", ids[1]).Exec(ctx)
		must(t, err)
		run, n, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "again", RequestID: first.ID})
		must(t, err)
		if n != 1 || run.Status != StatusRunning || run.ID != first.ID || run.Reserved != 3 || run.FinishedAt != nil {
			t.Fatalf("%d queued, %+v", n, run)
		}
		end, events := h.finished(ctx, run)
		if len(events) <= len(before) || end.Progress.Enriched != 2 || end.Progress.Failed != 0 {
			t.Errorf("%d events after %d, %+v", len(events), len(before), end.Progress)
		}
		if c := end.Credits(); c != (billing.RunCredits{Reserved: 3, Captured: 2, Released: 1}) {
			t.Errorf("credits %+v", c)
		}
		if b := h.balance(ctx); b.Available != 8 || b.Held != 0 {
			t.Errorf("balance %+v", b)
		}
		for _, s := range end.Stages {
			if s.FinishedAt == nil || s.Passed != 2 {
				t.Errorf("stage %+v at the end", s)
			}
		}
		replayed, n, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "again", RequestID: first.ID})
		must(t, err)
		if n != 1 || replayed.LastSequence != end.LastSequence {
			t.Errorf("a repeat queued %d and changed the run to %+v", n, replayed)
		}
		var reused fault.IdempotencyKeyReused
		if _, _, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "again", RequestID: first.ID, ProfileIDs: ids[:1]}); !errors.As(err, &reused) || reused.OriginalRequestID != first.ID {
			t.Errorf("got %v", err)
		}
		if _, n, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "nothing", RequestID: first.ID}); n != 0 || err != nil {
			t.Errorf("with nothing to retry: %d, %v", n, err)
		}
	})

	t.Run("refuses what did not fail, runs that go on, and what the credits do not pay for", func(t *testing.T) {
		ctx := h.company(1, false)
		ids := h.profiles(ctx, "Ada Lindqvist", "Cy Broken")
		good, _ := h.finished(ctx, h.start(ctx, ids[0]))
		var conflict fault.Conflict
		if _, _, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "a", RequestID: good.ID, ProfileIDs: ids[:1]}); !errors.As(err, &conflict) || conflict.State != "ENRICHED" {
			t.Errorf("got %v", err)
		}
		if _, _, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "b", RequestID: good.ID, ProfileIDs: ids[1:]}); !errors.As(err, new(fault.NotFound)) {
			t.Errorf("got %v", err)
		}
		_, _, err := h.Ledger.Grant(ctx, billing.Grant{CompanyID: good.CompanyID, Credits: 1, Kind: billing.KindGrant, Memo: "one more", Actor: "test", Key: "second"})
		must(t, err)
		bad, _ := h.finished(ctx, h.start(ctx, ids[1]))
		h.finished(ctx, h.start(ctx, ids[0])) // spends the last credit
		if _, _, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "c", RequestID: bad.ID}); !errors.As(err, new(billing.InsufficientCredits)) {
			t.Errorf("got %v", err)
		}
		if after, err := h.Run(ctx, bad.ID); err != nil || after.LastSequence != bad.LastSequence || after.Status != StatusCompleted {
			t.Errorf("a refusal changed the run: %+v, %v", after, err)
		}
	})
}
