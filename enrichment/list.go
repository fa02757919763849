package enrichment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
)

// RunOrder is how a list of runs is ordered.
type RunOrder string

// NEWEST and OLDEST by creation. RECENTLY_FINISHED lists the runs that have ended, the latest end first.
const (
	OrderNewest           RunOrder = "NEWEST"
	OrderOldest           RunOrder = "OLDEST"
	OrderRecentlyFinished RunOrder = "RECENTLY_FINISHED"
)

// RunFilter narrows a list of runs; nil and empty fields do not.
type RunFilter struct {
	Status        []Status
	Label         *string    // exactly
	CreatedAfter  *time.Time // inclusive
	CreatedBefore *time.Time // exclusive
}

func (f RunFilter) check() error {
	if f.Label != nil {
		if err := fault.Characters("filter.label", *f.Label, maxLabel); err != nil {
			return err
		}
	}
	return firstOf(checkTime("filter.createdAfter", f.CreatedAfter), checkTime("filter.createdBefore", f.CreatedBefore))
}

func checkTime(path string, at *time.Time) error {
	if at != nil && (at.Year() < 1 || at.Year() > 9999) {
		return fault.Invalid(path, "is out of range")
	}
	return nil
}

// RunEdge is one run and its place in a list.
type RunEdge struct{ page.Edge[*Run] }

// RunConnection is one page of runs.
type RunConnection struct {
	page.Connection[RunEdge, *Run]
	count func(ctx context.Context) (int, error)
}

// TotalCount counts the whole list. It costs a query, made only when asked.
func (c *RunConnection) TotalCount(ctx context.Context) (int, error) { return c.count(ctx) }

// place is where a page of runs begins: behind a run, or behind an end.
type place struct {
	id string
	at time.Time
}

func placeOf(order RunOrder, r *Run) string {
	if order == OrderRecentlyFinished {
		return strconv.FormatInt(r.FinishedAt.UnixMicro(), 10) + " " + r.ID
	}
	return r.ID
}

func parsePlace(order RunOrder, key string) (p place, err error) {
	p.id = key
	if order == OrderRecentlyFinished && key != "" {
		at, id, _ := strings.Cut(key, " ")
		micros, err := strconv.ParseInt(at, 10, 64)
		if err != nil || id == "" {
			return p, fault.Invalid("after", "is not a cursor of this list")
		}
		p = place{id, time.UnixMicro(micros).UTC()}
	}
	return p, nil
}

// Runs lists the company's runs.
func (s *Service) Runs(ctx context.Context, a page.Args, f RunFilter, order RunOrder) (*RunConnection, error) {
	p := access.From(ctx)
	key, err := a.Position()
	if err := firstOf(err, a.Check(), f.check()); err != nil {
		return nil, err
	}
	after, err := parsePlace(order, key)
	if err != nil {
		return nil, err
	}
	runs, err := s.Store.runs(ctx, s.DB, p.Company.ID, p.Key.Test, f, order, after, a.First+1)
	if err != nil {
		return nil, err
	}
	return runPage(runs, a, order, func(ctx context.Context) (int, error) {
		return s.Store.countRuns(ctx, s.DB, p.Company.ID, p.Key.Test, f, order)
	}), nil
}

func runPage(runs []*Run, a page.Args, order RunOrder, count func(context.Context) (int, error)) *RunConnection {
	c := page.Make(runs, a, func(r *Run) string { return placeOf(order, r) }, func(e page.Edge[*Run]) RunEdge { return RunEdge{e} })
	return &RunConnection{c, count}
}

// RunsByID returns the runs with these ids that the caller may see.
func (s *Service) RunsByID(ctx context.Context, ids []string) (map[string]*Run, error) {
	p := access.From(ctx)
	runs, err := s.Store.runsByID(ctx, s.DB, p.Company.ID, p.Key.Test, ids)
	if err != nil {
		return nil, err
	}
	by := make(map[string]*Run, len(runs))
	for _, r := range runs {
		by[r.ID] = r
	}
	return by, nil
}

