package enrichment

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/pg"
)

// The settler's measures (billing.md section 2): a batch closes at this many
// outcomes or this long after its first; progress alone may wait a little longer.
const (
	lanes         = 4
	batchOutcomes = 64
	batchMoves    = 1024
	outcomeWait   = 5 * time.Millisecond
	progressWait  = 20 * time.Millisecond
	settleTries   = 4
	settleBackoff = 50 * time.Millisecond
)

// Settler is the only writer of what happens in runs. Workers hand it moves;
// each lane (by company) writes a batch of them in one transaction: run rows
// locked in id order, outcomes guarded by still being open, events numbered,
// credits captured and released, ended runs announced. A second execution of a
// job finds its profile ended and moves nothing. Progress travels in the same
// lanes, so an event never comes after the outcome it precedes.
type Settler struct {
	Service *Service
	Log     *slog.Logger

	lanes []chan *move
	wg    sync.WaitGroup
	seed  maphash.Seed
}

// move is one thing that happened to one profile of a run.
type move struct {
	run, company, profile string
	at                    time.Time
	apply                 func(b *book, m *RunProfile)
	outcome               bool
	done                  chan error // non-nil exactly for outcomes
}

// Start begins the lanes.
func (s *Settler) Start(context.Context) error {
	s.seed = maphash.MakeSeed()
	s.lanes = make([]chan *move, lanes)
	for i := range s.lanes {
		s.lanes[i] = make(chan *move, batchMoves)
		s.wg.Go(func() { s.lane(s.lanes[i]) })
	}
	return nil
}

// Stop writes what is left and ends the lanes. Nothing may be handed over afterwards.
func (s *Settler) Stop(context.Context) error {
	for _, l := range s.lanes {
		close(l)
	}
	s.wg.Wait()
	return nil
}

// Settle ends one profile and returns once that is committed, or why it could not be.
func (s *Settler) Settle(ctx context.Context, run, company, profile string, f Finish) error {
	m := &move{
		run: run, company: company, profile: profile, at: now(), outcome: true, done: make(chan error, 1),
		apply: func(b *book, m *RunProfile) { b.finish(m, now(), f) },
	}
	select {
	case s.of(company) <- m:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return ctx.Err() // it may still commit; the next attempt finds the profile ended
	}
}

// tell hands over progress, which nobody waits for.
func (s *Settler) tell(run, company, profile string, apply func(*book, *RunProfile, time.Time)) {
	at := now()
	s.of(company) <- &move{run: run, company: company, profile: profile, at: at, apply: func(b *book, m *RunProfile) { apply(b, m, at) }}
}

func (s *Settler) of(company string) chan *move {
	return s.lanes[maphash.String(s.seed, company)%uint64(len(s.lanes))]
}

func (s *Settler) lane(in <-chan *move) {
	for first := range in {
		batch, outcomes := []*move{first}, 0
		if first.outcome {
			outcomes++
		}
		wait := progressWait
		if first.outcome {
			wait = outcomeWait
		}
		timer := time.NewTimer(wait)
		for open := true; open && outcomes < batchOutcomes && len(batch) < batchMoves; {
			select {
			case m, more := <-in:
				if !more {
					open = false
					break
				}
				batch = append(batch, m)
				if m.outcome {
					if outcomes == 0 {
						timer.Reset(outcomeWait)
					}
					outcomes++
				}
			case <-timer.C:
				open = false
			}
		}
		timer.Stop()
		s.settle(batch)
	}
}

// settle writes a batch. When it cannot be written whole, it is written one
// profile at a time, so that one poisoned row cannot hold back the others.
func (s *Settler) settle(batch []*move) {
	err := s.try(batch)
	if err == nil {
		answer(batch, nil)
		return
	}
	s.Log.Warn("settle a batch, now one by one", "moves", len(batch), "err", err)
	byProfile := map[[2]string][]*move{}
	var order [][2]string
	for _, m := range batch {
		key := [2]string{m.run, m.profile}
		if byProfile[key] == nil {
			order = append(order, key)
		}
		byProfile[key] = append(byProfile[key], m)
	}
	for _, key := range order {
		err := s.try(byProfile[key])
		if err != nil {
			s.Log.Error("settle a profile", "run_id", key[0], "profile_id", key[1], "err", err)
		}
		answer(byProfile[key], err)
	}
}

func answer(batch []*move, err error) {
	for _, m := range batch {
		if m.done != nil {
			m.done <- err
		}
	}
}

// try writes a batch, again after a short pause while the database is away or a lock was lost.
func (s *Settler) try(batch []*move) error {
	var err error
	for i := range settleTries {
		if i > 0 {
			time.Sleep(settleBackoff << i)
		}
		if err = s.write(batch); err == nil || !pg.IsUnavailable(err) {
			return err
		}
	}
	return err
}

