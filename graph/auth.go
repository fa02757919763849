package graph

import (
	"context"
	"strings"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
)

// Auth is the @auth directive: the caller's key must cover scope. It answers
// before the resolver runs, so nothing is done for a key that may not ask.
func Auth(ctx context.Context, _ any, next graphql.Resolver, scope access.Scope) (any, error) {
	p := access.From(ctx)
	if p == nil {
		return nil, Unauthenticated("an API key is needed")
	}
	if !p.Can(scope) {
		return nil, fault.Forbidden{Message: "this key lacks the scope " + string(scope), RequiredScope: string(scope)}
	}
	return next(ctx)
}

// Announced handles wake-ups: the sockets of a revoked key are closed.
func (s *Server) Announced(ids []string) {
	for _, id := range ids {
		if key, revoked := strings.CutPrefix(id, access.RevokedPrefix); revoked {
			s.CloseKey(key)
		}
	}
}