// RunProfileEdge is one profile of a run and its place in it.
type RunProfileEdge struct{ page.Edge[*RunProfile] }

// RunProfileConnection is one page of a run's profiles, in the order they were submitted.
type RunProfileConnection struct {
	page.Connection[RunProfileEdge, *RunProfile]
	total int
}

// TotalCount is how many profiles of the run have one of the outcomes asked for.
func (c *RunProfileConnection) TotalCount() int { return c.total }

// Members returns for each of the runs a page of its profiles, narrowed to
// outcomes when any are given, by run id and in one statement.
func (s *Service) Members(ctx context.Context, runs []*Run, a page.Args, outcomes []Outcome) (map[string]*RunProfileConnection, error) {
	position, err := a.Position()
	if err := firstOf(err, a.Check()); err != nil {
		return nil, err
	}
	after := 0
	if position != "" {
		if after, err = strconv.Atoi(position); err != nil || after < 0 || after > MaxProfiles {
			return nil, fault.Invalid("after", "is not a cursor of this list")
		}
	}
	ids := make([]string, len(runs))
	for i, r := range runs {
		ids[i] = r.ID
	}
	rows, err := s.Store.results(ctx, s.DB, ids, outcomes, after)
	if err != nil {
		return nil, err
	}
	of := map[string][]*RunProfile{}
	for _, m := range rows {
		of[m.RunID] = append(of[m.RunID], m)
	}
	pages := make(map[string]*RunProfileConnection, len(runs))
	for _, r := range runs {
		members := of[r.ID]
		c := page.Make(members[:min(len(members), a.First+1)], a, func(m *RunProfile) string { return strconv.Itoa(m.Ordinal) },
			func(e page.Edge[*RunProfile]) RunProfileEdge { return RunProfileEdge{e} })
		pages[r.ID] = &RunProfileConnection{c, r.Progress.of(outcomes)}
	}
	return pages, nil
}

// of counts the profiles with any of the outcomes; all of them when none is named.
func (p RunProgress) of(outcomes []Outcome) (n int) {
	if len(outcomes) == 0 {
		return p.Total
	}
	for _, o := range slices.Compact(slices.Sorted(slices.Values(outcomes))) {
		n += *p.count(o)
	}
	return n
}

// Events returns the stored events of each run after a sequence, at most first
// (1 to page.MaxFirst) of each, by run id and in one statement.
func (s *Service) Events(ctx context.Context, runIDs []string, after, first int) (map[string][]Event, error) {
	if err := (page.Args{First: first}).Check(); err != nil {
		return nil, err
	}
	rows, err := s.Store.eventsOf(ctx, s.DB, runIDs, after, first)
	if err != nil {
		return nil, err
	}
	of := make(map[string][]Event, len(runIDs))
	for _, id := range runIDs {
		of[id] = []Event{}
	}
	for i := range rows {
		e, err := rows[i].event()
		if err != nil {
			return nil, err
		}
		of[rows[i].RunID] = append(of[rows[i].RunID], e)
	}
	return of, nil
}

// ProfileFilter narrows a list of profiles; nil and empty fields do not.
type ProfileFilter struct {
	ExternalIDs []string
	// Search is looked for in name, headline, employer, role and external id, whatever the case.
	Search           *string
	MaxCompleteness  *float64
	NotEnrichedSince *time.Time
	Suppressed       *bool
}

func (f ProfileFilter) check() error {
	if len(f.ExternalIDs) > page.MaxFirst {
		return fault.Invalid("filter.externalIds", "may name %d profiles at most, not %d", page.MaxFirst, len(f.ExternalIDs))
	}
	for i, id := range f.ExternalIDs {
		if err := fault.Characters("filter.externalIds."+strconv.Itoa(i), id, maxID); err != nil {
			return err
		}
	}
	if f.Search != nil {
		if err := fault.Characters("filter.search", *f.Search, maxName); err != nil {
			return err
		}
	}
	return checkTime("filter.notEnrichedSince", f.NotEnrichedSince)
}

