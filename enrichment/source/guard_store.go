package source

import (
	"container/list"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// circuit keeps a failing source from being asked: it opens after five losses
// in a row, or when more than half of twenty calls are lost, and lets one
// probe through after its pause.
type circuit struct {
	mu    sync.Mutex
	inRow circuitbreaker.CircuitBreaker[any]
	share circuitbreaker.CircuitBreaker[any]
	probe bool // one is under way
}

func newCircuit(pause time.Duration) *circuit {
	build := circuitbreaker.NewBuilder[any]
	return &circuit{
		inRow: build().WithFailureThreshold(5).WithSuccessThreshold(1).WithDelay(pause).Build(),
		share: build().WithFailureThresholdRatio(11, 20).WithSuccessThreshold(1).WithDelay(pause).Build(),
	}
}

// allow says whether a call may be made. Each allowed call ends with record or unused.
func (c *circuit) allow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inRow.IsClosed() && c.share.IsClosed() {
		return true
	}
	if c.probe || c.inRow.IsOpen() && c.inRow.RemainingDelay() > 0 || c.share.IsOpen() && c.share.RemainingDelay() > 0 {
		return false
	}
	for _, b := range []circuitbreaker.CircuitBreaker[any]{c.inRow, c.share} {
		if b.IsOpen() {
			b.HalfOpen()
		}
	}
	c.probe = true
	return true
}

func (c *circuit) record(lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probe = false
	for _, b := range []circuitbreaker.CircuitBreaker[any]{c.inRow, c.share} {
		switch {
		case lost && b.IsHalfOpen():
			b.Open()
		case !lost && b.IsHalfOpen():
			b.Close()
		case lost:
			b.RecordFailure()
		default:
			b.RecordSuccess()
		}
	}
}

// unused gives back a permit whose call never reached the source.
func (c *circuit) unused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probe = false
}

// The bounds of what a guard holds in memory.
const (
	storeEntries = 2000
	storeBytes   = 32 << 20
	storeTime    = 24 * time.Hour
	missEntries  = 5000
	missTime     = time.Hour
)

// store holds answers with their validators, so that an unchanged answer costs
// the source nothing. It holds public answers only, scrubbed of addresses.
type store struct {
	mu    sync.Mutex
	byURL map[string]*list.Element
	used  *list.List // newest first
	bytes int
}

// held is one stored answer.
type held struct {
	url, etag, modified string
	ans                 pipeline.Answer
	at                  time.Time
}

func newStore() *store { return &store{byURL: map[string]*list.Element{}, used: list.New()} }

func (s *store) get(url string) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byURL[url]
	if e == nil {
		return nil
	}
	h := e.Value.(*held)
	if time.Since(h.at) > storeTime {
		s.drop(e)
		return nil
	}
	s.used.MoveToFront(e)
	return h
}

func (s *store) put(url string, header egress.Header, ans pipeline.Answer) {
	h := &held{url: url, etag: header.Get("Etag"), modified: header.Get("Last-Modified"), ans: ans, at: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byURL[url]; e != nil {
		s.drop(e)
	}
	if h.etag == "" && h.modified == "" {
		return
	}
	s.byURL[url] = s.used.PushFront(h)
	s.bytes += len(ans.Body)
	for s.used.Len() > storeEntries || s.bytes > storeBytes {
		s.drop(s.used.Back())
	}
}

func (s *store) drop(e *list.Element) {
	h := s.used.Remove(e).(*held)
	delete(s.byURL, h.url)
	s.bytes -= len(h.ans.Body)
}

// condition asks for the body only if it has changed.
func (h *held) condition(header egress.Header) {
	switch {
	case h == nil:
	case h.etag != "":
		header.Set("If-None-Match", h.etag)
	default:
		header.Set("If-Modified-Since", h.modified)
	}
}

// answer is the stored answer, seen to hold now.
func (h *held) answer(a pipeline.Ask, now time.Time) pipeline.Answer {
	ans := h.ans
	ans.Ask = a
	ans.FetchedAt = now.UTC().Truncate(time.Millisecond)
	return ans
}

// misses remember for an hour that a source knows nothing at an address.
type misses struct {
	mu    sync.Mutex
	byURL map[string]miss
}

type miss struct {
	ans   pipeline.Answer
	until time.Time
}

func newMisses() *misses { return &misses{byURL: map[string]miss{}} }

func (m *misses) get(url string, now time.Time) (pipeline.Answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.byURL[url]
	if ok && now.After(found.until) {
		delete(m.byURL, url)
		ok = false
	}
	return found.ans, ok
}

func (m *misses) put(url string, ans pipeline.Answer, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.byURL) >= missEntries {
		for u, old := range m.byURL {
			if len(m.byURL) < missEntries*9/10 && !now.After(old.until) {
				break
			}
			delete(m.byURL, u)
		}
	}
	m.byURL[url] = miss{ans: ans, until: now.Add(missTime)}
}
