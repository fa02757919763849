package transport

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
)

// Sharer is an executor that can let subscribers share rendered results.
type Sharer interface {
	graphql.GraphExecutor
	// Subscribe starts a subscription. A follower is returned when its results
	// are shared; the caller closes it. Otherwise next gives them one by one, under ctx.
	Subscribe(ctx context.Context, op *graphql.OperationContext) (f Follower, next graphql.ResponseHandler, _ context.Context)
}

// Follower is one subscriber's place in a log of rendered results.
type Follower interface {
	// Start has w woken, once or more, whenever there is something to take: at once if there is by now.
	Start(w Waiter)
	// Take appends the next results to buf, about max bytes of them; done means that none will follow.
	Take(buf []Result, max int) (_ []Result, done bool)
	// Close gives the place up; it may be called more than once.
	Close()
}

// Waiter is who reads from a follower. Wake does not block.
type Waiter interface{ Wake() }

// Unnumbered is the Sequence of a result that nobody can resume behind by number.
const Unnumbered = -1

// Result is one rendered result, shared by all who follow; nobody writes to Payload.
type Result struct {
	Sequence int
	Payload  []byte
}

type lastingKey struct{}

// Lasting returns what an operation's context carries, without its end and
// without what only the operation needs: for work that others may share.
func Lasting(ctx context.Context) context.Context {
	if lasting, ok := ctx.Value(lastingKey{}).(context.Context); ok {
		return lasting
	}
	return context.WithoutCancel(ctx)
}

// withLasting makes Lasting find ctx itself under the contexts that are derived from it.
func withLasting(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastingKey{}, context.WithoutCancel(ctx))
}

// subscribe starts a subscription, shared if it can be.
func subscribe(ctx context.Context, exec graphql.GraphExecutor, op *graphql.OperationContext) (Follower, graphql.ResponseHandler, context.Context) {
	if s, ok := exec.(Sharer); ok {
		return s.Subscribe(ctx, op)
	}
	next, ctx := exec.DispatchOperation(ctx, op)
	return nil, next, ctx
}

// Encode renders a result once; every transport frames these same bytes.
func Encode(resp *graphql.Response) []byte { return encode(resp) }