// ProfileEdge is one profile and its place in a list.
type ProfileEdge struct{ page.Edge[*Profile] }

// ProfileConnection is one page of profiles.
type ProfileConnection struct {
	page.Connection[ProfileEdge, *Profile]
	count func(ctx context.Context) (int, error)
}

// TotalCount counts the whole list. It costs a query, made only when asked.
func (c *ProfileConnection) TotalCount(ctx context.Context) (int, error) { return c.count(ctx) }

// Profiles lists the company's profiles in the order they were first imported.
func (s *Service) Profiles(ctx context.Context, a page.Args, f ProfileFilter) (*ProfileConnection, error) {
	company := access.From(ctx).Company.ID
	after, err := a.Position()
	if err := firstOf(err, a.Check(), f.check()); err != nil {
		return nil, err
	}
	rows, err := s.Store.listProfiles(ctx, s.DB, company, f, after, a.First+1)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i] = rows[i].masked()
	}
	c := page.Make(rows, a, func(p *Profile) string { return p.ID }, func(e page.Edge[*Profile]) ProfileEdge { return ProfileEdge{e} })
	return &ProfileConnection{c, func(ctx context.Context) (int, error) { return s.Store.countProfiles(ctx, s.DB, company, f) }}, nil
}

// ProfilesByID returns the company's profiles with these ids; of suppressed people, that they are.
func (s *Service) ProfilesByID(ctx context.Context, ids []string) (map[string]*Profile, error) {
	rows, err := s.Store.profilesByID(ctx, s.DB, access.From(ctx).Company.ID, ids)
	if err != nil {
		return nil, err
	}
	by := make(map[string]*Profile, len(rows))
	for _, p := range rows {
		by[p.ID] = p.masked()
	}
	return by, nil
}

// Candidates returns what the newest successful run established about each
// profile, by profile id; nothing about people who objected.
func (s *Service) Candidates(ctx context.Context, profiles []*Profile) (map[string]*pipeline.Candidate, error) {
	rows, err := s.Store.newestResults(ctx, s.DB, access.From(ctx).Company.ID, shownIDs(profiles), 1)
	if err != nil {
		return nil, err
	}
	by := make(map[string]*pipeline.Candidate, len(rows))
	for _, m := range rows {
		by[m.ProfileID] = m.Candidate
	}
	return by, nil
}

// shownIDs are the ids of the profiles that may be shown.
func shownIDs(profiles []*Profile) []string {
	ids := []string{}
	for _, p := range profiles {
		if !p.Suppressed {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// RunsOf returns for each profile a page of the runs that it was in, newest first, by profile id.
func (s *Service) RunsOf(ctx context.Context, profiles []*Profile, a page.Args) (map[string]*RunConnection, error) {
	p := access.From(ctx)
	before, err := a.Position()
	if err := firstOf(err, a.Check()); err != nil {
		return nil, err
	}
	ids := make([]string, len(profiles))
	for i, p := range profiles {
		ids[i] = p.ID
	}
	runs, err := s.Store.runsOf(ctx, s.DB, p.Company.ID, p.Key.Test, ids, before, a.First+1)
	if err != nil {
		return nil, fmt.Errorf("runs of %d profiles: %w", len(ids), err)
	}
	// Whoever asks first counts for all of them.
	counts := sync.OnceValues(func() (map[string]int, error) {
		return s.Store.countRunsOf(context.WithoutCancel(ctx), s.DB, p.Company.ID, p.Key.Test, ids)
	})
	by := make(map[string]*RunConnection, len(ids))
	for _, id := range ids {
		by[id] = runPage(runs[id], a, OrderNewest, func(context.Context) (int, error) {
			all, err := counts()
			return all[id], err
		})
	}
	return by, nil
}

// Candidate is Candidates for one profile; nil when nothing was found, or the person objected.
func (s *Service) Candidate(ctx context.Context, p *Profile) (*pipeline.Candidate, error) {
	by, err := s.Candidates(ctx, []*Profile{p})
	return by[p.ID], err
}