func (s *Settler) write(batch []*move) error {
	var touched []string
	var sum tally
	err := pg.InTx(context.Background(), s.Service.DB, func(ctx context.Context, tx bun.Tx) error {
		books, err := s.Service.open(ctx, tx, runsOf(batch))
		if err != nil {
			return err
		}
		sum = tally{}
		for _, m := range batch {
			b := books[m.run]
			if b == nil {
				continue // erased meanwhile
			}
			if rp := b.member(m.profile); rp != nil && rp.Outcome.Open() {
				m.apply(b, rp)
			} else if m.outcome {
				sum.again++
			}
		}
		sum.note(books)
		touched, err = s.Service.commit(ctx, tx, books)
		sum.ended(books)
		return err
	})
	if err != nil {
		return err
	}
	sum.publish(s.Service.Metrics)
	s.Service.Wake.Publish(touched...)
	return nil
}

// runsOf are the runs of a batch, in id order.
func runsOf(batch []*move) []string {
	ids := map[string]bool{}
	for _, m := range batch {
		ids[m.run] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

// open locks runs, whose ids are given in order, and reads their members.
func (s *Service) open(ctx context.Context, tx bun.Tx, sorted []string) (map[string]*book, error) {
	runs, err := s.Store.lock(ctx, tx, sorted)
	if err != nil {
		return nil, err
	}
	members, err := s.Store.members(ctx, tx, sorted)
	if err != nil {
		return nil, err
	}
	books := make(map[string]*book, len(runs))
	for _, r := range runs {
		books[r.ID] = newBook(r, members[r.ID])
	}
	return books, nil
}

// commit writes what the books gathered, moves the credits, and announces the
// runs that ended. It returns the ids of the runs that changed.
func (s *Service) commit(ctx context.Context, tx bun.Tx, books map[string]*book) ([]string, error) {
	var runs []*Run
	var profiles []*RunProfile
	var events []eventRow
	var captures []billing.Capture
	var settles []billing.Settle
	var told []*book
	for _, id := range slices.Sorted(maps.Keys(books)) {
		b := books[id]
		b.close(now())
		if len(b.log.rows) == 0 && len(b.changed) == 0 {
			continue
		}
		runs = append(runs, b.run)
		told = append(told, b)
		events = append(events, b.log.rows...)
		for _, m := range b.members {
			if b.changed[m] {
				profiles = append(profiles, m)
			}
		}
		for _, m := range b.captured {
			captures = append(captures, billing.Capture{
				CompanyID: b.run.CompanyID, RunID: id, ProfileID: m.ProfileID, Outcome: string(m.Outcome),
			})
		}
		if b.ended && !b.run.Test {
			settles = append(settles, billing.Settle{CompanyID: b.run.CompanyID, RunID: id})
		}
	}
	if len(runs) == 0 {
		return nil, nil
	}
	if err := s.Store.write(ctx, tx, runs, profiles, events); err != nil {
		return nil, err
	}
	if len(captures)+len(settles) > 0 {
		if err := s.pay(ctx, tx, books, captures, settles); err != nil {
			return nil, err
		}
	}
	touched, err := s.tellOf(ctx, tx, told)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		touched = append(touched, r.ID)
	}
	return touched, nil
}

// errBooksDiffer says that the ledger moved other credits than the run's own
// counts say. A guard is broken, so nothing of the batch is written.
var errBooksDiffer = errors.New("the run's credits and the ledger's differ")

func (s *Service) pay(ctx context.Context, tx bun.Tx, books map[string]*book, captures []billing.Capture, settles []billing.Settle) error {
	credits, err := s.Ledger.Move(ctx, tx, captures, settles)
	if err != nil {
		return err
	}
	for id, c := range credits {
		if want := books[id].run.Credits(); c != want {
			return fmt.Errorf("run %s: %w: %+v in the ledger, %+v in the run", id, errBooksDiffer, c, want)
		}
	}
	return nil
}

// now is the time that outcomes and events carry, in the precision of the database.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// told adapts pipeline.Progress to the settler for one attempt of one profile.
// After stop it is silent, so that an abandoned stage cannot speak.
type told struct {
	settler               *Settler
	run, company, profile string

	mu      sync.Mutex
	stopped bool
}

func (t *told) tell(apply func(b *book, m *RunProfile, at time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.settler.tell(t.run, t.company, t.profile, apply)
	}
}

func (t *told) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
}

// Stage implements pipeline.Progress. A skipped stage leaves the profile where it is.
func (t *told) Stage(stage pipeline.Stage, skipped bool) {
	if skipped {
		return
	}
	t.tell(func(b *book, m *RunProfile, at time.Time) { b.enter(m, at, stage) })
}

// Source implements pipeline.Progress.
func (t *told) Source(name string, state pipeline.SourceState, loss pipeline.Loss, records int) {
	e := SourceChanged{ProfileID: t.profile, Source: name, State: state, Loss: optional(string(loss)), Records: records}
	t.tell(func(b *book, m *RunProfile, at time.Time) { b.source(m, at, e) })
}

// Fields implements pipeline.Progress.
func (t *told) Fields(names []string) {
	t.tell(func(b *book, m *RunProfile, at time.Time) { b.gain(m, at, names) })
}
