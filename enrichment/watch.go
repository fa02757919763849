package enrichment

import (
	"context"
	"slices"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/ident"
)

// Watch is one subscriber's place in a run's log. Close it.
type Watch struct {
	// Snapshot comes before any event, nil when the subscriber named a position to go on from.
	Snapshot *RunSnapshot
	// From is the sequence after which the events begin.
	From int
	// Until is the run's last sequence at the start: a terminal event at or after it ends the stream.
	Until int
	// Over says that nothing follows the snapshot, or the position.
	Over bool

	feed   *Feed
	tail   *tail
	notify func()
}

// Watch takes a place in a run's log. after nil: a snapshot first, then what
// follows it; after n: event n+1 onward. A position beyond the run's last, or
// no longer held, is answered with a snapshot. It returns nil when the caller's company has no such run.
func (f *Feed) Watch(ctx context.Context, runID string, after *int) (*Watch, error) {
	p := access.From(ctx)
	if !ident.IsRun(runID) {
		return nil, nil
	}
	run, err := f.Store.run(ctx, f.DB, p.Company.ID, p.Key.Test, runID)
	if err != nil || run == nil {
		return nil, err
	}
	w := &Watch{feed: f, From: run.LastSequence, Until: run.LastSequence}
	here := after != nil && *after <= run.LastSequence
	if here && *after < run.LastSequence {
		// Old events are not kept for ever.
		if here, err = f.Store.holdsEvent(ctx, f.DB, run.ID, max(*after, 0)+1); err != nil {
			return nil, err
		}
	}
	if !here {
		w.Snapshot = &RunSnapshot{
			Head: Head{Sequence: run.LastSequence, OccurredAt: now(), Progress: run.Progress},
			Run:  run,
		}
	} else {
		w.From = max(*after, 0)
	}
	w.Over = run.Status.Final() && w.From >= run.LastSequence
	w.tail, err = f.follow(ctx, run, w.From)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Log identifies the log: it is the same for all watches of one run that are open at once.
func (w *Watch) Log() any { return w.tail }

// After returns the events behind a position that is From or later, as many as there are by now.
func (w *Watch) After(position int) []Event {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	t := w.tail
	return t.events[min(max(position-t.base, 0), len(t.events)):]
}

// Last reports whether e ends a life of its run.
func (w *Watch) Last(e Event) bool { return terminal(e) }

// Notify has f called after events were added, until Close; f must not block.
// A second call replaces the first.
func (w *Watch) Notify(f func()) {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	if w.notify == nil {
		w.tail.notify = append(w.tail.notify, w)
	}
	w.notify = f
}

// Close gives the place up.
func (w *Watch) Close() {
	f, t := w.feed, w.tail
	f.mu.Lock()
	defer f.mu.Unlock()
	t.notify = slices.DeleteFunc(t.notify, func(other *Watch) bool { return other == w })
	f.leave(t)
}

// Follow is Watch as a channel. It closes after the run's terminal event, or
// with ctx. It is nil when the caller's company has no such run.
func (f *Feed) Follow(ctx context.Context, runID string, after *int) (<-chan Event, error) {
	w, err := f.Watch(ctx, runID, after)
	if w == nil || err != nil {
		return nil, err
	}
	out, changed := make(chan Event), make(chan struct{}, 1)
	w.Notify(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	go func() {
		defer close(out)
		defer w.Close()
		w.pour(ctx, out, changed)
	}()
	return out, nil
}

// pour sends what the watch shows until the stream ends.
func (w *Watch) pour(ctx context.Context, out chan<- Event, changed <-chan struct{}) {
	send := func(e Event) bool {
		select {
		case out <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if w.Snapshot != nil && !send(w.Snapshot) || w.Over {
		return
	}
	for at := w.From; ; {
		events := w.After(at)
		for _, e := range events {
			if !send(e) {
				return
			}
			if at = e.At(); terminal(e) && at >= w.Until {
				return
			}
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
