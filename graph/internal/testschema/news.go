package testschema

import (
	"context"
	"errors"

	"github.com/enrichd/enrichd/graph/live"
)

// Hidden is the payload that readers of news are not told of; NewsHeld is how many others are held for all.
const (
	Hidden   = "hidden"
	NewsHeld = 20
)

// ownPage is how many a reader who is behind reads at once.
const ownPage = 7

// news is a live.Endless over a journal.
type news struct{ *place }

func (news) Head() *live.Event  { return nil }
func (news) Until() (int, bool) { return 0, false }

func (n news) After(sequence int) []live.Event {
	events, _, _ := n.Since(sequence)
	return events
}

func (n news) all(after int) (out []live.Event) {
	for _, e := range n.place.After(after) {
		if e.Value.(*Tick).Payload != Hidden {
			e.Last = false
			out = append(out, e)
		}
	}
	return out
}

func (n news) Since(sequence int) (events []live.Event, from, to int) {
	n.in.mu.Lock()
	end := len(n.of.ticks)
	n.in.mu.Unlock()
	from = max(sequence, end-NewsHeld)
	return n.all(from), from, max(sequence, end)
}

// Read fails once in a while, as databases do.
func (n news) Read(_ context.Context, sequence int) ([]live.Event, error) {
	if n.in.Reads.Add(1) == 3 {
		return nil, errors.New("the store is away")
	}
	events := n.all(sequence)
	return events[:min(len(events), ownPage)], nil
}

func (s subscription) News(ctx context.Context, name string, after int) (<-chan *Tick, error) {
	open := func() (live.Log, error) { return news{s.Journals.open(name, &after)}, nil }
	return live.Stream(ctx, open, func() (<-chan *Tick, error) { return nil, errors.New("this server shares") })
}
