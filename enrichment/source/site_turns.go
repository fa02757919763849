package source

import (
	"context"
	"sync"
	"time"
)

// Turns hands out the moments at which hosts may be asked, so that all who ask
// one host together stay within its rate. In one process it is a table in
// memory; a fleet keeps it in its database.
type Turns interface {
	// Reserve takes the next free moment for host, gap after the one before.
	// When it would be later than latest nothing is taken and ok is false.
	Reserve(ctx context.Context, host string, gap time.Duration, latest time.Time) (at time.Time, ok bool, err error)
}

// localTurns keeps turns in memory.
type localTurns struct {
	mu   sync.Mutex
	free map[string]time.Time // host → next free moment
}

// turnsHeld is how many hosts are remembered before those whose moment has passed are forgotten.
const turnsHeld = 10_000

// Reserve implements Turns.
func (t *localTurns) Reserve(_ context.Context, host string, gap time.Duration, latest time.Time) (time.Time, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.free == nil {
		t.free = map[string]time.Time{}
	}
	if len(t.free) > turnsHeld {
		for h, at := range t.free {
			if at.Before(now) {
				delete(t.free, h)
			}
		}
	}
	at := t.free[host]
	if at.Before(now) {
		at = now
	}
	if at.After(latest) {
		return at, false, nil
	}
	t.free[host] = at.Add(gap)
	return at, true, nil
}
