package transport

import (
	"context"
	"fmt"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// operation is one subscribe of a socket, until its last word. The socket's mu
// guards what follows the id.
type operation struct {
	id     string
	cancel context.CancelFunc
	// silent is set once the client has completed it: nothing more is said under its id.
	silent bool
	// follower is set for a subscription that follows a shared log; such a one needs no goroutine.
	follower Follower
	socket   *socket
	// ready is set while the operation waits for the writer.
	ready bool
}

// start takes the id and runs the operation in a goroutine of its own.
func (s *socket) start(id string, params *graphql.RawParams) {
	op := &operation{id: id}
	s.mu.Lock()
	if s.phase != phaseAcked {
		s.mu.Unlock()
		return
	}
	if _, taken := s.ops[id]; taken {
		s.mu.Unlock()
		s.close(closeDuplicateID, fmt.Sprintf("Subscriber for %s already exists", id))
		return
	}
	var refused *gqlerror.Error
	switch {
	case s.draining:
		refused = Error(CodeUnavailable, errDraining.Message)
	case len(s.ops) >= s.t.MaxOperations:
		refused = Error(CodeRateLimited, fmt.Sprintf("a connection carries at most %d operations at once", s.t.MaxOperations))
	}
	if refused != nil {
		s.mu.Unlock()
		s.send(s.ctx, frame{opcode: websocket.TextMessage, kind: typeError, op: op, payload: encodeErrors(gqlerror.List{refused})})
		return
	}
	if s.ops == nil {
		s.ops = make(map[string]*operation, 1)
	}
	s.ops[id] = op
	s.calls++
	base := s.base
	if s.t.Begin != nil {
		base = s.t.Begin(base)
	}
	ctx, cancel := context.WithCancel(withLasting(base))
	op.cancel = cancel
	s.mu.Unlock()
	s.t.Streams.spawn(func() {
		defer cancel()
		counted := sync.OnceFunc(s.called)
		defer counted()
		s.run(ctx, op, params, counted)
	})
}

// stop is the client's complete: silence on the id, which is free at once.
func (s *socket) stop(id string) {
	s.mu.Lock()
	op := s.ops[id]
	if op != nil {
		op.silent = true
		delete(s.ops, id)
	}
	s.mu.Unlock()
	if op != nil {
		op.end()
	}
}

// end lets go of what feeds the operation.
func (op *operation) end() {
	op.cancel()
	if op.follower != nil {
		op.follower.Close()
	}
}

// drop ends all operations, with no more words. mu is held.
func (s *socket) drop() {
	for _, op := range s.ops {
		op.end()
	}
	s.ops = nil
}

// run carries the operation from its text to its last word. It calls lasting
// once it knows that the operation does not end by itself.
func (s *socket) run(ctx context.Context, op *operation, params *graphql.RawParams, lasting func()) {
	defer func() {
		if cause := recover(); cause != nil {
			s.fail(ctx, op, s.t.Recover(ctx, cause))
		}
	}()
	if s.starting.Acquire(ctx, 1) != nil {
		return
	}
	release := sync.OnceFunc(func() { s.starting.Release(1) })
	defer release()

	oc, errs := s.exec.CreateOperationContext(ctx, params)
	if len(errs) > 0 {
		s.fail(ctx, op, s.exec.DispatchError(graphql.WithOperationContext(ctx, oc), errs).Errors)
		return
	}
	if !isSubscription(oc) {
		s.call(ctx, op, oc)
		return
	}
	lasting()
	follower, next, ctx := subscribe(ctx, s.exec, oc)
	release()
	if follower != nil {
		s.attach(op, follower)
		return
	}
	for first := true; ; first = false {
		resp := next(ctx)
		switch {
		case resp == nil:
			s.send(ctx, frame{opcode: websocket.TextMessage, kind: typeComplete, op: op})
			return
		case first && len(resp.Data) == 0 && len(resp.Errors) > 0:
			// The source stream could not be made: a request error, which ends the operation (GraphQL §6.2.3).
			s.fail(ctx, op, resp.Errors)
			return
		case !s.send(ctx, frame{opcode: websocket.TextMessage, kind: typeNext, op: op, payload: encode(resp)}):
			return
		}
	}
}

// call runs a query or mutation.
func (s *socket) call(ctx context.Context, op *operation, oc *graphql.OperationContext) {
	limited, cancel := context.WithTimeout(ctx, s.t.OperationTimeout)
	defer cancel()
	resp := once(limited, s.exec, oc)
	if len(resp.Data) == 0 {
		s.fail(ctx, op, resp.Errors)
		return
	}
	if s.send(ctx, frame{opcode: websocket.TextMessage, kind: typeNext, op: op, payload: encode(resp)}) {
		s.send(ctx, frame{opcode: websocket.TextMessage, kind: typeComplete, op: op})
	}
}

// called counts out an operation that ended, or that is a subscription; the last one lets a draining socket go.
func (s *socket) called() {
	s.mu.Lock()
	s.calls--
	last := s.draining && s.calls == 0
	s.mu.Unlock()
	if last {
		s.close(websocket.CloseGoingAway, "The server is shutting down")
	}
}

// fail says the operation's last word: one error message and no complete.
func (s *socket) fail(ctx context.Context, op *operation, errs gqlerror.List) {
	s.send(ctx, frame{opcode: websocket.TextMessage, kind: typeError, op: op, payload: encodeErrors(errs)})
}
