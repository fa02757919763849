package testschema

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/enrichd/enrichd/graph/live"
)

// Journals are logs in memory, by name.
type Journals struct {
	// Reads counts what readers of news read for themselves.
	Reads atomic.Int32

	mu  sync.Mutex
	all map[string]*journal
}

type journal struct {
	ticks  []*Tick
	places map[*place]func()
}

// Write adds a tick and returns its sequence. A payload "end" ends the journal.
func (j *Journals) Write(name, payload string) int {
	j.mu.Lock()
	of := j.get(name)
	n := len(of.ticks) + 1
	of.ticks = append(of.ticks, &Tick{Sequence: n, Payload: payload})
	var wake []func()
	for _, f := range of.places {
		if f != nil {
			wake = append(wake, f)
		}
	}
	j.mu.Unlock()
	for _, f := range wake {
		f()
	}
	return n
}

// Places returns how many places are taken in all journals.
func (j *Journals) Places() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, of := range j.all {
		n += len(of.places)
	}
	return n
}

func (j *Journals) get(name string) *journal {
	if j.all == nil {
		j.all = map[string]*journal{}
	}
	if j.all[name] == nil {
		j.all[name] = &journal{places: map[*place]func(){}}
	}
	return j.all[name]
}

// place is a live.Log on a journal.
type place struct {
	in      *Journals
	of      *journal
	head    *live.Event
	from    int
	over    bool
	started int
}

func (j *Journals) open(name string, after *int) *place {
	j.mu.Lock()
	defer j.mu.Unlock()
	of := j.get(name)
	last := len(of.ticks)
	p := &place{in: j, of: of, from: last, started: last}
	if after == nil || *after > last {
		p.head = &live.Event{Sequence: last, Value: &Tick{Sequence: last, Payload: "snapshot"}}
	} else {
		p.from = *after
	}
	p.over = last > 0 && of.ticks[last-1].Payload == "end" && p.from == last
	of.places[p] = nil
	return p
}

func (p *place) Key() any           { return p.of }
func (p *place) Head() *live.Event  { return p.head }
func (p *place) From() int          { return p.from }
func (p *place) Until() (int, bool) { return p.started, p.over }

func (p *place) After(n int) (out []live.Event) {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	for _, t := range p.of.ticks[min(n, len(p.of.ticks)):] {
		out = append(out, live.Event{Sequence: t.Sequence, Value: t, Last: t.Payload == "end"})
	}
	return out
}

func (p *place) Notify(wake func()) {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.of.places[p] = wake
}

func (p *place) Close() {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	delete(p.of.places, p)
}

func (s subscription) Journal(ctx context.Context, name string, after *int) (<-chan *Tick, error) {
	open := func() (live.Log, error) { return s.Journals.open(name, after), nil }
	return live.Stream(ctx, open, func() (<-chan *Tick, error) { return nil, errors.New("this server shares") })
}

func (t tick) Counted(_ context.Context, of *Tick, prefix string) (string, error) {
	t.Rendered.Add(1)
	return prefix + of.Payload, nil
}
