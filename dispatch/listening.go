package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// listenFor is how long a company's webhooks are remembered by Listening.
const listenFor = time.Second

// listeners remembers which webhooks companies have, for callers that ask
// about many small events. The zero value is ready.
type listeners struct {
	mu    sync.Mutex
	known map[string]listening
}

// listening is what is remembered of one company.
type listening struct {
	webhooks []listener
	until    time.Time
}

// listener is an enabled webhook that may hear of a company's events.
type listener struct {
	ID      string      `bun:"id"`
	Test    bool        `bun:"test"`
	AllRuns bool        `bun:"all_runs"`
	Events  []EventType `bun:"event_types,array"`
}

// hears reports whether the webhook is to hear of e.
func (l listener) hears(e Event) bool {
	return l.Test == e.Test && (l.AllRuns || e.WebhookID != nil && *e.WebhookID == l.ID) && slices.Contains(l.Events, e.Type)
}

// Listening reports whether anybody may want to hear of an event, from a memory
// that is up to a second old, usually without a statement: a webhook made or
// enabled a moment ago may not be in it yet. It is for events of which the first
// may be missed; WillDeliver is exact. Data may be nil here.
func (s *Service) Listening(ctx context.Context, db bun.IDB, e Event) (bool, error) {
	now := time.Now()
	s.heard.mu.Lock()
	known, ok := s.heard.known[e.CompanyID]
	s.heard.mu.Unlock()
	if !ok || now.After(known.until) {
		webhooks, err := s.store.listeners(ctx, db, e.CompanyID)
		if err != nil {
			return false, err
		}
		known = listening{webhooks, now.Add(listenFor)}
		s.heard.remember(e.CompanyID, known, now)
	}
	return slices.ContainsFunc(known.webhooks, func(l listener) bool { return l.hears(e) }), nil
}

// mostHeard bounds the memory; companies that are not asked about leave it when it is full.
const mostHeard = 10_000

func (l *listeners) remember(companyID string, known listening, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = map[string]listening{}
	}
	if len(l.known) >= mostHeard {
		for id, k := range l.known {
			if now.After(k.until) {
				delete(l.known, id)
			}
		}
	}
	l.known[companyID] = known
}

// forget makes a change on this node known at once.
func (l *listeners) forget(companyID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, companyID)
}
