package enrichment

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	t.Run("shows whoever joins at whatever place the same log, without gap or repeat", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx := h.company(10, false)
		run := h.start(ctx, h.profiles(ctx, "Ada Lindqvist", "Berta Lind", "Carla Berg", "Dora Dahl")...)
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				after := &i
				if i%4 == 3 {
					after = nil
				}
				collect(t, ctx, h.Feed, run.ID, after)
			})
		}
		wg.Wait()
		h.finished(ctx, run)
	})

	t.Run("goes on when a run is opened again, though somebody still reads its earlier life", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx := h.company(10, false)
		run := h.start(ctx, h.profiles(ctx, "Ada Lindqvist", "Broken Site")...)
		zero := 0
		slow, err := h.Feed.Watch(ctx, run.ID, &zero)
		must(t, err)
		defer slow.Close()
		first, _ := h.finished(ctx, run)
		_, n, err := h.RetryFailed(ctx, RetryInput{IdempotencyKey: "again", RequestID: run.ID})
		must(t, err)
		if n != 1 {
			t.Fatalf("%d profiles are tried again", n)
		}
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		later := collect(t, within, h.Feed, run.ID, &first.LastSequence)
		if len(later) == 0 || !terminal(later[len(later)-1]) {
			t.Errorf("%d events of the second life", len(later))
		}
	})

	t.Run("answers a position that is no longer held with a snapshot", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t, nil, newPlay())
		ctx := h.company(10, false)
		end, _ := h.finished(ctx, h.start(ctx, h.profiles(ctx, "Ada Lindqvist")...))
		if _, err := h.DB.NewDelete().Model((*eventRow)(nil)).Where("run_id = ?", end.ID).Exec(ctx); err != nil {
			t.Fatal(err)
		}
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		zero := 0
		events := collect(t, within, h.Feed, end.ID, &zero)
		if len(events) != 1 || events[0].At() != end.LastSequence {
			t.Fatalf("%d events", len(events))
		}
		if s, ok := events[0].(*RunSnapshot); !ok || s.Run.Status != end.Status {
			t.Errorf("began with %T", events[0])
		}
	})
}
