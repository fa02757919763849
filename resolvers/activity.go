package resolvers

import (
	"context"
	"errors"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/graph/live"
)

// activity shows a watch on a company as a log that its subscribers share.
type activity struct{ watch *dispatch.ActivityWatch }

// errUnshared is what a server that does not share subscriptions would get; ours does.
var errUnshared = errors.New("company activity is told to subscribers who share it")

func (r *Resolver) activity(ctx context.Context, after *string, kinds []dispatch.ActivityKind) (<-chan *dispatch.Activity, error) {
	open := func() (live.Log, error) {
		w, err := r.Dispatch.WatchActivity(ctx, r.Enrichment.Wake, deref(after), kinds...)
		if err != nil {
			return nil, err
		}
		return activity{w}, nil
	}
	return live.Stream(ctx, open, func() (<-chan *dispatch.Activity, error) { return nil, errUnshared })
}

func (a activity) Key() any           { return a.watch.Log() }
func (a activity) Head() *live.Event  { return nil }
func (a activity) From() int          { return int(a.watch.From) }
func (a activity) Until() (int, bool) { return 0, false }
func (a activity) Notify(wake func()) { a.watch.Notify(wake) }
func (a activity) Close()             { a.watch.Close() }

func (a activity) After(sequence int) []live.Event {
	events, _, _ := a.Since(sequence)
	return events
}

func (a activity) Since(sequence int) (events []live.Event, from, to int) {
	found, begin, end := a.watch.Held(int64(sequence))
	return activities(found), int(begin), int(end)
}

func (a activity) Read(ctx context.Context, sequence int) ([]live.Event, error) {
	found, err := a.watch.Read(ctx, int64(sequence))
	return activities(found), err
}

func activities(found []*dispatch.Activity) []live.Event {
	out := make([]live.Event, len(found))
	for i, a := range found {
		out[i] = live.Event{Sequence: int(a.Sequence), Value: a}
	}
	return out
}
