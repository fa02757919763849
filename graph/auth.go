package graph

import (
	"context"
	"strings"
	"time"

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

// recheckWithin bounds one look at the keys of live connections; recheckTries is
// how often it is tried, a moment apart, since what cut the announcements off may have cut off the database.
const (
	recheckWithin = 5 * time.Second
	recheckTries  = 10
	recheckPause  = 500 * time.Millisecond
)

// Announced handles wake-ups: the connections of a revoked key are closed. nil
// says that announcements may have been lost: every key that holds a connection is looked at again.
func (s *Server) Announced(ids []string) {
	if ids == nil {
		s.streams.Go(s.recheck)
		return
	}
	for _, id := range ids {
		if key, revoked := strings.CutPrefix(id, access.RevokedPrefix); revoked {
			s.CloseKey(key)
		}
		if key, resumed := strings.CutPrefix(id, access.ResumedPrefix); resumed {
			s.streams.ReopenKey(key)
		}
	}
}

// recheck closes the connections of keys that no longer hold.
func (s *Server) recheck() {
	keys := s.streams.Keys()
	if s.o.Recheck == nil || len(keys) == 0 {
		return
	}
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), recheckWithin)
		ended, err := s.o.Recheck(ctx, keys)
		cancel()
		for _, key := range ended {
			s.CloseKey(key)
		}
		if err == nil {
			return
		}
		s.o.Log.Warn("graphql: the keys of live connections could not be looked at", "try", try, "err", err)
		if try == recheckTries || s.streams.Draining() {
			return
		}
		time.Sleep(recheckPause)
	}
}
