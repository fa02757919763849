package enrichment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/metrics"
	"github.com/enrichd/enrichd/internal/wake"
)

// safetyPoll is how often a reader looks in case a hint was lost, pollRuns how
// many followed runs it looks at each time, so that ten thousand idle ones cost no more than a few.
const (
	safetyPoll = time.Second
	pollRuns   = 500
)

// Feed follows runs for this process. It keeps one in-memory log per followed
// run, filled by one reader that asks for all changed runs in one statement;
// each subscriber walks the log at its own pace, so a slow one hurts only
// itself, and replay and live are the same walk. Logs are as long as their runs, so they are bounded.
type Feed struct {
	DB    *bun.DB
	Store Store
	Wake  wake.Waker
	Log   *slog.Logger
	// Metrics measures how old events are when they arrive; nil measures nothing.
	Metrics *metrics.Metrics

	mu    sync.Mutex
	runs  map[string]*tail
	dirty map[string]bool
	turn  []string // runs that the safety poll has still to look at in this round
	kick  chan struct{}
	stop  context.CancelFunc
	done  chan struct{}
}

// tail is one followed run: its events after base, in order and without gaps.
type tail struct {
	id      string
	base    int // sequence before the first event of the log
	events  []Event
	final   bool // the terminal event is in the log, and nothing follows it
	current bool // all that there was when it was first followed has been read
	readers int
	// notify are the watches that want to know of events that were added.
	notify []*Watch
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

// poll marks the next runs of the round.
func (f *Feed) poll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.turn) == 0 {
		for id := range f.runs {
			f.turn = append(f.turn, id)
		}
	}
	n := min(len(f.turn), pollRuns)
	for _, id := range f.turn[:n] {
		f.dirty[id] = true
	}
	f.turn = f.turn[n:]
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
			f.poll()
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
	f.dirty = map[string]bool{}
	f.mu.Unlock()
	if len(after) == 0 {
		return nil
	}
	rows, err := f.Store.tails(ctx, f.DB, after)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		for id := range after {
			f.dirty[id] = true // the next poll tries again
		}
		return err
	}
	var woken []func()
	defer func() {
		for _, wake := range woken {
			wake()
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	var grown *tail
	var broken []error
	for i := range rows {
		t := f.runs[rows[i].RunID]
		if t == nil || rows[i].Sequence != t.last()+1 {
			continue // nobody follows it any more, or another read was faster
		}
		e, err := rows[i].event()
		if err != nil {
			broken = append(broken, err) // this run stops here; the others go on
			continue
		}
		t.events = append(t.events, e)
		t.final = terminal(e)
		if t.current {
			f.Metrics.EventRead(time.Since(e.head().OccurredAt))
		}
		if t != grown { // rows come run by run
			grown = t
			for _, w := range t.notify {
				woken = append(woken, w.notify)
			}
		}
	}
	for id := range after {
		if t := f.runs[id]; t != nil {
			t.current = true
		}
	}
	return errors.Join(broken...)
}

func terminal(e Event) bool {
	s, ok := e.(*RunStatusChanged)
	return ok && s.Status.Final()
}

// follow joins the run's log, which then holds every event after from.
func (f *Feed) follow(ctx context.Context, run *Run, from int) (*tail, error) {
	f.mu.Lock()
	t := f.runs[run.ID]
	if t == nil {
		t = &tail{id: run.ID, base: from}
		f.runs[run.ID] = t
	}
	if run.LastSequence > t.last() {
		t.final = false // it may have been opened again
	}
	t.readers++
	base := t.base
	behind := run.LastSequence > t.last()
	f.mu.Unlock()
	if from < base {
		if err := f.extend(ctx, t, from, base); err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.leave(t)
			return nil, err
		}
	}
	if behind || !run.Status.Final() {
		f.hint([]string{run.ID})
	}
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

// leave counts a reader out; the lock is held.
func (f *Feed) leave(t *tail) {
	if t.readers--; t.readers == 0 && f.runs[t.id] == t {
		if delete(f.runs, t.id); len(f.runs) == 0 {
			f.runs = map[string]*tail{} // an emptied map keeps the memory of its fullest hour
		}
	}
}
