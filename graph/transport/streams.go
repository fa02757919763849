package transport

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Identity is who holds a stream, as far as limits and revocation need to know.
type Identity struct {
	// Company and Key are ids, "" when nobody signed in.
	Company, Key string
	// Expires is when the key ends; zero is never.
	Expires time.Time
}

// stream is one long-lived connection: a socket or an event stream. Both
// methods return at once and may be called at any time, more than once.
type stream interface {
	// drain ends the stream because the server stops; the client comes back elsewhere.
	drain()
	// revoke ends it because its key no longer holds.
	revoke()
	// abort ends it without a word.
	abort()
}

// Streams knows every live stream of the process: it enforces how many there
// may be, ends those of a revoked key, and drains them all at shutdown. Its
// wait group counts every goroutine that serves a stream.
type Streams struct {
	// Max bounds all streams of the process, MaxPerCompany those of one company; 0 is no bound.
	Max, MaxPerCompany int

	mu        sync.Mutex
	open      map[stream]Identity
	companies map[string]int
	// ended are the keys that CloseKey was told of within the last signInTime: whoever
	// signed in with one just before must not slip past it.
	ended    map[string]time.Time
	draining bool
	stats    stats
	running  sync.WaitGroup
}

// errDraining and errFull turn new streams away.
var (
	errDraining = Refusal{Status: 503, Code: CodeUnavailable, Message: "the server is shutting down", RetryAfter: time.Second}
	errFull     = Refusal{Status: 503, Code: CodeUnavailable, Message: "too many connections", RetryAfter: 5 * time.Second}
	errTooMany  = Refusal{Status: 429, Code: CodeRateLimited, Message: "the company has too many live connections", RetryAfter: 5 * time.Second}
)

// signInTime is longer than signing in takes.
const signInTime = 10 * time.Second

var errRevoked = Refusal{Status: 403, Code: CodeUnauthenticated, Message: "the API key no longer holds"}

// Draining reports whether Drain was called.
func (s *Streams) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Len returns how many streams are open.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// add counts st and one goroutine that serves it; done and remove must follow.
func (s *Streams) add(st stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return errDraining
	case s.Max > 0 && len(s.open) >= s.Max:
		return errFull
	}
	if s.open == nil {
		s.open, s.companies = map[stream]Identity{}, map[string]int{}
	}
	s.open[st] = Identity{}
	s.running.Add(1)
	return nil
}

// identify says who holds st, once that is known.
func (s *Streams) identify(st stream, id Identity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.open[st]; !open {
		return nil
	}
	if at, ended := s.ended[id.Key]; ended && time.Since(at) < signInTime {
		return errRevoked
	}
	if s.MaxPerCompany > 0 && id.Company != "" && s.companies[id.Company] >= s.MaxPerCompany {
		return errTooMany
	}
	s.open[st] = id
	if id.Company != "" {
		s.companies[id.Company]++
	}
	return nil
}

func (s *Streams) remove(st stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, open := s.open[st]
	if !open {
		return
	}
	if delete(s.open, st); len(s.open) == 0 {
		s.open = map[stream]Identity{} // an emptied map keeps the memory of its fullest hour
	}
	if id.Company == "" {
		return
	}
	if s.companies[id.Company]--; s.companies[id.Company] <= 0 {
		delete(s.companies, id.Company)
	}
}

// spawn runs f in a goroutine that Drain waits for. The caller serves a stream itself.
func (s *Streams) spawn(f func()) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		f()
	}()
}

// Go runs f in a goroutine that Drain waits for.
func (s *Streams) Go(f func()) { s.spawn(f) }

// Keys lists the keys that hold streams, each once, in no order.
func (s *Streams) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for _, id := range s.open {
		if id.Key != "" {
			seen[id.Key] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// CloseKey ends every stream of the key and returns how many there were.
func (s *Streams) CloseKey(key string) int {
	if key == "" {
		return 0
	}
	s.mu.Lock()
	now := time.Now()
	maps.DeleteFunc(s.ended, func(_ string, at time.Time) bool { return now.Sub(at) >= signInTime })
	if s.ended == nil {
		s.ended = map[string]time.Time{}
	}
	s.ended[key] = now
	var ended []stream
	for st, id := range s.open {
		if id.Key == key {
			ended = append(ended, st)
		}
	}
	s.mu.Unlock()
	for _, st := range ended {
		st.revoke()
	}
	return len(ended)
}

// ReopenKey says that a key that was closed holds again.
func (s *Streams) ReopenKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ended, key)
}

// unhurried is the pace of Drain that no few clients make a crowd at.
const unhurried = 20 * time.Millisecond

// Drain turns new streams away and ends the open ones, spread evenly over
// window (or less when they are few) so that their clients do not all come back at once; then it waits for
// every goroutine. When ctx ends first, what is left is cut off and ctx's error returned.
func (s *Streams) Drain(ctx context.Context, window time.Duration) error {
	s.mu.Lock()
	s.draining = true
	left := make([]stream, 0, len(s.open))
	for st := range s.open {
		left = append(left, st)
	}
	s.mu.Unlock()

	start := time.Now()
	pace := min(window/time.Duration(max(1, len(left))), unhurried)
	for i, st := range left {
		if wait := time.Until(start.Add(pace * time.Duration(i))); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		st.drain()
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, st := range left {
		st.abort()
	}
	return ctx.Err()
}
