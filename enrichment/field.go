package enrichment

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/access"
)

// ProfileField is one value that a profile holds now: the newest that a run
// accepted, or else the imported one, whose evidence is empty.
type ProfileField struct {
	Name       string
	Value      json.RawMessage
	Confidence float64 // 0 to 1; an imported value is taken at the caller's word
	Evidence   []pipeline.Evidence
	UpdatedAt  time.Time
}

// fieldRuns is how many of a profile's newest successful runs its fields are taken from.
const fieldRuns = 5

// Fields returns what each profile holds field by field, one entry per value,
// by profile id. Fields are those of Candidate; names narrow them when given.
func (s *Service) Fields(ctx context.Context, profiles []*Profile, names []string) (map[string][]*ProfileField, error) {
	rows, err := s.Store.newestResults(ctx, s.DB, access.From(ctx).Company.ID, shownIDs(profiles), fieldRuns)
	if err != nil {
		return nil, err
	}
	results := map[string][]*RunProfile{}
	for _, m := range rows {
		results[m.ProfileID] = append(results[m.ProfileID], m)
	}
	by := make(map[string][]*ProfileField, len(profiles))
	for _, p := range profiles {
		by[p.ID] = []*ProfileField{}
		if p.Suppressed {
			continue
		}
		fields, err := fieldsOf(p, results[p.ID])
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			if len(names) == 0 || slices.Contains(names, f.Name) {
				by[p.ID] = append(by[p.ID], f)
			}
		}
	}
	return by, nil
}

// fieldsOf takes each field from the newest result that has it, results being
// newest first, and what no run has found from the import.
func fieldsOf(p *Profile, results []*RunProfile) ([]*ProfileField, error) {
	fields := []*ProfileField{}
	from := map[string]string{} // which run a field was taken from
	for _, m := range results {
		for _, f := range m.Candidate.AllFacts {
			if run, taken := from[f.Name]; taken && run != m.RunID {
				continue
			}
			from[f.Name] = m.RunID
			fields = append(fields, &ProfileField{Name: f.Name, Value: f.Value, Confidence: f.Confidence, Evidence: f.Evidence, UpdatedAt: *m.FinishedAt})
		}
	}
	for _, v := range p.imported() {
		if _, found := from[v.Field]; found || !candidateField(v.Field) {
			continue
		}
		value, err := json.Marshal(v.Value)
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", v.Field, p.ID, err)
		}
		fields = append(fields, &ProfileField{Name: v.Field, Value: value, Confidence: 1, Evidence: []pipeline.Evidence{}, UpdatedAt: v.FetchedAt})
	}
	return fields, nil
}

// candidateField tells the imported values that a candidate has a field for from the caller's own.
func candidateField(name string) bool {
	return name != "externalId" && name != "roleBrief" && name != "metadata"
}
