package enrichment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
)

// Service is what a caller may ask about profiles and runs. The principal comes from the context.
type Service struct {
	DB       *bun.DB
	Store    Store
	Ledger   *billing.Ledger
	Dispatch *dispatch.Service
	Jobs     *jobs.Inserter
	Wake     wake.Waker
	Feed     *Feed
	Box      *seal.Box
	Log      *slog.Logger
	// Render gives the older contract's results body of a run, which is also the data of its webhook events.
	Render func(*Run, []*RunProfile) ([]byte, error)
}

// Bounds of what a caller may send.
const (
	maxID    = 200
	maxLabel = 200
)

// StartInput asks for one enrichment run.
type StartInput struct {
	// IdempotencyKey makes a repeat harmless for 24 hours; "" (REST without the header) claims nothing.
	IdempotencyKey string   `json:"-"`
	ProfileIDs     []string `json:"profileIds"`
	WebhookID      *string  `json:"webhookId,omitempty"`
	MaxCredits     *int64   `json:"maxCredits,omitempty"`
	Label          *string  `json:"label,omitempty"`
	// AllowRepeats is the older contract's rule: a repeated id is processed once, but counts in the limit and in the balance check.
	AllowRepeats bool `json:"-"`
}

func (in StartInput) check() error {
	n := len(in.ProfileIDs)
	switch {
	case n == 0:
		return fault.Invalid("profileIds", "must name at least one profile")
	case n > MaxProfiles:
		return fault.LimitExceeded{
			Head:  fault.Head{Message: fmt.Sprintf("at most %d profiles a run, not %d", MaxProfiles, n), Field: []string{"profileIds"}},
			Limit: MaxProfiles, Actual: n,
		}
	}
	seen := map[string]bool{}
	for i, id := range in.ProfileIDs {
		path := "profileIds." + strconv.Itoa(i)
		if id == "" {
			return fault.Invalid(path, "must not be empty")
		}
		if err := fault.Text(path, id, maxID); err != nil {
			return err
		}
		if seen[id] && !in.AllowRepeats {
			return fault.Invalid(path, "repeats an earlier id")
		}
		seen[id] = true
	}
	if in.IdempotencyKey != "" {
		if err := idem.CheckKey("idempotencyKey", in.IdempotencyKey); err != nil {
			return err
		}
	}
	if in.Label != nil {
		if err := fault.Text("label", *in.Label, maxLabel); err != nil {
			return err
		}
	}
	if in.MaxCredits != nil && *in.MaxCredits < 0 {
		return fault.Invalid("maxCredits", "must not be negative")
	}
	return nil
}

// startOperation scopes idempotency keys; REST and GraphQL share it.
const startOperation = "startEnrichment"

// Start accepts a run or refuses it, in one transaction: nothing is started and
// nothing held when it refuses. Unknown ids do not stop the others: they settle
// as NOT_FOUND, free. replayed says that the idempotency key named an earlier run.
func (s *Service) Start(ctx context.Context, in StartInput) (run *Run, replayed bool, err error) {
	p := access.From(ctx)
	if err := in.check(); err != nil {
		return nil, false, err
	}
	a := s.accepting(p, in)
	// The ordinary run first: one statement. Whatever is not ordinary goes step by step, which knows why.
	if a.ordinary() {
		err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error { return a.atOnce(ctx, tx) })
		if err == nil {
			s.Wake.Publish(a.id)
			return a.book.run, false, nil
		}
		if !errors.Is(err, errNotOrdinary) {
			return nil, false, err
		}
	}
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		run, replayed, err = a.stepByStep(ctx, tx)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if !replayed {
		s.Wake.Publish(run.ID)
	}
	return run, replayed, nil
}

// reservationLife is the run's deadline and ten minutes: the age at which the reaper looks at a hold.
const reservationLife = 11 * time.Minute

