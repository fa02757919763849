package enrichment

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// Head is what every event carries. Sequences start at 1 and have no gaps within
// a run; Progress holds the counts after the event, so that the newest event alone shows the truth.
type Head struct {
	Sequence   int         `json:"sequence"`
	OccurredAt time.Time   `json:"occurredAt"`
	Progress   RunProgress `json:"progress"`
}

// At returns the event's place in its run.
func (h Head) At() int { return h.Sequence }

func (h *Head) head() *Head { return h }

// Event is one thing that happened to a run: one of the structs below.
type Event interface {
	At() int
	head() *Head
}

// RunSnapshot is the whole state, in place of the events that led to it. It is never stored.
type RunSnapshot struct {
	Head
	Run *Run
}

// RunStatusChanged says that the run's status moved.
type RunStatusChanged struct {
	Head
	Status Status `json:"status"`
}

// StageChanged says that a stage of the run began or ended.
type StageChanged struct {
	Head
	StageProgress StageProgress `json:"stageProgress"`
}

// ProfileAdvanced says that a profile changed stage or outcome, gained fields,
// or has spent seven of its ten seconds.
type ProfileAdvanced struct {
	Head
	ProfileID     string          `json:"profileId"`
	Stage         *pipeline.Stage `json:"stage,omitempty"`
	Outcome       Outcome         `json:"outcome"`
	FieldsChanged []string        `json:"fieldsChanged"`
	WaitingOn     []string        `json:"waitingOn"`
}

// SourceChanged says that a source was asked about a profile, answered, or was lost.
type SourceChanged struct {
	Head
	ProfileID string               `json:"profileId"`
	Source    string               `json:"source"`
	State     pipeline.SourceState `json:"state"`
	// Loss is why a lost source brought nothing: timeout, limited, refused, broken.
	Loss *string `json:"loss,omitempty"`
	// Records counts what the source has said about the profile so far.
	Records int `json:"records"`
}

// CreditsMoved says that the run's credits were reserved, captured or released.
type CreditsMoved struct {
	Head
	Credits billing.RunCredits `json:"credits"`
}

// eventRow is an event as it is stored; Kind is the name of the GraphQL type.
type eventRow struct {
	bun.BaseModel `bun:"table:run_events,alias:e"`

	RunID      string          `bun:"run_id,pk"`
	Sequence   int             `bun:"sequence,pk"`
	Kind       string          `bun:"kind"`
	OccurredAt time.Time       `bun:"occurred_at"`
	Data       json.RawMessage `bun:"data,type:json"`
}

func (r *eventRow) event() (Event, error) {
	var e Event
	switch r.Kind {
	case "RunStatusChanged":
		e = &RunStatusChanged{}
	case "StageChanged":
		e = &StageChanged{}
	case "ProfileAdvanced":
		e = &ProfileAdvanced{}
	case "SourceChanged":
		e = &SourceChanged{}
	case "CreditsMoved":
		e = &CreditsMoved{}
	default:
		return nil, fmt.Errorf("event %s/%d has unknown kind %q", r.RunID, r.Sequence, r.Kind)
	}
	if err := json.Unmarshal(r.Data, e); err != nil {
		return nil, fmt.Errorf("event %s/%d: %w", r.RunID, r.Sequence, err)
	}
	return e, nil
}

func kindOf(e Event) string {
	switch e.(type) {
	case *RunStatusChanged:
		return "RunStatusChanged"
	case *StageChanged:
		return "StageChanged"
	case *ProfileAdvanced:
		return "ProfileAdvanced"
	case *SourceChanged:
		return "SourceChanged"
	case *CreditsMoved:
		return "CreditsMoved"
	}
	panic(fmt.Sprintf("%T is not stored", e))
}

// log numbers events of one run while its row is locked.
type log struct {
	run  *Run
	rows []eventRow
}

// add gives e the run's next sequence and the counts as they stand, and keeps it for writing.
func (l *log) add(at time.Time, e Event) {
	l.run.LastSequence++
	*e.head() = Head{Sequence: l.run.LastSequence, OccurredAt: at, Progress: l.run.Progress}
	data, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", e, err)) // plain structs of ours
	}
	l.rows = append(l.rows, eventRow{RunID: l.run.ID, Sequence: l.run.LastSequence, Kind: kindOf(e), OccurredAt: at, Data: data})
}
