package enrichment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/idem"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// errNotOrdinary says that a run cannot be accepted at once: its key was used,
// a profile is unknown or suppressed, or the credits fall short.
var errNotOrdinary = errors.New("not an ordinary run")

// accepting is one run on its way in.
type accepting struct {
	*Service
	who      *access.Principal
	in       StartInput
	id       string
	now      time.Time
	distinct []string
	given    map[string]string // the external ids of distinct, where they were given
	book     *book
	topics   []string // to wake besides the run
}

func (s *Service) accepting(p *access.Principal, in StartInput) *accepting {
	return &accepting{
		Service: s, who: p, in: in, id: ident.NewRun(), now: now(), distinct: distinctOf(in.ProfileIDs),
	}
}

// open begins the run's life: all profiles queued, event 1, the hold.
func (a *accepting) open() {
	n := len(a.distinct)
	run := &Run{
		ID: a.id, CompanyID: a.who.Company.ID, APIKeyID: a.who.Key.ID, Label: a.in.Label, Test: a.who.Key.Test, WebhookID: a.in.WebhookID,
		Status: StatusQueued, Stages: newStages(), CreatedAt: a.now, Progress: RunProgress{Total: n, Queued: n},
	}
	members := make([]*RunProfile, n)
	for i, id := range a.distinct {
		members[i] = &RunProfile{
			RunID: a.id, Ordinal: i + 1, CompanyID: run.CompanyID, ProfileID: id, Outcome: OutcomeQueued,
			FieldsChanged: []string{}, WaitingOn: []string{}, Missing: []string{},
		}
		if given, found := a.given[id]; found {
			members[i].GivenID = &given
		}
	}
	a.book = newBook(run, members)
	if !run.Test {
		run.Reserved = int64(n)
	}
	a.book.log.add(a.now, &RunStatusChanged{Status: run.Status})
	if !run.Test {
		a.book.log.add(a.now, &CreditsMoved{Credits: run.Credits()})
	}
}

func (a *accepting) claim() idem.Claim {
	c := idem.Claim{CompanyID: a.who.Company.ID, Operation: startOperation, Key: a.in.IdempotencyKey, ResourceID: a.id}
	if c.Key != "" {
		c.Fingerprint = idem.Fingerprint(startOperation, a.in)
	}
	return c
}

func (a *accepting) reservation() billing.Reservation {
	return billing.Reservation{
		CompanyID: a.who.Company.ID, RunID: a.id, Hold: int64(len(a.distinct)), Required: int64(len(a.in.ProfileIDs)),
		Settled: a.book.run.Released, Actor: a.who.Key.ID, ExpiresAt: a.now.Add(reservationLife),
	}
}

// ordinary reports whether the run may be accepted at once: it costs credits, within
// what the caller allows, names no webhook, and has nothing served from store.
func (a *accepting) ordinary() bool {
	return !a.who.Key.Test && !a.window() && a.in.WebhookID == nil && a.overMax(len(a.distinct)) == nil
}

// overMax refuses a run that could cost more than the caller allows.
func (a *accepting) overMax(hold int) error {
	if a.in.MaxCredits == nil || a.who.Key.Test || int64(hold) <= *a.in.MaxCredits {
		return nil
	}
	return fault.LimitExceeded{
		Head:  fault.Head{Message: fmt.Sprintf("the run would hold %d credits, more than maxCredits allows", hold), Field: []string{"maxCredits"}},
		Limit: int(*a.in.MaxCredits), Actual: hold,
	}
}

// atOnce accepts the run in two round trips: all of it but the jobs, and the jobs
// together with the commit. BEGIN travels with the first. The account row stays
// locked for one round trip and the commit.
func (a *accepting) atOnce(ctx context.Context, tx bun.Tx) error {
	a.open()
	done, err := a.Store.accept(ctx, tx, a.book, a.claim(), a.reservation())
	if err != nil {
		return err
	}
	if !done {
		return errNotOrdinary
	}
	return a.Jobs.Add(pg.Last(ctx), tx, jobsOf(a.book))
}

// stepByStep accepts the run, or says why not.
func (a *accepting) stepByStep(ctx context.Context, tx bun.Tx) (*Run, bool, error) {
	if c := a.claim(); c.Key != "" {
		prior, err := idem.Take(ctx, tx, c)
		if err != nil {
			return nil, false, err
		}
		if prior != "" {
			run, err := a.Store.run(ctx, tx, a.who.Company.ID, a.who.Key.Test, prior)
			return run, true, err
		}
	}
	if a.in.WebhookID != nil {
		if err := a.Dispatch.CheckForRun(ctx, tx, *a.in.WebhookID); err != nil {
			return nil, false, err
		}
	}
	own, err := a.Store.resolve(ctx, tx, a.who.Company.ID, a.in.ProfileIDs)
	if err != nil {
		return nil, false, err
	}
	a.name(own)
	known, err := a.known(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	repeats, err := a.repeats(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	a.open()
	run := a.book.run
	for _, m := range a.book.members {
		from, again := repeats[m.ProfileID]
		switch suppressed, found := known[m.ProfileID]; {
		case !found:
			a.book.free(m, a.now, OutcomeNotFound)
		case suppressed:
			a.book.free(m, a.now, OutcomeSuppressed)
		case again:
			a.book.serve(m, a.now, from)
		}
	}
	if err := a.overMax(run.Progress.Queued); err != nil {
		return nil, false, err
	}
	a.book.close(a.now)
	if err := a.Store.insertRun(ctx, tx, a.book); err != nil {
		return nil, false, err
	}
	if err := a.Store.copyServed(ctx, tx, a.book); err != nil {
		return nil, false, err
	}
	if err := a.Jobs.Add(ctx, tx, jobsOf(a.book)); err != nil {
		return nil, false, err
	}
	// Late, because it locks the account row.
	if !run.Test {
		if _, err := a.Ledger.Reserve(ctx, tx, a.reservation()); err != nil {
			return nil, false, err
		}
	}
	a.topics, err = a.tellOf(ctx, tx, []*book{a.book})
	return run, false, err
}

// known tells which ids are profiles, and which of those are suppressed. A test
// key also knows the reserved ids, whose outcomes the sandbox sources play.
func (a *accepting) known(ctx context.Context, tx bun.Tx) (map[string]bool, error) {
	known, err := a.Store.known(ctx, tx, a.who.Company.ID, a.distinct)
	if err != nil {
		return nil, err
	}
	if a.who.Key.Test {
		for _, id := range a.distinct {
			if reserved(id) {
				known[id] = id == reservedSuppressed
			}
		}
	}
	return known, nil
}
