package transport

import (
	"maps"
	"sync"
	"sync/atomic"
)

// stats counts what the streams of a process did.
type stats struct {
	sent atomic.Int64

	mu      sync.Mutex
	closes  map[int]int64
	dropped map[string]int64
}

// Why a socket was cut without the peer having asked for it.
const (
	droppedSlow = "slow" // it took no byte within the write deadline
	droppedGone = "gone" // it answered no ping
)

func (s *stats) closed(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closes == nil {
		s.closes = map[int]int64{}
	}
	// Codes that only peers choose share one count, so that nobody can make many.
	if code < 1000 || code >= 4500 || code > 1015 && code < 4400 {
		code = 0
	}
	s.closes[code]++
}

func (s *stats) drop(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped == nil {
		s.dropped = map[string]int64{}
	}
	s.dropped[reason]++
}

// Figures are counts about streams: Connections and Subscriptions are open now,
// the rest was counted since the process began. Event streams count as
// connections with one subscription each.
type Figures struct {
	Connections, Subscriptions int
	Sent                       int64
	// Closes are sockets by the code of their end, 0 for any unusual one; Dropped those that were cut, by reason.
	Closes  map[int]int64
	Dropped map[string]int64
}

// Figures counts.
func (s *Streams) Figures() Figures {
	f := Figures{Sent: s.stats.sent.Load()}
	s.stats.mu.Lock()
	f.Closes, f.Dropped = maps.Clone(s.stats.closes), maps.Clone(s.stats.dropped)
	s.stats.mu.Unlock()
	s.mu.Lock()
	open := make([]stream, 0, len(s.open))
	for st := range s.open {
		open = append(open, st)
	}
	s.mu.Unlock()
	f.Connections = len(open)
	for _, st := range open {
		if so, is := st.(*socket); is {
			so.mu.Lock()
			f.Subscriptions += max(0, len(so.ops)-so.calls)
			so.mu.Unlock()
		} else {
			f.Subscriptions++
		}
	}
	return f
}
