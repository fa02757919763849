package cmd

import (
	"slices"
	"time"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// event is one message of a run's stream, whichever kind it is.
type event struct {
	Typename   string    `json:"__typename"`
	Sequence   int       `json:"sequence"`
	OccurredAt time.Time `json:"occurredAt"`
	Progress   progress  `json:"progress"`

	Run           *snapshot            `json:"run,omitempty"`
	Status        enrichment.Status    `json:"status,omitempty"`
	StageProgress *stageProgress       `json:"stageProgress,omitempty"`
	ProfileID     string               `json:"profileId,omitempty"`
	Stage         pipeline.Stage       `json:"stage,omitempty"`
	Outcome       enrichment.Outcome   `json:"outcome,omitempty"`
	FieldsChanged []string             `json:"fieldsChanged,omitempty"`
	WaitingOn     []string             `json:"waitingOn,omitempty"`
	Source        string               `json:"source,omitempty"`
	State         pipeline.SourceState `json:"state,omitempty"`
	Loss          *string              `json:"loss,omitempty"`
	Records       int                  `json:"records,omitempty"`
	Credits       *credits             `json:"credits,omitempty"`
}

// progress are a run's counts as scripts read them: every outcome is there, also
// the ones that nobody had. Stored events leave those out.
type progress struct {
	Total      int `json:"total"`
	Queued     int `json:"queued"`
	Active     int `json:"active"`
	Enriched   int `json:"enriched"`
	Partial    int `json:"partial"`
	NoMatch    int `json:"noMatch"`
	NotFound   int `json:"notFound"`
	Suppressed int `json:"suppressed"`
	TimedOut   int `json:"timedOut"`
	Failed     int `json:"failed"`
	Cancelled  int `json:"cancelled"`
}

func (p progress) finished() int  { return enrichment.RunProgress(p).Finished() }
func (p progress) succeeded() int { return enrichment.RunProgress(p).Succeeded() }

type snapshot struct {
	Status   enrichment.Status `json:"status"`
	Credits  credits           `json:"credits"`
	Profiles struct {
		Nodes []struct {
			ProfileID string             `json:"profileId"`
			Outcome   enrichment.Outcome `json:"outcome"`
			Stage     pipeline.Stage     `json:"stage"`
		} `json:"nodes"`
	} `json:"profiles"`
}

type stageProgress struct {
	Stage     pipeline.Stage         `json:"stage"`
	Status    enrichment.StageStatus `json:"status"`
	Completed int                    `json:"completed"`
	Failed    int                    `json:"failed"`
}

type credits struct {
	Reserved int64 `json:"reserved"`
	Captured int64 `json:"captured"`
	Released int64 `json:"released"`
	Held     int64 `json:"held"`
}

// runState is a run as far as its events have told.
type runState struct {
	Sequence int
	Status   enrichment.Status
	Progress progress
	Credits  credits
	Order    []string // profile ids as they first appeared
	Profiles map[string]*profileState
}

type profileState struct {
	Stage     pipeline.Stage
	Outcome   enrichment.Outcome
	WaitingOn []string
	Fields    int
	Since     time.Time // when it became active
}

// fold applies one event. Every event carries the counts after it, so the newest alone shows the truth.
func (s *runState) fold(e event) {
	if s.Profiles == nil {
		s.Profiles = map[string]*profileState{}
	}
	s.Sequence, s.Progress = e.Sequence, e.Progress
	if e.Status != "" {
		s.Status = e.Status
	}
	if e.Credits != nil {
		s.Credits = *e.Credits
	}
	switch e.Typename {
	case "RunSnapshot":
		s.Status, s.Credits = e.Run.Status, e.Run.Credits
		for _, p := range e.Run.Profiles.Nodes {
			*s.profile(p.ProfileID) = profileState{Stage: p.Stage, Outcome: p.Outcome, Since: e.OccurredAt}
		}
	case "ProfileAdvanced":
		p := s.profile(e.ProfileID)
		if p.Outcome != e.Outcome && e.Outcome == enrichment.OutcomeActive {
			p.Since = e.OccurredAt
		}
		p.Stage, p.Outcome, p.WaitingOn, p.Fields = e.Stage, e.Outcome, e.WaitingOn, len(e.FieldsChanged)
	case "SourceChanged":
		p := s.profile(e.ProfileID)
		p.WaitingOn = slices.DeleteFunc(slices.Clone(p.WaitingOn), func(n string) bool { return n == e.Source })
		if e.State == pipeline.SourceAsked {
			p.WaitingOn = append(p.WaitingOn, e.Source)
		}
	}
}

func (s *runState) profile(id string) *profileState {
	if s.Profiles[id] == nil {
		s.Profiles[id] = &profileState{Outcome: enrichment.OutcomeQueued}
		s.Order = append(s.Order, id)
	}
	return s.Profiles[id]
}
