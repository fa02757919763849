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
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/metrics"
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
	// Metrics counts what ended; nil counts nothing.
	Metrics *metrics.Metrics
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
		if err := fault.Characters(path, id, maxID); err != nil {
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
		if err := fault.Characters("label", *in.Label, maxLabel); err != nil {
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
		if foreign(in.ProfileIDs) {
			own, err := s.Resolve(ctx, in.ProfileIDs)
			if err != nil {
				return nil, false, err
			}
			a.name(own)
		}
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
		if errors.As(err, new(billing.InsufficientCredits)) {
			s.Metrics.ReserveRefused()
		}
		return nil, false, err
	}
	if replayed {
		s.Metrics.Replayed(startOperation)
	} else {
		if run.Status.Final() { // nothing was left to do
			s.Metrics.RunEnded(string(run.Status))
		}
		s.Wake.Publish(append(a.topics, run.ID)...)
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
		if members, err = s.Store.results(ctx, tx, []string{run.ID}, nil, 0); err != nil {
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

// Results returns all profiles of a run with their candidates, in the order they were submitted.
func (s *Service) Results(ctx context.Context, run *Run) ([]*RunProfile, error) {
	return s.Store.results(ctx, s.DB, []string{run.ID}, nil, 0)
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

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
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
