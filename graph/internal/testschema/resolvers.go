package testschema

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/internal/fault"
)

// Secret is the text of an error that must never reach a caller.
const Secret = "dial tcp 10.0.0.7:5432: password authentication failed"

// Resolvers answers the schema.
type Resolvers struct {
	// Producing counts the goroutines that feed a subscription.
	Producing atomic.Int32
	// Rendered counts the calls of Tick.counted.
	Rendered atomic.Int32
	// Journals are what the subscription journal reads.
	Journals Journals
}

// Schema returns the executable schema.
func (r *Resolvers) Schema() graphql.ExecutableSchema {
	return NewExecutableSchema(Config{Resolvers: r})
}

// New returns an executable schema with resolvers of its own.
func New() graphql.ExecutableSchema { return new(Resolvers).Schema() }

func (r *Resolvers) Query() QueryResolver               { return query{} }
func (r *Resolvers) Mutation() MutationResolver         { return mutation{} }
func (r *Resolvers) Subscription() SubscriptionResolver { return subscription{r} }
func (r *Resolvers) Item() ItemResolver                 { return item{} }
func (r *Resolvers) Tick() TickResolver                 { return tick{r} }

type query struct{}

func (query) Hello(_ context.Context, name *string) (string, error) {
	if name == nil {
		return "hello", nil
	}
	return "hello " + *name, nil
}
func (query) Echo(_ context.Context, id string) (string, error)     { return id, nil }
func (query) Node(context.Context) (*Item, error)                   { return &Item{ID: "0", Name: "root"}, nil }
func (query) At(_ context.Context, t time.Time) (*time.Time, error) { return &t, nil }
func (query) URL(_ context.Context, u string) (string, error)       { return u, nil }
func (query) JSON(_ context.Context, v any) (any, error)            { return v, nil }
func (query) Credits(_ context.Context, n int64) (int64, error)     { return n, nil }
func (query) Take(context.Context, Box, []*Box, *Color, []*time.Time, [][]int) (string, error) {
	return "taken", nil
}
func (query) Broken(context.Context) (*string, error)               { return nil, errors.New(Secret) }
func (query) Panics(context.Context) (*string, error)               { panic(Secret) }
func (query) Items(ctx context.Context, first int) ([]*Item, error) { return items("i", first), nil }
func (item) Child(_ context.Context, of *Item) (*Item, error)       { return items(of.ID, 1)[0], nil }
func (item) Children(_ context.Context, of *Item, n int) ([]*Item, error) {
	return items(of.ID, n), nil
}
func (mutation) Touch(_ context.Context, name string) (string, error) { return name, nil }
func (tick) Fails(context.Context, *Tick) (*string, error)            { return nil, errors.New(Secret) }
func (subscription) Broken(context.Context) (<-chan *Tick, error)     { return nil, errors.New(Secret) }
func (subscription) Panics(context.Context) (<-chan *Tick, error)     { panic(Secret) }
func (subscription) Silent(context.Context) (<-chan *Tick, error)     { return make(chan *Tick), nil }
func (subscription) Half(context.Context) (<-chan *Tick, error) {
	return ticks(&Tick{Sequence: 1}), nil
}

func (query) Forbidden(context.Context) (*string, error) {
	return nil, fmt.Errorf("read: %w", fault.Forbidden{Message: "the key lacks a scope", RequiredScope: "ADMIN"})
}

func (query) Refused(context.Context) (*string, error) {
	return nil, fault.Invalid("first", "must be between 1 and 100, not 0")
}

func (query) Slow(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

type (
	item         struct{}
	mutation     struct{}
	subscription struct{ *Resolvers }
	tick         struct{ *Resolvers }
)

func items(prefix string, n int) []*Item {
	out := make([]*Item, max(n, 0))
	for i := range out {
		out[i] = &Item{ID: prefix + "." + strconv.Itoa(i), Name: "item"}
	}
	return out
}

func ticks(all ...*Tick) <-chan *Tick {
	out := make(chan *Tick, len(all))
	for _, t := range all {
		out <- t
	}
	close(out)
	return out
}

func (s subscription) Count(ctx context.Context, to int, after *int) (<-chan *Tick, error) {
	n := 0
	if after != nil {
		n = *after
	}
	return s.produce(ctx, n, to, ""), nil
}

func (s subscription) Endless(ctx context.Context, bytes int) (<-chan *Tick, error) {
	return s.produce(ctx, 0, 1<<40, strings.Repeat("x", bytes)), nil
}

func (subscription) Stuck(ctx context.Context) (<-chan *Tick, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// produce sends ticks after+1 to last.
func (r *Resolvers) produce(ctx context.Context, after, last int, payload string) <-chan *Tick {
	out := make(chan *Tick)
	r.Producing.Add(1)
	go func() {
		defer r.Producing.Add(-1)
		defer close(out)
		for n := after + 1; n <= last; n++ {
			select {
			case out <- &Tick{Sequence: n, Payload: payload}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
