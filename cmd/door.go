package cmd

import (
	"context"
	"errors"
	"net/http"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/transport"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/limit"
)

// companyHeader names, in GraphQL requests and connection_init, the company that a managing key acts for.
const companyHeader = "Enrichd-Company"

// authenticate turns a key into a principal for GraphQL.
func (s *api) authenticate(ctx context.Context, token string, r *http.Request) (context.Context, error) {
	door := s.app.Access
	p, err := door.Authenticate(ctx, token, door.Proxies.Client(r.RemoteAddr, r.Header.Values("X-Forwarded-For")))
	if err == nil {
		p, err = p.For(r.Header.Get(companyHeader))
	}
	var suspended access.Suspended
	var guessing access.TooManyFailures
	var unnamed fault.InvalidInput
	switch {
	case err == nil:
		return access.With(ctx, p), nil
	case errors.Is(err, access.ErrInvalidKey), errors.As(err, &suspended):
		return nil, graph.Unauthenticated(err.Error())
	case errors.As(err, &guessing):
		return nil, transport.Refusal{
			Status: http.StatusTooManyRequests, Code: transport.CodeRateLimited, Message: guessing.Error(), RetryAfter: guessing.RetryAfter,
		}
	case errors.As(err, &unnamed):
		return nil, fault.Forbidden{Message: "a key that manages several companies must name one in " + companyHeader}
	}
	return nil, err // fault.Forbidden, or that we could not find out
}

// admit draws on the caller's requests, or, for a socket, on its connects. header is nil then.
func (s *api) admit(ctx context.Context, _ *http.Request, header http.Header) error {
	if header == nil {
		_, err := s.app.Limit.Take(ctx, access.From(ctx), limit.Connects, 1)
		return err
	}
	verdict, err := s.app.Limit.Take(ctx, access.From(ctx), limit.Requests, 1)
	verdict.SetHeaders(header.Set)
	return err
}

// startsRuns are the mutations that count as starting a run.
var startsRuns = map[string]bool{"startEnrichment": true, "retryFailedProfiles": true}

// charge draws on the buckets of an operation: its cost, and what it begins.
func (s *api) charge(ctx context.Context, op graph.Operation) (*graph.Budget, error) {
	p, starts := access.From(ctx), int64(0)
	switch op.Type {
	case ast.Subscription:
		if _, err := s.app.Limit.Take(ctx, p, limit.Subscriptions, 1); err != nil {
			return nil, err
		}
	case ast.Mutation:
		for _, field := range op.Fields {
			if startsRuns[field] {
				starts++
			}
		}
	}
	if starts > 0 {
		if _, err := s.app.Limit.Take(ctx, p, limit.Runs, starts); err != nil {
			return nil, err
		}
	}
	verdict, err := s.app.Limit.Take(ctx, p, limit.Cost, op.Cost)
	if err != nil || verdict.Capacity == 0 {
		return nil, err
	}
	b := verdict.Budget()
	return &graph.Budget{Remaining: b.Remaining, Capacity: b.Capacity, RestorePerSecond: b.RestorePerSecond}, nil
}

// announced handles wake-ups about keys: first nobody gets in any more, then whoever is in leaves.
func (s *api) announced(ids []string) {
	s.app.Access.Announced(ids)
	s.graphql.Announced(ids)
}