func distinctOf(ids []string) []string {
	var out []string
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// announce publishes the end of a run with the results body as its data. It
// renders nothing when no webhook would get it.
func (s *Service) announce(ctx context.Context, tx bun.Tx, run *Run, members []*RunProfile) error {
	event := dispatch.Event{
		Type: dispatch.EnrichCompleted, CompanyID: run.CompanyID, RunID: run.ID, Sequence: run.LastSequence,
		WebhookID: run.WebhookID, Test: run.Test, At: *run.FinishedAt,
	}
	if run.Status == StatusFailed {
		event.Type = dispatch.EnrichFailed
	}
	wanted, err := s.Dispatch.WillDeliver(ctx, tx, event)
	if err != nil || !wanted[0] {
		return err
	}
	if run.Progress.Succeeded() > 0 {
		if members, err = s.Store.results(ctx, tx, run.ID, nil, 0, MaxProfiles); err != nil {
			return err
		}
	}
	if event.Data, err = s.Render(run, members); err != nil {
		return fmt.Errorf("render the end of %s: %w", run.ID, err)
	}
	return s.Dispatch.Publish(ctx, tx, event)
}

// Run returns one run of the caller's company, or nil: another company's run is not found.
func (s *Service) Run(ctx context.Context, id string) (*Run, error) {
	p := access.From(ctx)
	if !ident.IsRun(id) {
		return nil, nil
	}
	return s.Store.run(ctx, s.DB, p.Company.ID, p.Key.Test, id)
}

// Runs lists the company's runs, newest first.
func (s *Service) Runs(ctx context.Context, a page.Args) (*RunConnection, error) {
	p := access.From(ctx)
	before, err := a.Position()
	if err := firstOf(err, a.Check()); err != nil {
		return nil, err
	}
	runs, err := s.Store.runs(ctx, s.DB, p.Company.ID, p.Key.Test, before, a.First+1)
	if err != nil {
		return nil, err
	}
	c := page.Make(runs, a, func(r *Run) string { return r.ID }, func(e page.Edge[*Run]) RunEdge { return RunEdge{e} })
	return &RunConnection{c}, nil
}

// Members returns a page of a run's profiles in the order they were submitted, narrowed to outcomes when given.
func (s *Service) Members(ctx context.Context, run *Run, a page.Args, outcomes []Outcome) (*RunProfileConnection, error) {
	position, err := a.Position()
	if err := firstOf(err, a.Check()); err != nil {
		return nil, err
	}
	after := 0
	if position != "" {
		if after, err = strconv.Atoi(position); err != nil {
			return nil, fault.Invalid("after", "is not a cursor of this list")
		}
	}
	rows, err := s.Store.results(ctx, s.DB, run.ID, outcomes, after, a.First+1)
	if err != nil {
		return nil, err
	}
	c := page.Make(rows, a, func(r *RunProfile) string { return strconv.Itoa(r.Ordinal) },
		func(e page.Edge[*RunProfile]) RunProfileEdge { return RunProfileEdge{e} })
	return &RunProfileConnection{c}, nil
}

// Results returns all profiles of a run with their candidates, in the order they were submitted.
func (s *Service) Results(ctx context.Context, run *Run) ([]*RunProfile, error) {
	return s.Store.results(ctx, s.DB, run.ID, nil, 0, MaxProfiles)
}

// maxEvents is the most events one call returns.
const maxEvents = 1000

// Events returns a run's stored events after a sequence.
func (s *Service) Events(ctx context.Context, run *Run, after, first int) ([]Event, error) {
	if first < 1 || first > maxEvents {
		return nil, fault.Invalid("first", "must be between 1 and %d, not %d", maxEvents, first)
	}
	rows, err := s.Store.events(ctx, s.DB, run.ID, after, first)
	if err != nil {
		return nil, err
	}
	return decode(rows)
}

func decode(rows []eventRow) ([]Event, error) {
	events := make([]Event, len(rows))
	for i := range rows {
		e, err := rows[i].event()
		if err != nil {
			return nil, err
		}
		events[i] = e
	}
	return events, nil
}

// Profile returns one profile of the caller's company, or nil. A suppressed
// person's profile shows that and nothing else.
func (s *Service) Profile(ctx context.Context, id string) (*Profile, error) {
	p, err := s.Store.profile(ctx, s.DB, access.From(ctx).Company.ID, id)
	return p.masked(), err
}

// Profiles lists the company's profiles in the order they were first imported.
func (s *Service) Profiles(ctx context.Context, a page.Args) (*ProfileConnection, error) {
	after, err := a.Position()
	if err := firstOf(err, a.Check()); err != nil {
		return nil, err
	}
	rows, err := s.Store.profiles(ctx, s.DB, access.From(ctx).Company.ID, func(q *bun.SelectQuery) *bun.SelectQuery {
		if after != "" {
			q = q.Where("p.id > ?", after)
		}
		return q.OrderExpr("p.id").Limit(int64(a.First) + 1)
	})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i] = rows[i].masked()
	}
	c := page.Make(rows, a, func(p *Profile) string { return p.ID }, func(e page.Edge[*Profile]) ProfileEdge { return ProfileEdge{e} })
	return &ProfileConnection{c}, nil
}

// Candidate returns what the newest successful run established about a profile; nil when nothing, or when the person objected.
func (s *Service) Candidate(ctx context.Context, p *Profile) (*pipeline.Candidate, error) {
	if p.Suppressed {
		return nil, nil
	}
	newest, err := s.Store.newestCandidate(ctx, s.DB, p.CompanyID, p.ID)
	if newest == nil {
		return nil, err
	}
	return newest.Candidate, err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Referenced returns the run that another object of the caller's company names;
// nil when it names none, or the run is gone.
func (s *Service) Referenced(ctx context.Context, id *string) (*Run, error) {
	if id == nil || *id == "" {
		return nil, nil
	}
	return s.Run(ctx, *id)
}

// Follow streams a run's events to the caller; an unknown or foreign run is a NotFound.
func (s *Service) Follow(ctx context.Context, runID string, after *int) (<-chan Event, error) {
	events, err := s.Feed.Follow(ctx, runID, after)
	if err == nil && events == nil {
		err = noRun(runID)
	}
	return events, err
}

// Watch takes a place in a run's log for the caller; an unknown or foreign run is a NotFound.
func (s *Service) Watch(ctx context.Context, runID string, after *int) (*Watch, error) {
	w, err := s.Feed.Watch(ctx, runID, after)
	if err == nil && w == nil {
		err = noRun(runID)
	}
	return w, err
}

func noRun(id string) error {
	return fault.NotFound{Head: fault.Head{Message: "no such run", Field: []string{"requestId"}}, Type: "EnrichmentRun", ID: id}
}
