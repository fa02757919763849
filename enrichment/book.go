package enrichment

import (
	"slices"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// book is one run while its row is locked: its members, and the log that
// numbers what happens. Its methods are the only places where outcomes, counts,
// stages and credits of a run change.
type book struct {
	run     *Run
	members []*RunProfile
	log     log
	changed map[*RunProfile]bool
	// captured are the members that succeeded in this batch and cost a credit.
	captured []*RunProfile
	// served are what answers the members that an earlier run's success serves.
	served []repeat
	// began and ended say that the run did in this batch.
	began, ended bool
}

func newBook(run *Run, members []*RunProfile) *book {
	return &book{run: run, members: members, log: log{run: run}, changed: map[*RunProfile]bool{}}
}

// Finish is how one profile ended. Candidate is set exactly for a success.
type Finish struct {
	Outcome   Outcome
	Candidate *pipeline.Candidate
	Failure   *Failure
	Missing   []string
	// Fingerprint is that of the profile as it was when the work on it began.
	Fingerprint []byte
	// Digests are those of the identifiers met on the way, by which an objection finds the person.
	Digests [][]byte
}

func (b *book) member(profileID string) *RunProfile {
	for _, m := range b.members {
		if m.ProfileID == profileID {
			return m
		}
	}
	return nil
}

// named is the member with this id, or that the caller started by this name.
func (b *book) named(id string) *RunProfile {
	if m := b.member(id); m != nil {
		return m
	}
	for _, m := range b.members {
		if m.Given() == id {
			return m
		}
	}
	return nil
}

// begin makes a queued profile active, and the run running.
func (b *book) begin(m *RunProfile, at time.Time, attempt int) {
	b.changed[m] = true
	m.Attempt = attempt
	m.WaitingOn = []string{}
	if m.Outcome == OutcomeQueued { // else a later attempt, after a node died
		m.StartedAt = &at
		b.move(m, OutcomeActive)
	}
	if b.run.Status == StatusQueued {
		b.run.Status, b.run.StartedAt, b.began = StatusRunning, &at, true
		b.log.add(at, &RunStatusChanged{Status: b.run.Status})
	}
	b.log.add(at, b.advanced(m))
}

// late says which sources a profile still waits for when most of its time is gone.
func (b *book) late(m *RunProfile, at time.Time) {
	b.log.add(at, b.advanced(m))
}

func (b *book) move(m *RunProfile, to Outcome) {
	*b.run.Progress.count(m.Outcome)--
	*b.run.Progress.count(to)++
	m.Outcome = to
}

// enter puts an active profile into a stage.
func (b *book) enter(m *RunProfile, at time.Time, stage pipeline.Stage) {
	b.changed[m] = true
	m.Stage = &stage
	b.log.add(at, b.advanced(m))
	b.stages(at)
}

// source records that a source was asked, answered or was lost.
func (b *book) source(m *RunProfile, at time.Time, e SourceChanged) {
	b.changed[m] = true
	m.WaitingOn = slices.DeleteFunc(slices.Clone(m.WaitingOn), func(s string) bool { return s == e.Source })
	if e.State == pipeline.SourceAsked {
		m.WaitingOn = append(m.WaitingOn, e.Source)
	}
	b.log.add(at, &e)
}

// gain records fields that hold accepted values now; no new one is no event.
func (b *book) gain(m *RunProfile, at time.Time, fields []string) {
	merged := slices.Compact(slices.Sorted(slices.Values(slices.Concat(m.FieldsChanged, fields))))
	if slices.Equal(merged, m.FieldsChanged) {
		return
	}
	b.changed[m] = true
	m.FieldsChanged = merged
	b.log.add(at, b.advanced(m))
}

// finish ends an open profile; a success is captured.
func (b *book) finish(m *RunProfile, at time.Time, f Finish) {
	b.changed[m] = true
	b.move(m, f.Outcome)
	m.FinishedAt = &at
	m.Failure = f.Failure
	m.Missing = append([]string{}, f.Missing...)
	m.WaitingOn = []string{}
	if f.Outcome.Success() {
		m.Candidate, m.PersonDigests = f.Candidate, append([][]byte{}, f.Digests...)
		m.Fingerprint = f.Fingerprint
		b.gainSilently(m)
		if !b.run.Test {
			m.Credits = 1
			b.run.Captured++
			b.captured = append(b.captured, m)
		}
	} else {
		m.FieldsChanged = []string{}
	}
	b.log.add(at, b.advanced(m))
	if m.Credits > 0 {
		b.log.add(at, &CreditsMoved{Credits: b.run.Credits()})
	}
	b.stages(at)
}

// free ends a queued profile that is not worked on at all; the credit that was held for it is released.
func (b *book) free(m *RunProfile, at time.Time, outcome Outcome) {
	b.finish(m, at, Finish{Outcome: outcome})
	if !b.run.Test {
		b.run.Released++
		b.log.add(at, &CreditsMoved{Credits: b.run.Credits()})
	}
}

// gainSilently takes the fields of the candidate: the outcome's own event shows them.
func (b *book) gainSilently(m *RunProfile) {
	names := []string{}
	for _, f := range m.Candidate.AllFacts {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	m.FieldsChanged = slices.Compact(names)
}

// close ends the run when every profile has ended: what is still held is
// released, and the terminal event is the last.
func (b *book) close(at time.Time) {
	r := b.run
	if r.Status.Final() || r.Progress.Finished() < r.Progress.Total {
		return
	}
	if held := r.Reserved - r.Captured - r.Released; held > 0 {
		r.Released += held
		b.log.add(at, &CreditsMoved{Credits: r.Credits()})
	}
	r.Status = map[bool]Status{true: StatusCancelled, false: StatusCompleted}[r.Status == StatusCancelling]
	r.FinishedAt = &at
	b.ended = true
	b.log.add(at, &RunStatusChanged{Status: r.Status})
}

func (b *book) advanced(m *RunProfile) *ProfileAdvanced {
	return &ProfileAdvanced{
		ProfileID: m.ProfileID, Stage: m.Stage, Outcome: m.Outcome,
		FieldsChanged: m.FieldsChanged, WaitingOn: m.WaitingOn,
	}
}

// stages counts the stages anew from where the profiles stand, so that a second
// attempt of a profile can never be counted twice, and logs each that began or ended.
func (b *book) stages(at time.Time) {
	for i := range b.run.Stages {
		s := &b.run.Stages[i]
		in := 0
		s.Completed, s.Failed, s.Passed = 0, 0, 0
		for _, m := range b.members {
			place := -1
			if m.Stage != nil {
				place = slices.Index(pipeline.Stages, *m.Stage)
			}
			switch {
			case place > i:
				s.Completed++
				s.Passed++
			case !m.Outcome.Open():
				s.Passed++
				if place == i && (m.Outcome == OutcomeTimedOut || m.Outcome == OutcomeFailed) {
					s.Failed++
				} else if place == i {
					s.Completed++
				}
			case place == i:
				in++
			}
		}
		switch {
		case s.Status == StagePending && in > 0:
			s.Status, s.StartedAt = StageActive, &at
		case s.Status == StageActive && s.Passed == len(b.members):
			s.Status, s.FinishedAt = StageDone, &at
		case s.Status == StagePending && s.Passed == len(b.members):
			s.Status, s.FinishedAt = StageSkipped, &at
			s.Completed = 0
		case s.FinishedAt != nil && s.Passed < len(b.members): // the run was reopened
			s.Status, s.FinishedAt = StageActive, nil
			if s.StartedAt == nil {
				s.Status = StagePending
			}
		default:
			continue
		}
		b.log.add(at, &StageChanged{StageProgress: *s})
	}
}
