package resolvers

import (
	"context"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/graph/live"
)

// progress shows a watch on a run as a log that its subscribers share.
type progress struct{ watch *enrichment.Watch }

func (r *Resolver) progress(ctx context.Context, runID string, after *int) (<-chan enrichment.Event, error) {
	open := func() (live.Log, error) {
		w, err := r.Enrichment.Watch(ctx, runID, after)
		if err != nil {
			return nil, err
		}
		return progress{w}, nil
	}
	return live.Stream(ctx, open, func() (<-chan enrichment.Event, error) { return r.Enrichment.Follow(ctx, runID, after) })
}

func (p progress) Key() any           { return p.watch.Log() }
func (p progress) From() int          { return p.watch.From }
func (p progress) Until() (int, bool) { return p.watch.Until, p.watch.Over }
func (p progress) Notify(wake func()) { p.watch.Notify(wake) }
func (p progress) Close()             { p.watch.Close() }
func (p progress) event(e enrichment.Event) live.Event {
	return live.Event{Sequence: e.At(), Value: e, Last: p.watch.Last(e)}
}

// Head lets go of the snapshot, which is sent once and holds a whole run.
func (p progress) Head() *live.Event {
	if p.watch.Snapshot == nil {
		return nil
	}
	e := p.event(p.watch.Snapshot)
	p.watch.Snapshot = nil
	return &e
}

func (p progress) After(sequence int) []live.Event {
	events := p.watch.After(sequence)
	out := make([]live.Event, len(events))
	for i, e := range events {
		out[i] = p.event(e)
	}
	return out
}
