package enrichment

import (
	"context"
	"slices"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/ident"
)

// Given is what the caller called the profile by when the run was started: its
// id, or the caller's own external id. Results answer under the same name, so
// that an integration that keeps its own ids finds them again.
func (m *RunProfile) Given() string {
	if m.GivenID != nil {
		return *m.GivenID
	}
	return m.ProfileID
}

// Resolve returns the ids of the company's profiles that are named by their
// external ids, by the name as given. What is a profile's id itself, or names
// nothing, is left out.
func (s *Service) Resolve(ctx context.Context, given []string) (map[string]string, error) {
	return s.Store.resolve(ctx, s.DB, access.From(ctx).Company.ID, given)
}

// foreign reports whether any of ids cannot be one that we made.
func foreign(ids []string) bool {
	for _, id := range ids {
		if !ident.IsProfile(id) {
			return true
		}
	}
	return false
}

// name replaces external ids by the profiles' own, and remembers what was given
// first where a profile goes by two names.
func (a *accepting) name(own map[string]string) {
	a.distinct, a.given = nil, map[string]string{}
	for _, given := range a.in.ProfileIDs {
		id := given
		if profile, found := own[given]; found {
			id = profile
		}
		if slices.Contains(a.distinct, id) {
			continue
		}
		a.distinct = append(a.distinct, id)
		if id != given {
			a.given[id] = given
		}
	}
}
