package graph

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/live"
	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/access"
)

// shares are the selections that somebody follows now.
type shares struct {
	mu sync.Mutex
	by map[shareKey]*share
	// running counts the goroutines that render.
	running sync.WaitGroup
}

// shareKey is what must be equal for two subscribers to be sent the same bytes.
type shareKey struct {
	log any // which events
	// text, operation and variables are what is selected of them.
	text, operation, variables string
	// who is what resolvers may look at: company, kind of key and scopes.
	who string
}

// Subscribe implements transport.Sharer. Every subscriber passes the resolver, so that each is
// authorised and finds its own position; the rendering of events is then shared.
func (e *engine) Subscribe(ctx context.Context, op *graphql.OperationContext) (transport.Follower, graphql.ResponseHandler, context.Context) {
	placed, place := live.Place(ctx)
	next, placed := e.DispatchOperation(placed, op)
	log := *place
	if log == nil {
		return nil, next, placed // refused, or not a resolver of the sharing kind
	}
	plan := newPlan(op)
	key := shareKey{
		log: log.Key(), text: op.RawQuery, operation: op.OperationName,
		variables: below(op), who: who(access.From(ctx)),
	}
	s, made := e.shares.take(key, func() *share { return newShare(ctx, e, key, plan, log) })
	f := &follower{share: s, at: log.From()}
	f.until, f.over = log.Until()
	head := log.Head()
	if head != nil {
		f.head = &transport.Result{Sequence: head.Sequence, Payload: e.render(ctx, plan.operation(), head.Value)}
	}
	if !made {
		s.reach(log)
		log.Close() // the share's own place holds the log
	}
	return f, nil, ctx
}

// take finds the share of a key or makes it, and counts one more follower.
func (s *shares) take(key shareKey, make func() *share) (_ *share, made bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.by[key]
	if found == nil {
		if s.by == nil {
			s.by = map[shareKey]*share{}
		}
		found, made = make(), true
		s.by[key] = found
	}
	found.followers++
	return found, made
}

// drop counts a follower out; the last one ends the share.
func (s *shares) drop(of *share) {
	s.mu.Lock()
	of.followers--
	last := of.followers == 0
	if last {
		delete(s.by, of.key)
	}
	s.mu.Unlock()
	if last {
		of.over.Store(true)
		of.log.Close()
	}
}

// plan is what it takes to run an operation again, and no more: thousands of them may wait.
type plan struct {
	doc            *ast.QueryDocument
	op             *ast.OperationDefinition
	text, name     string
	variables      map[string]any
	recover        graphql.RecoverFunc
	middleware     graphql.FieldMiddleware
	rootMiddleware graphql.RootFieldMiddleware
}

func newPlan(op *graphql.OperationContext) plan {
	return plan{op.Doc, op.Operation, op.RawQuery, op.OperationName, op.Variables, op.RecoverFunc, op.ResolverMiddleware, op.RootResolverMiddleware}
}

// operation returns a fresh context, which gqlgen fills with what it works out on the way.
func (p *plan) operation() *graphql.OperationContext {
	return &graphql.OperationContext{
		Doc: p.doc, Operation: p.op, RawQuery: p.text, OperationName: p.name, Variables: p.variables, DisableIntrospection: true,
		RecoverFunc: p.recover, ResolverMiddleware: p.middleware, RootResolverMiddleware: p.rootMiddleware,
	}
}

// share renders the events of one log for all who select the same of them.
type share struct {
	engine *engine
	key    shareKey
	// plan is the first follower's; ctx carries its principal, and does not end with it.
	plan plan
	ctx  context.Context
	log  live.Log
	// followers is guarded by the shares' mu.
	followers int
	// over is set when the last follower has gone.
	over atomic.Bool

	// rendering serialises rendering, which is in the log's order.
	rendering sync.Mutex

	mu sync.Mutex
	// results are of the events behind base and up to end, which without an Endless log are all there are.
	base, end int
	results   []rendered
	waiting   []*follower
	// stale is set when the log may have grown, busy while a goroutine looks.
	stale, busy bool
}

type rendered struct {
	sequence int
	payload  []byte
	last     bool
}

