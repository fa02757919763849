package graph

import (
	"context"
	"sort"
	"time"

	"github.com/enrichd/enrichd/graph/live"
	"github.com/enrichd/enrichd/graph/transport"
)

// follower is one subscriber's place in a share. The share's mu guards it.
type follower struct {
	share *share
	head  *transport.Result
	// at is the sequence that was taken last; the first last result at or behind until ends the subscription.
	at, until int
	over      bool
	closed    bool
	place     int // in share.waiting
	waiter    transport.Waiter
	// again wakes the reader after a reading of its own has failed.
	again *time.Timer
}

// Start implements transport.Follower.
func (f *follower) Start(w transport.Waiter) {
	s := f.share
	s.mu.Lock()
	if f.closed {
		s.mu.Unlock()
		return
	}
	f.waiter, f.place = w, len(s.waiting)
	s.waiting = append(s.waiting, f)
	something := f.head != nil || f.over || f.at < s.end
	s.mu.Unlock()
	if something {
		w.Wake()
	}
}

// Take implements transport.Follower. Whoever is behind what is held for all
// reads here, in the goroutine of its own writer.
func (f *follower) Take(buf []transport.Result, max int) (_ []transport.Result, done bool) {
	s := f.share
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.closed {
		return buf, false
	}
	size := 0
	if f.head != nil {
		buf, size = append(buf, *f.head), len(f.head.Payload)
		f.head = nil
	}
	if f.over {
		return buf, true
	}
	for size < max && f.at < s.base && !f.closed {
		at, base := f.at, s.base
		s.mu.Unlock()
		own, err := s.own(at)
		s.mu.Lock()
		if err != nil {
			if f.waiter != nil && !f.closed {
				f.again = time.AfterFunc(ownTime, f.waiter.Wake)
			}
			return buf, false
		}
		for _, r := range own {
			buf, size = append(buf, s.result(r)), size+len(r.payload)
			f.at = r.sequence
		}
		if len(own) == 0 {
			f.at = base // all up to there had been stored before it was read
		}
	}
	if f.at < s.base {
		return buf, false
	}
	next := sort.Search(len(s.results), func(i int) bool { return s.results[i].sequence > f.at })
	for ; size < max && next < len(s.results); next++ {
		r := s.results[next]
		f.at = r.sequence
		buf, size = append(buf, s.result(r)), size+len(r.payload)
		if r.last && f.at >= f.until {
			return buf, true
		}
	}
	if next == len(s.results) && f.at < s.end {
		f.at = s.end
	}
	return buf, false
}

// result is what a transport writes. Only a log that ends can be resumed by sequence.
func (s *share) result(r rendered) transport.Result {
	if _, endless := s.log.(live.Endless); endless {
		return transport.Result{Sequence: transport.Unnumbered, Payload: r.payload}
	}
	return transport.Result{Sequence: r.sequence, Payload: r.payload}
}

// ownTime bounds one reading of a follower who is behind, and is when a failed one is tried again.
const ownTime = 2 * time.Second

// own reads and renders what comes next behind a sequence, for one follower.
func (s *share) own(at int) ([]rendered, error) {
	ctx, cancel := context.WithTimeout(s.ctx, ownTime)
	defer cancel()
	events, err := s.log.(live.Endless).Read(ctx, at)
	if err != nil {
		s.engine.log.WarnContext(ctx, "graphql: a subscriber who is behind could not read", "err", err)
		return nil, err
	}
	op := s.plan.operation()
	out := make([]rendered, len(events))
	for i, ev := range events {
		out[i] = rendered{ev.Sequence, s.engine.render(s.ctx, op, ev.Value), ev.Last}
	}
	return out, nil
}

// Close implements transport.Follower.
func (f *follower) Close() {
	s := f.share
	s.mu.Lock()
	if f.closed {
		s.mu.Unlock()
		return
	}
	f.closed = true
	if f.again != nil {
		f.again.Stop()
	}
	if f.waiter != nil {
		end := len(s.waiting) - 1
		s.waiting[f.place] = s.waiting[end]
		s.waiting[f.place].place = f.place
		s.waiting[end] = nil
		s.waiting = s.waiting[:end]
	}
	s.mu.Unlock()
	s.engine.shares.drop(s)
}
