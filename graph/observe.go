package graph

import (
	"context"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/enrichd/enrichd/graph/transport"
)

// Observation is one operation that was answered or refused, in words that hold
// nothing of a caller's: what it asked, with which variables, and what it called itself are left out.
type Observation struct {
	// Type is query, mutation or subscription; "" when it was refused before that was known.
	Type string
	// Name is that of an operation of Options.Operations, "" for any other.
	Name string
	// Outcome is ok, error (there were errors beside or instead of data), rejected
	// (nothing has run) or started (a subscription).
	Outcome string
	// Code is the first error's, "" for none.
	Code string
	// Cost is the price in points, 0 when it was not known yet.
	Cost int64
	// Took is zero for a subscription.
	Took time.Duration
}

// The outcomes.
const (
	OutcomeOK       = "ok"
	OutcomeError    = "error"
	OutcomeRejected = "rejected"
	OutcomeStarted  = "started"
)

const observedExtension = "enrichd.observed"

// observe hands an observation on. ctx carries the principal and the request id.
func (e *engine) observe(ctx context.Context, o Observation) {
	if e.observer != nil {
		e.observer(ctx, o)
	}
}

// noted keeps what is known of an operation that may run, and observes a subscription, which ends who knows when.
func (e *engine) noted(ctx context.Context, d *document, op *graphql.OperationContext, price int64) {
	if e.observer == nil {
		return
	}
	o := Observation{Type: string(op.Operation.Operation), Cost: price}
	if d.listed {
		o.Name = op.Operation.Name
	}
	if op.Operation.Operation == ast.Subscription {
		o.Outcome = OutcomeStarted
		e.observe(ctx, o)
	}
	op.Stats.SetExtension(observedExtension, o)
}

// rejected observes a request or operation of which nothing has run.
func (e *engine) rejected(ctx context.Context, op *graphql.OperationContext, code string) {
	o := Observation{Outcome: OutcomeRejected, Code: code}
	if op != nil && op.Operation != nil {
		o.Type = string(op.Operation.Operation)
	}
	e.observe(ctx, o)
}

// answered observes the answer to a query or mutation.
func (e *engine) answered(ctx context.Context, op *graphql.OperationContext, errs gqlerror.List) {
	o, noted := op.Stats.GetExtension(observedExtension).(Observation)
	if !noted {
		return
	}
	o.Outcome, o.Took = OutcomeOK, time.Since(op.Stats.OperationStart)
	if len(errs) > 0 {
		o.Outcome, o.Code = OutcomeError, transport.CodeOf(errs[0])
	}
	e.observe(ctx, o)
}

// Reason is an observation's code as a label: lower case, "none" without one.
func (o Observation) Reason() string {
	if o.Code == "" {
		return "none"
	}
	return strings.ToLower(o.Code)
}