// heldResults is how many results of an endless log are kept for all who follow it.
const heldResults = 512

func newShare(ctx context.Context, e *engine, key shareKey, p plan, log live.Log) *share {
	s := &share{engine: e, key: key, plan: p, ctx: transport.Lasting(ctx), log: log, base: log.From(), end: log.From()}
	log.Notify(s.grown)
	s.grown()
	return s
}

// grown has what is new in the log rendered. It does not block.
func (s *share) grown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
	if s.busy || s.over.Load() {
		return
	}
	s.busy = true
	s.engine.shares.running.Go(s.catchUp)
}

// wakeEvery is how many events are rendered before followers are told of them.
const wakeEvery = 64

// catchUp renders until there is nothing new.
func (s *share) catchUp() {
	for {
		s.mu.Lock()
		if !s.stale || s.over.Load() {
			s.busy = false
			s.mu.Unlock()
			return
		}
		s.stale = false
		at := s.end
		s.mu.Unlock()
		events, to := s.since(at)
		for batch := range slices.Chunk(events, wakeEvery) {
			s.add(s.renderAll(batch))
		}
		s.mu.Lock()
		s.end = max(s.end, to) // behind the last event may be some that nobody here asked for
		s.mu.Unlock()
	}
}

// since returns what is new behind at, and how far it looked. When an endless log no longer holds what
// came next, nothing before what it does hold is shared: followers read that for themselves.
func (s *share) since(at int) (events []live.Event, to int) {
	log, endless := s.log.(live.Endless)
	if !endless {
		return s.log.After(at), at
	}
	events, from, to := log.Since(at)
	if from > at {
		s.mu.Lock()
		s.base, s.end, s.results = from, from, nil
		s.mu.Unlock()
		s.add(nil)
	}
	return events, to
}

// add takes results in and tells followers.
func (s *share) add(batch []rendered) {
	s.mu.Lock()
	s.results = append(s.results, batch...)
	if n := len(batch); n > 0 {
		s.end = batch[n-1].sequence
	}
	if _, endless := s.log.(live.Endless); endless && len(s.results) > 2*heldResults {
		old := len(s.results) - heldResults
		s.base = s.results[old-1].sequence
		s.results = slices.Clone(s.results[old:])
	}
	waiting := slices.Clone(s.waiting)
	s.mu.Unlock()
	for _, f := range waiting {
		f.waiter.Wake()
	}
}

// reach renders what lies between an older position and the first result. log holds those events.
func (s *share) reach(log live.Log) {
	if _, endless := log.(live.Endless); endless {
		return // it is the follower's own to read
	}
	from := log.From()
	s.mu.Lock()
	base := s.base
	s.mu.Unlock()
	if from >= base {
		return
	}
	older := s.renderAll(log.After(from)[:base-from])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base > from { // else another follower was faster
		s.results = append(older[:s.base-from:s.base-from], s.results...)
		s.base = from
	}
}

func (s *share) renderAll(events []live.Event) []rendered {
	s.rendering.Lock()
	defer s.rendering.Unlock()
	op := s.plan.operation()
	out := make([]rendered, 0, len(events))
	for _, ev := range events {
		if s.over.Load() {
			break // nobody will ask
		}
		out = append(out, rendered{ev.Sequence, s.engine.render(s.ctx, op, ev.Value), ev.Last})
	}
	return out
}

// render runs the operation over one event.
func (e *engine) render(ctx context.Context, op *graphql.OperationContext, event any) (payload []byte) {
	defer func() {
		if cause := recover(); cause != nil {
			err := e.present(ctx, e.PresentRecoveredError(ctx, cause))
			payload = transport.Encode(&graphql.Response{Errors: gqlerror.List{err}})
		}
	}()
	ctx, cancel := context.WithTimeout(live.Value(ctx, event), e.timeout)
	defer cancel()
	next, ctx := e.DispatchOperation(ctx, op)
	resp := next(ctx)
	if resp == nil { // the context had ended before anything was run
		resp = &graphql.Response{Errors: gqlerror.List{transport.Error(transport.CodeUnavailable, "the operation took too long")}}
	}
	return transport.Encode(resp)
}
