package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/wake"
)

const (
	// activityPoll is how long a reader trusts that no wake-up was lost.
	activityPoll = 5 * time.Second
	// activityHeld is how many activities of a company are held for those who follow it; who is further behind reads for himself.
	activityHeld = 512
)

// activityTails are the companies whose activity is followed in this process.
// Each is read by one goroutine, however many follow it, which ends with the last of them.
type activityTails struct {
	mu sync.Mutex
	by map[activityOf]*activityTail
}

// activityOf says whose activity: test keys see what test keys caused, and nothing else.
type activityOf struct {
	company string
	test    bool
}

type activityTail struct {
	service *Service
	who     access.Principal
	of      activityOf
	kick    chan struct{}
	stop    context.CancelFunc
	readers int // guarded by the tails' mu

	mu sync.Mutex
	// rows are the activities behind base and up to end, oldest first.
	base, end int64
	rows      []*Activity
	watches   map[*ActivityWatch]func()
}

// ActivityWatch is one follower's place in the activity of a company. It is for one goroutine at a time, but for Close.
type ActivityWatch struct {
	// From is the sequence behind which the follower begins.
	From int64

	tail  *activityTail
	kinds []ActivityKind
	close sync.Once
}

// WatchActivity takes a place in the activity of the asking company, behind
// the cursor; "" is from now on. kinds narrow it when given. Close must follow. A malformed cursor is an InvalidInput.
func (s *Service) WatchActivity(ctx context.Context, w wake.Waker, cursor string, kinds ...ActivityKind) (*ActivityWatch, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	from, err := activityPlace(cursor)
	if err != nil {
		return nil, err
	}
	end, err := s.store.activityEnd(ctx, s.DB, p.Company.ID)
	if err != nil {
		return nil, err
	}
	if cursor == "" {
		from = end
	}
	out := &ActivityWatch{From: from, kinds: slices.Compact(slices.Sorted(slices.Values(kinds)))}
	out.tail = s.activity.join(s, w, p, end)
	out.tail.put(out, nil)
	return out, nil
}

// join returns the company's tail, which reads from end on when it is new.
func (a *activityTails) join(s *Service, w wake.Waker, p *access.Principal, end int64) *activityTail {
	of := activityOf{p.Company.ID, p.Key.Test}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.by[of]
	if t == nil {
		if a.by == nil {
			a.by = map[activityOf]*activityTail{}
		}
		t = &activityTail{service: s, who: *p, of: of, kick: make(chan struct{}, 1), base: end, end: end, watches: map[*ActivityWatch]func(){}}
		a.by[of] = t
		ctx, stop := context.WithCancel(context.Background())
		t.stop = stop
		go t.read(ctx, w)
	}
	t.readers++
	return t
}

// leave counts a reader out; the last one ends the tail.
func (a *activityTails) leave(t *activityTail) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.readers--; t.readers == 0 {
		delete(a.by, t.of)
		t.stop()
	}
}

// read keeps the tail up to date until ctx ends. It listens first and then looks: what comes between is seen by the look.
func (t *activityTail) read(ctx context.Context, w wake.Waker) {
	topic := CompanyTopic(t.of.company)
	defer w.Notify(func(ids []string) {
		if ids == nil || slices.Contains(ids, topic) {
			select {
			case t.kick <- struct{}{}:
			default:
			}
		}
	})()
	poll := time.NewTicker(activityPoll)
	defer poll.Stop()
	for {
		found, err := t.service.store.activitySince(ctx, t.service.DB, &t.who, t.last(), nil, activityPage)
		if err != nil && ctx.Err() == nil {
			t.service.Log.WarnContext(ctx, "read company activity", "err", err)
		}
		t.add(found)
		if len(found) == activityPage {
			continue
		}
		select {
		case <-t.kick:
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *activityTail) last() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end
}

// add takes in what was read and tells those who watch.
func (t *activityTail) add(found []*Activity) {
	if len(found) == 0 {
		return
	}
	t.mu.Lock()
	t.rows, t.end = append(t.rows, found...), found[len(found)-1].Sequence
	if old := len(t.rows) - activityHeld; old > 0 {
		t.base = t.rows[old-1].Sequence
		t.rows = slices.Clone(t.rows[old:])
	}
	var woken []func()
	for _, f := range t.watches {
		if f != nil {
			woken = append(woken, f)
		}
	}
	t.mu.Unlock()
	for _, f := range woken {
		f()
	}
}

func (t *activityTail) put(w *ActivityWatch, f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches[w] = f
}

// Log is equal for those who watch the same kinds of one company.
func (w *ActivityWatch) Log() any {
	key := struct {
		tail  *activityTail
		kinds string
	}{tail: w.tail}
	for _, k := range w.kinds {
		key.kinds += string(k) + " "
	}
	return key
}

// Notify has f called after activities were added, until Close. f does not block.
func (w *ActivityWatch) Notify(f func()) { w.tail.put(w, f) }

// Close gives the place up.
func (w *ActivityWatch) Close() {
	w.close.Do(func() {
		w.tail.mu.Lock()
		delete(w.tail.watches, w)
		w.tail.mu.Unlock()
		w.tail.service.activity.leave(w.tail)
	})
}

// Held returns the activities that are held behind from and up to to, oldest
// first. from is later than after when some of what lies between is held no longer; Read has it.
func (w *ActivityWatch) Held(after int64) (found []*Activity, from, to int64) {
	t := w.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.rows {
		if a.Sequence > after && (len(w.kinds) == 0 || slices.Contains(w.kinds, a.Kind)) {
			found = append(found, a)
		}
	}
	return found, max(after, t.base), max(after, t.end)
}

// ownPage is how many activities a follower who is behind reads at once.
const ownPage = 100

// Read returns the next activities behind after from the database, none when there are no more.
func (w *ActivityWatch) Read(ctx context.Context, after int64) ([]*Activity, error) {
	return w.tail.service.store.activitySince(ctx, w.tail.service.DB, &w.tail.who, after, w.kinds, ownPage)
}
