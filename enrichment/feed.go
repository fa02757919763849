package enrichment

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/wake"
)

// safetyPoll is how long a reader trusts that no hint was lost.
const safetyPoll = time.Second

// Feed follows runs for this process. It keeps one in-memory log per followed
// run, filled by one reader that asks for all changed runs in one statement;
// each subscriber walks the log at its own pace, so a slow one hurts only
// itself, and replay and live are the same loop. Logs are as long as their runs, so they are bounded.
type Feed struct {
	DB    *bun.DB
	Store Store
	Wake  wake.Waker
	Log   *slog.Logger

	mu    sync.Mutex
	runs  map[string]*tail
	dirty map[string]bool
	kick  chan struct{}
	stop  context.CancelFunc
	done  chan struct{}
}

// tail is one followed run: its events after base, in order and without gaps.
type tail struct {
	id      string
	base    int // sequence before the first event of the log
	events  []Event
	final   bool          // the terminal event is in the log
	changed chan struct{} // closed and replaced when events were added
	readers int
}

func (t *tail) last() int { return t.base + len(t.events) }

// Start begins to read.
func (f *Feed) Start(ctx context.Context) error {
	f.runs, f.dirty = map[string]*tail{}, map[string]bool{}
	f.kick, f.done = make(chan struct{}, 1), make(chan struct{})
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	cancel := f.Wake.Notify(f.hint)
	go func() {
		defer close(f.done)
		defer cancel()
		f.read(ctx)
	}()
	return nil
}

// Stop ends the reader. Subscribers end by their own contexts.
func (f *Feed) Stop(context.Context) error {
	f.stop()
	<-f.done
	return nil
}

func (f *Feed) hint(ids []string) {
	f.mu.Lock()
	for _, id := range ids {
		if f.runs[id] != nil {
			f.dirty[id] = true
		}
	}
	if ids == nil {
		for id := range f.runs {
			f.dirty[id] = true
		}
	}
	any := len(f.dirty) > 0
	f.mu.Unlock()
	if any {
		select {
		case f.kick <- struct{}{}:
		default:
		}
	}
}

func (f *Feed) read(ctx context.Context) {
	poll := time.NewTicker(safetyPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
		case <-poll.C:
			f.hint(nil)
		}
		if err := f.catchUp(ctx); err != nil && ctx.Err() == nil {
			f.Log.WarnContext(ctx, "read followed runs", "err", err)
		}
	}
}

// catchUp reads what is new in the dirty runs and hands it to their subscribers.
func (f *Feed) catchUp(ctx context.Context) error {
	f.mu.Lock()
	after := make(map[string]int, len(f.dirty))
	for id := range f.dirty {
		if t := f.runs[id]; t != nil && !t.final {
			after[id] = t.last()
		}
	}
	clear(f.dirty)
	f.mu.Unlock()
	if len(after) == 0 {
		return nil
	}
	rows, err := f.Store.tails(ctx, f.DB, after)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range rows {
		t := f.runs[rows[i].RunID]
		if t == nil || rows[i].Sequence != t.last()+1 {
			continue // nobody follows it any more, or another read was faster
		}
		e, err := rows[i].event()
		if err != nil {
			return err
		}
		t.append(e)
	}
	return nil
}

// append adds an event and wakes whoever waits; the caller holds the lock.
func (t *tail) append(e Event) {
	t.events = append(t.events, e)
	t.final = terminal(e)
	close(t.changed)
	t.changed = make(chan struct{})
}

func terminal(e Event) bool {
	s, ok := e.(*RunStatusChanged)
	return ok && s.Status.Final()
}

// Follow streams a run's events. after nil: a snapshot first, then what follows
// it; after n: event n+1 onward. A position beyond the run's last is answered
// with a snapshot. The channel closes after the run's terminal event, or with
// ctx. It returns nil when the caller's company has no such run.
func (f *Feed) Follow(ctx context.Context, runID string, after *int) (<-chan Event, error) {
	p := access.From(ctx)
	if !ident.IsRun(runID) {
		return nil, nil
	}
	run, err := f.Store.run(ctx, f.DB, p.Company.ID, p.Key.Test, runID)
	if err != nil || run == nil {
		return nil, err
	}
	from := run.LastSequence
	var snapshot Event
	if after == nil || *after > run.LastSequence {
		snapshot = &RunSnapshot{
			Head: Head{Sequence: run.LastSequence, OccurredAt: now(), Progress: run.Progress},
			Run:  run,
		}
	} else {
		from = max(*after, 0)
	}
	t, err := f.follow(ctx, run.ID, from)
	if err != nil {
		return nil, err
	}
	out := make(chan Event)
	go func() {
		defer close(out)
		defer f.leave(t)
		send := func(e Event) bool {
			select {
			case out <- e:
				return true
			case <-ctx.Done():
				return false
			}
		}
		if snapshot != nil && !send(snapshot) {
			return
		}
		if run.Status.Final() && from >= run.LastSequence {
			return // nothing will follow
		}
		for at := from; ; {
			events, changed := f.after(t, at)
			for _, e := range events {
				if !send(e) {
					return
				}
				at = e.At()
				if terminal(e) && at >= run.LastSequence {
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
	}()
	return out, nil
}

// follow joins the run's log, which then holds every event after from.
func (f *Feed) follow(ctx context.Context, id string, from int) (*tail, error) {
	f.mu.Lock()
	t := f.runs[id]
	if t == nil {
		t = &tail{id: id, base: from, changed: make(chan struct{})}
		f.runs[id] = t
	}
	t.readers++
	base := t.base
	f.mu.Unlock()
	if from < base {
		if err := f.extend(ctx, t, from, base); err != nil {
			f.leave(t)
			return nil, err
		}
	}
	f.hint([]string{id})
	return t, nil
}

// extend puts older events before a log that began later.
func (f *Feed) extend(ctx context.Context, t *tail, from, base int) error {
	rows, err := f.Store.events(ctx, f.DB, t.id, from, base-from)
	if err != nil {
		return err
	}
	older, err := decode(rows)
	if err != nil {
		return err
	}
	if len(older) != base-from {
		return fmt.Errorf("run %s holds %d events between %d and %d", t.id, len(older), from, base)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.base > from { // else another subscriber was faster
		t.events = append(older[:t.base-from:t.base-from], t.events...)
		t.base = from
	}
	return nil
}

// after gives the log's events behind a position, and what to wait for when there are none.
func (f *Feed) after(t *tail, at int) ([]Event, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return t.events[min(max(at-t.base, 0), len(t.events)):], t.changed
}

func (f *Feed) leave(t *tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.readers--; t.readers == 0 && f.runs[t.id] == t {
		delete(f.runs, t.id)
	}
}
