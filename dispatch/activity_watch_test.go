package dispatch

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/wake"
)

// tell announces n activities and publishes them.
func (b *bundle) tell(hub *wake.Hub, n int, kind ActivityKind) {
	b.t.Helper()
	list := make([]Activity, n)
	for i := range list {
		list[i] = b.activity(b.principal, fmt.Sprint(i))
		list[i].Kind = kind
	}
	b.announce(list...)
	hub.Publish(CompanyTopic(b.principal.Company.ID))
}

// until waits for the watch to hold what ok wants.
func until(t *testing.T, w *ActivityWatch, after int64, ok func(found []*Activity, from, to int64) bool) {
	t.Helper()
	grown := make(chan struct{}, 1)
	w.Notify(func() {
		select {
		case grown <- struct{}{}:
		default:
		}
	})
	for {
		if ok(w.Held(after)) {
			return
		}
		select {
		case <-grown:
		case <-time.After(30 * time.Second):
			found, from, to := w.Held(after)
			t.Fatalf("%d held, behind %d up to %d", len(found), from, to)
		}
	}
}

func TestActivityWatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hub := wake.NewHub()
	ctx := b.as(b.principal)
	watch := func(cursor string, kinds ...ActivityKind) *ActivityWatch {
		w, err := b.WatchActivity(ctx, hub, cursor, kinds...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	b.tell(hub, 3, ActivityCreditsLow)
	now, low, start := watch(""), watch("", ActivityCreditsLow), watch(activityCursor(1))
	if now.From != 3 || low.From != 3 || start.From != 1 {
		t.Fatal(now.From, low.From, start.From)
	}
	if again := watch("", ActivityCreditsLow, ActivityCreditsLow); again.Log() != low.Log() || again.Log() == now.Log() {
		t.Error("who watches the same shares it, and nobody else")
	}
	// What came before the first of them watched is there to be read.
	if _, from, to := start.Held(start.From); from != 3 || to != 3 {
		t.Errorf("holds behind %d up to %d", from, to)
	}
	if own, err := start.Read(ctx, 1); err != nil || len(own) != 2 || own[0].Sequence != 2 {
		t.Errorf("%d read, %v", len(own), err)
	}
	b.tell(hub, 2, ActivityCircuitOpened)
	b.tell(hub, 1, ActivityCreditsLow)
	until(t, now, 3, func(found []*Activity, from, to int64) bool { return len(found) == 3 && from == 3 && to == 6 })
	until(t, low, 3, func(found []*Activity, from, to int64) bool {
		return len(found) == 1 && found[0].Sequence == 6 && from == 3 && to == 6
	})
	b.tell(hub, activityHeld, ActivityCircuitClosed)
	all := int64(6 + activityHeld)
	until(t, now, 3, func(found []*Activity, from, to int64) bool {
		return len(found) == activityHeld && from == 6 && to == all
	})
	var own []*Activity
	for after := low.From; ; after = own[len(own)-1].Sequence {
		page, err := low.Read(ctx, after)
		if err != nil {
			t.Fatal(err)
		}
		if own = append(own, page...); len(page) == 0 {
			break
		}
	}
	if len(own) != 1 || own[0].Sequence != 6 {
		t.Errorf("%d read", len(own))
	}
	if _, err := b.WatchActivity(ctx, hub, "eA"); err == nil {
		t.Error("a cursor of another list was taken")
	}
	if _, err := b.WatchActivity(context.Background(), hub, ""); err == nil {
		t.Error("nobody was let in")
	}
}

func TestActivityWatchEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hub := wake.NewHub()
	var all []*ActivityWatch
	for range 50 {
		w, err := b.WatchActivity(b.as(b.principal), hub, "")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	// readers counts the goroutines that read this service's companies.
	readers := func() int {
		buf := make([]byte, 1<<20)
		return strings.Count(string(buf[:runtime.Stack(buf, true)]), fmt.Sprintf("(*activityTail).read(%p", all[0].tail))
	}
	eventuallyReaders := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); readers() != want; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%d readers, not %d", readers(), want)
			}
		}
	}
	eventuallyReaders(1)
	for _, w := range all {
		w.Close()
		w.Close()
	}
	eventuallyReaders(0)
	if len(b.Service.activity.by) != 0 {
		t.Error("a company is followed by nobody")
	}
}
