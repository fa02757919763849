package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/internal/sse"
)

// SSE answers an operation with a stream of events, one request each
// (graphql-sse, "distinct connections mode").
type SSE struct {
	// Streams holds the event streams; it must not be nil.
	Streams *Streams
	// Identify says who sent a request.
	Identify func(ctx context.Context) Identity
	// BodyLimit is the largest body read, in bytes.
	BodyLimit int64
	// WriteTimeout bounds the writing of one event, OperationTimeout queries and mutations.
	WriteTimeout, OperationTimeout time.Duration
}

// retryAfterDrain is when clients of a server that stops should come back.
const retryAfterDrain = time.Second

// Supports reports whether r asks for an event stream.
func (t *SSE) Supports(r *http.Request) bool { return negotiate(r) == mediaEvents }

// Do answers r.
func (t *SSE) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	var params *graphql.RawParams
	var err error
	if r.Method == http.MethodPost {
		params, err = readParams(w, r, t.BodyLimit)
	} else {
		params, err = urlParams(r.URL.RawQuery)
	}
	if err != nil {
		Refuse(w, r, err)
		return
	}
	resume(params, r.Header.Get("Last-Event-ID"))

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	live := &eventStream{cancel: cancel}
	if err := t.Streams.add(live); err != nil {
		Refuse(w, r, err)
		return
	}
	defer t.Streams.running.Done()
	defer t.Streams.remove(live)
	id := t.Identify(ctx)
	if err := t.Streams.identify(live, id); err != nil {
		Refuse(w, r, err)
		return
	}
	if !id.Expires.IsZero() {
		expiry := time.AfterFunc(time.Until(id.Expires), live.revoke)
		defer expiry.Stop()
	}
	t.stream(ctx, w, r, exec, params, live)
}

func (t *SSE) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor, params *graphql.RawParams, live *eventStream) {
	params.Headers = r.Header
	op, errs := exec.CreateOperationContext(ctx, params)
	if len(errs) == 0 && r.Method == http.MethodGet && op.Operation.Operation == ast.Mutation {
		w.Header().Set("Allow", http.MethodPost)
		Refuse(w, r, Refusal{Status: http.StatusMethodNotAllowed, Code: CodeValidationFailed, Message: "mutations must be sent by POST"})
		return
	}
	out := sse.NewStream(w, t.WriteTimeout)
	defer out.Close()
	switch {
	case len(errs) > 0:
		// The protocol wants refusals inside the stream, where an EventSource can read them.
		resp := exec.DispatchError(graphql.WithOperationContext(ctx, op), errs)
		_ = out.Event("next", "", encode(resp))
	case !isSubscription(op):
		limited, cancel := context.WithTimeout(ctx, t.OperationTimeout)
		defer cancel()
		_ = out.Event("next", "", encode(once(limited, exec, op)))
	default:
		follower, next, ctx := subscribe(ctx, exec, op)
		if follower != nil {
			if !follow(ctx, out, follower) {
				return
			}
			break
		}
		for {
			resp := next(ctx)
			if resp == nil {
				break
			}
			if out.Event("next", sequenceOf(resp.Data), encode(resp)) != nil {
				return
			}
		}
	}
	switch live.reason.Load() {
	case endDrain:
		_ = out.Retry(retryAfterDrain)
	case endRevoked:
		_ = out.Event("next", "", encode(&graphql.Response{Errors: gqlerror.List{Error(CodeUnauthenticated, "the API key no longer holds")}}))
		_ = out.Event("complete", "", nil)
	default:
		if r.Context().Err() == nil {
			_ = out.Event("complete", "", nil)
		}
	}
}

// nudge is a reader that waits in a goroutine of its own.
type nudge chan struct{}

// Wake implements Waiter.
func (n nudge) Wake() {
	select {
	case n <- struct{}{}:
	default:
	}
}

// follow writes what f holds until it or ctx ends; false when writing failed.
func follow(ctx context.Context, out *sse.Stream, f Follower) bool {
	defer f.Close()
	more := make(nudge, 1)
	f.Start(more)
	for {
		results, done := f.Take(nil, chunk)
		for _, r := range results {
			id := ""
			if r.Sequence != Unnumbered {
				id = strconv.Itoa(r.Sequence)
			}
			if out.Event("next", id, r.Payload) != nil {
				return false
			}
		}
		switch {
		case done || ctx.Err() != nil:
			return true
		case len(results) > 0:
			continue
		}
		select {
		case <-more:
		case <-ctx.Done():
			return true
		}
	}
}

// resume sets the variable afterSequence from Last-Event-ID, which a browser
// sends when it comes back by itself: it is at least as new as what the text was made with.
func resume(p *graphql.RawParams, lastEventID string) {
	n, err := strconv.ParseInt(lastEventID, 10, 32)
	if err != nil || n < 0 {
		return
	}
	if p.Variables == nil {
		p.Variables = map[string]any{}
	}
	p.Variables["afterSequence"] = json.Number(strconv.FormatInt(n, 10))
}

// sequenceOf finds the number that names an event: the field sequence of the
// result's first field. "" without one.
func sequenceOf(data []byte) string {
	dec := json.NewDecoder(bytes.NewReader(data))
	for _, want := range []bool{true, false} { // {, then the first field's name
		token, err := dec.Token()
		if _, open := token.(json.Delim); err != nil || open != want {
			return ""
		}
	}
	var first struct {
		Sequence *int64 `json:"sequence"`
	}
	if dec.Decode(&first) != nil || first.Sequence == nil {
		return ""
	}
	return strconv.FormatInt(*first.Sequence, 10)
}

// Why an event stream ended, other than by itself.
const (
	endDrain int32 = iota + 1
	endRevoked
)

// eventStream is the part of a running stream that others may end.
type eventStream struct {
	cancel context.CancelFunc
	reason atomic.Int32
}

func (e *eventStream) drain()  { e.end(endDrain) }
func (e *eventStream) revoke() { e.end(endRevoked) }
func (e *eventStream) abort()  { e.cancel() }

func (e *eventStream) end(reason int32) {
	e.reason.CompareAndSwap(0, reason)
	e.cancel()
}
