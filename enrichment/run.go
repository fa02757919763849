// Package enrichment holds profiles, runs, what happened in them, and the
// privacy of the people they are about.
package enrichment

import (
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// Status is where a run is in its life.
type Status string

// QUEUED: nothing of it has begun. RUNNING: at least one profile has. CANCELLING:
// profiles not begun were cancelled, those at work finish. COMPLETED: every
// profile has an outcome. FAILED: the run itself could not proceed. CANCELLED:
// as COMPLETED, after a cancel. The last three are final.
const (
	StatusQueued     Status = "QUEUED"
	StatusRunning    Status = "RUNNING"
	StatusCancelling Status = "CANCELLING"
	StatusCompleted  Status = "COMPLETED"
	StatusFailed     Status = "FAILED"
	StatusCancelled  Status = "CANCELLED"
)

// Final reports whether nothing more will happen to a run of this status.
func (s Status) Final() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// MaxProfiles is how many profiles one run may hold.
const MaxProfiles = 10

// Run is one enrichment of up to MaxProfiles profiles.
type Run struct {
	bun.BaseModel `bun:"table:runs,alias:r"`

	ID           string          `bun:"id,pk"`
	CompanyID    string          `bun:"company_id"`
	APIKeyID     string          `bun:"api_key_id"`
	Label        *string         `bun:"label"`
	Test         bool            `bun:"test"`
	Status       Status          `bun:"status"`
	WebhookID    *string         `bun:"webhook_id"`
	Progress     RunProgress     `bun:"embed:"`
	Stages       []StageProgress `bun:"stages,type:json"`
	Reserved     int64           `bun:"reserved"`
	Captured     int64           `bun:"captured"`
	Released     int64           `bun:"released"`
	LastSequence int             `bun:"last_sequence"`
	Failure      *Failure        `bun:"failure,type:json"`
	CreatedAt    time.Time       `bun:"created_at"`
	StartedAt    *time.Time      `bun:"started_at"`
	FinishedAt   *time.Time      `bun:"finished_at"`
	// CancelReason is what was said when the run was cancelled; nil when it never was, or nothing was said.
	CancelReason *string `bun:"cancel_reason"`
}

// IsNode marks Run as a GraphQL Node.
func (*Run) IsNode() {}

// RequestID is the run's id under the name that REST callers know.
func (r *Run) RequestID() string { return r.ID }

// Credits returns reserved = captured + released + held; all zero for a test run.
func (r *Run) Credits() billing.RunCredits {
	return billing.RunCredits{
		Reserved: r.Reserved, Captured: r.Captured, Released: r.Released,
		Held: r.Reserved - r.Captured - r.Released,
	}
}

// RunProgress counts a run's profiles by outcome; the counts sum to Total in
// every message. Stored events leave zeros out: they are most of what is stored.
type RunProgress struct {
	Total      int `bun:"total" json:"total,omitzero"`
	Queued     int `bun:"queued" json:"queued,omitzero"`
	Active     int `bun:"active" json:"active,omitzero"`
	Enriched   int `bun:"enriched" json:"enriched,omitzero"`
	Partial    int `bun:"partial" json:"partial,omitzero"`
	NoMatch    int `bun:"no_match" json:"noMatch,omitzero"`
	NotFound   int `bun:"not_found" json:"notFound,omitzero"`
	Suppressed int `bun:"suppressed" json:"suppressed,omitzero"`
	TimedOut   int `bun:"timed_out" json:"timedOut,omitzero"`
	Failed     int `bun:"failed" json:"failed,omitzero"`
	Cancelled  int `bun:"cancelled" json:"cancelled,omitzero"`
}

// count gives the place where profiles of an outcome are counted.
func (p *RunProgress) count(o Outcome) *int {
	switch o {
	case OutcomeQueued:
		return &p.Queued
	case OutcomeActive:
		return &p.Active
	case OutcomeEnriched:
		return &p.Enriched
	case OutcomePartial:
		return &p.Partial
	case OutcomeNoMatch:
		return &p.NoMatch
	case OutcomeNotFound:
		return &p.NotFound
	case OutcomeSuppressed:
		return &p.Suppressed
	case OutcomeTimedOut:
		return &p.TimedOut
	case OutcomeCancelled:
		return &p.Cancelled
	default:
		return &p.Failed
	}
}

// Finished counts the profiles that have a final outcome.
func (p RunProgress) Finished() int { return p.Total - p.Queued - p.Active }

// Succeeded counts the profiles that cost a credit or were served from store.
func (p RunProgress) Succeeded() int { return p.Enriched + p.Partial }

// StageStatus is where a run stands with one stage.
type StageStatus string

// PENDING: no profile has reached it. ACTIVE: some have. DONE: none is before or in it. SKIPPED: done without any profile in it.
const (
	StagePending StageStatus = "PENDING"
	StageActive  StageStatus = "ACTIVE"
	StageDone    StageStatus = "DONE"
	StageSkipped StageStatus = "SKIPPED"
)

// StageProgress counts a run's profiles in one stage.
type StageProgress struct {
	Stage      pipeline.Stage `json:"stage"`
	Status     StageStatus    `json:"status"`
	Completed  int            `json:"completed,omitzero"` // went through it
	Failed     int            `json:"failed,omitzero"`    // ended in it without success
	Passed     int            `json:"passed,omitzero"`    // behind it, whichever way, finished profiles included
	StartedAt  *time.Time     `json:"startedAt,omitempty"`
	FinishedAt *time.Time     `json:"finishedAt,omitempty"`
}

// newStages is the stage list of a run nothing of which has begun.
func newStages() []StageProgress {
	stages := make([]StageProgress, len(pipeline.Stages))
	for i, s := range pipeline.Stages {
		stages[i] = StageProgress{Stage: s, Status: StagePending}
	}
	return stages
}

// Failure says what went wrong, and whether trying again can help.
type Failure struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}
