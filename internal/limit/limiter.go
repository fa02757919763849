package limit

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
)

const (
	// leaseFor is how long a node may use what it was lent, by its own clock; the
	// database waits longer, so that what was used is booked before the rest is free again.
	leaseFor   = 3 * time.Second
	leaseInRow = 6 * time.Second
	bookEvery  = time.Second
	// within bounds one round trip; after one that failed the database is left alone for a moment.
	within    = time.Second
	awayFor   = time.Second
	idleAfter = 10 * time.Minute
	// firstLease and maxLease are how many tokens of a bucket are wanted at once:
	// as many as twice the last lease saw used. A large bucket lends a twentieth.
	firstLease, maxLease = 4, 50
)

// Limiter keeps the limits. Take works at once; Start books what was used in
// the background, so that a node that falls silent is not owed anything. The nil Limiter limits nothing.
type Limiter struct {
	DB  *bun.DB
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rejected, when set, is told of every refusal.
	Rejected func(Bucket)

	once    sync.Once
	node    string
	mu      sync.Mutex
	entries map[name]*entry
	away    time.Time
	cancel  context.CancelFunc
	done    chan struct{}
}

// name is the key of an entry.
type name struct {
	owner  string
	bucket Bucket
}

// Take takes cost tokens from the principal's bucket and from its company's,
// or none at all; cost 0 only looks. A refusal is also the error, an Exceeded,
// so that callers can hand it on. A database that is away is none: each node then keeps the limits by itself.
func (l *Limiter) Take(ctx context.Context, p *access.Principal, b Bucket, cost int64) (Verdict, error) {
	if l == nil || p == nil {
		return Verdict{Allowed: true, Bucket: b}, nil
	}
	l.once.Do(l.init)
	wanted := draws(p, b)
	entries := make([]*entry, len(wanted))
	for i, d := range wanted {
		entries[i] = l.entry(d)
		entries[i].mu.Lock() // always the key's before the company's
		defer entries[i].mu.Unlock()
		entries[i].policy = d.policy
	}
	now := l.Now()
	var short []*entry
	for _, e := range entries {
		if e.short(now, cost) {
			short = append(short, e)
		}
	}
	if len(short) > 0 && !l.lend(ctx, now, cost, short) {
		return l.decide(b, cost, entries, l.Now(), (*entry).alone)
	}
	return l.decide(b, cost, entries, l.Now(), (*entry).leased)
}

// decide asks every entry, and takes only when all admit.
func (l *Limiter) decide(b Bucket, cost int64, entries []*entry, now time.Time, ask func(*entry, time.Time, int64) Verdict) (Verdict, error) {
	var tightest Verdict
	for i, e := range entries {
		v := ask(e, now, cost)
		switch {
		case i == 0, tightest.Allowed && !v.Allowed:
			tightest = v
		case tightest.Allowed == v.Allowed:
			tightest = tighter(tightest, v)
		}
	}
	tightest.Bucket, tightest.now = b, now
	if !tightest.Allowed {
		if l.Rejected != nil {
			l.Rejected(b)
		}
		return tightest, Exceeded{tightest}
	}
	for _, e := range entries {
		e.spend(now, cost)
	}
	// The figures told are those after the call.
	tightest.Left = max(0, tightest.Left-cost)
	tightest.Minute.Remaining = max(0, min(tightest.Minute.Limit, tightest.Left))
	tightest.Hour.Remaining = max(0, tightest.Hour.Remaining-cost)
	tightest.Minute.Reset = now.Add(entries[0].policy.Every * time.Duration(tightest.Minute.Limit-tightest.Minute.Remaining))
	return tightest, nil
}

// tighter joins the figures of a key and its company, which were both refused or both admitted.
func tighter(a, b Verdict) Verdict {
	if !a.Allowed {
		if b.RetryAfter > a.RetryAfter {
			return b
		}
		return a
	}
	if b.Left < a.Left {
		a.Left, a.Minute.Remaining = b.Left, min(a.Minute.Limit, b.Minute.Remaining)
	}
	if a.Hour.Limit > 0 {
		a.Hour.Remaining = min(a.Hour.Remaining, b.Hour.Remaining)
	}
	return a
}

// Budget is the bucket of cost points as viewer.budget shows it.
type Budget struct{ Capacity, Remaining, RestorePerSecond int64 }

// Budget looks at the principal's cost points.
func (l *Limiter) Budget(ctx context.Context, p *access.Principal) Budget {
	v, err := l.Take(ctx, p, Cost, 0)
	if err != nil || v.Capacity == 0 {
		return Budget{}
	}
	return v.Budget()
}

// Budget reads a verdict about Cost.
func (v Verdict) Budget() Budget {
	return Budget{Capacity: v.Capacity, Remaining: v.Left, RestorePerSecond: v.PerSecond}
}

func (l *Limiter) init() {
	l.node, l.entries = uuid.NewString(), map[name]*entry{}
	if l.Now == nil {
		l.Now = time.Now
	}
	if l.Log == nil {
		l.Log = slog.Default()
	}
}

func (l *Limiter) entry(d draw) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := name{d.owner, d.bucket}
	e := l.entries[key]
	if e == nil {
		e = &entry{name: key}
		l.entries[key] = e
	}
	e.seen = l.Now()
	return e
}

// lend asks the database for tokens for entries, which are locked; false when it is away.
func (l *Limiter) lend(ctx context.Context, now time.Time, need int64, entries []*entry) bool {
	l.mu.Lock()
	away := now.Before(l.away)
	l.mu.Unlock()
	if away {
		return false
	}
	orders := make([]order, len(entries))
	for i, e := range entries {
		orders[i] = e.order(need)
	}
	// A caller who hangs up must not cost the connection, nor the others the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	answers, err := lease(ctx, l.DB, l.node, leaseInRow, orders)
	if err != nil {
		l.Log.WarnContext(ctx, "rate limits are kept by this node alone", "err", err)
		l.mu.Lock()
		l.away = l.Now().Add(awayFor)
		l.mu.Unlock()
		return false
	}
	for i, e := range entries {
		e.accept(now, need, answers[i])
	}
	return true
}

// Start begins to book what was used in the background.
func (l *Limiter) Start(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.once.Do(l.init)
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		tick := time.NewTicker(bookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.book(ctx, false)
			}
		}
	}()
	return nil
}

// Stop books what was used and gives all leases back.
func (l *Limiter) Stop(ctx context.Context) error {
	if l == nil || l.cancel == nil {
		return nil
	}
	l.cancel()
	<-l.done
	l.book(ctx, true)
	return nil
}

// bookAtOnce is how many entries one statement books.
const bookAtOnce = 500

// book ends the leases that have run out, or all, and forgets entries that nobody asked for in a while.
func (l *Limiter) book(ctx context.Context, all bool) {
	now := l.Now()
	var due []*entry
	l.mu.Lock()
	for key, e := range l.entries {
		if !e.mu.TryLock() {
			continue // in use: it books by itself
		}
		switch {
		case e.used > 0 && (all || !now.Before(e.ends)), all && e.left > 0:
			due = append(due, e)
			continue
		case now.Sub(e.seen) > idleAfter:
			delete(l.entries, key)
		}
		e.mu.Unlock()
	}
	l.mu.Unlock()
	// In one order everywhere, so that no two statements wait for each other.
	slices.SortFunc(due, func(a, b *entry) int { return a.compare(b) })
	for batch := range slices.Chunk(due, bookAtOnce) {
		for _, e := range batch {
			e.left = 0
		}
		l.lend(ctx, now, 0, batch)
	}
	for _, e := range due {
		e.mu.Unlock()
	}
}
