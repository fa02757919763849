// Package live lets the subscribers of one thing share what is sent to them.
// gqlgen gives every subscription a channel of its own and renders every event
// once for each; a resolver that answers through Stream lets the server render
// an event once for each selection instead, and keep no goroutine for those who wait.
package live

import "context"

// Log is one subscriber's place in an ordered log of events that others may read too.
type Log interface {
	// Key is equal for all places in the same log.
	Key() any
	// Head is what comes before the first event, nil for nothing. It is asked once.
	Head() *Event
	// From is the sequence after which the events begin; the log holds all that follow it.
	From() int
	// Until says where the subscription ends: after the first Last event at or
	// behind it. over means that it ends at once, after the head.
	Until() (sequence int, over bool)
	// After returns the events behind a sequence that is From or later, in order, without gaps.
	After(sequence int) []Event
	// Notify has wake called after events were added, until Close. wake does not block.
	Notify(wake func())
	// Close gives the place up.
	Close()
}

// Endless is a Log without an end, whose newest part only is held for all, and
// whose sequences may have gaps. A subscriber who is behind what is held reads for himself, at his own pace.
type Endless interface {
	Log
	// Since is After, as far as is held: the events behind from and up to to. From
	// is later than sequence when what lies between is no longer held.
	Since(sequence int) (events []Event, from, to int)
	// Read returns the next events behind a sequence from where they are stored, none when there are no more.
	Read(ctx context.Context, sequence int) ([]Event, error)
}

// Event is one event of a log.
type Event struct {
	Sequence int
	// Value is what the resolver's channel carries.
	Value any
	// Last says that the log may end here.
	Last bool
}

type (
	placeKey struct{}
	valueKey struct{}
)

// Place asks a resolver for its log: run the operation under the context, and
// if its resolver answers through Stream, log is set afterwards and is the caller's to close.
func Place(ctx context.Context) (_ context.Context, log *Log) {
	log = new(Log)
	return context.WithValue(ctx, placeKey{}, log), log
}

// Value makes the resolver answer with one event, so that running the operation renders it.
func Value(ctx context.Context, v any) context.Context {
	return context.WithValue(context.WithValue(ctx, placeKey{}, nil), valueKey{}, v)
}

// Stream is the body of a subscription's resolver. open takes a place in the
// log; follow is the same as a channel, for servers that do not share.
func Stream[E any](ctx context.Context, open func() (Log, error), follow func() (<-chan E, error)) (<-chan E, error) {
	if place, _ := ctx.Value(placeKey{}).(*Log); place != nil {
		log, err := open()
		if err != nil {
			return nil, err
		}
		*place = log
		return closed[E](), nil
	}
	if v, ok := ctx.Value(valueKey{}).(E); ok {
		return closed(v), nil
	}
	return follow()
}

// closed is a channel that holds values and ends after them.
func closed[E any](values ...E) <-chan E {
	out := make(chan E, len(values))
	for _, v := range values {
		out <- v
	}
	close(out)
	return out
}
