package rest

import (
	"encoding/json"

	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// rawBody is a body that is already rendered.
type rawBody = json.RawMessage

// processingBody is the results body while the run is going: these fields and nothing else.
type processingBody struct {
	Success   bool   `json:"success"`
	RequestID string `json:"requestId"`
	Status    string `json:"status"`
	Message   string `json:"message"`
	CreatedAt string `json:"createdAt"`
}

// resultsBody is the results body of a run that ended, in the contract's field order.
type resultsBody struct {
	Success         bool         `json:"success"`
	RequestID       string       `json:"requestId"`
	Status          string       `json:"status"`
	CreatedAt       string       `json:"createdAt"`
	CompletedAt     string       `json:"completedAt"`
	EnrichedCount   int          `json:"enrichedCount"`
	FailureCount    int          `json:"failureCount"`
	CreditsConsumed int64        `json:"creditsConsumed"`
	Data            []resultItem `json:"data"`
	ErrorCode       string       `json:"errorCode,omitempty"`
	ErrorMessage    string       `json:"errorMessage,omitempty"`
	// Error is there only when a failed run is to be told as a failed call.
	Error *errorDetail `json:"error,omitempty"`
}

type resultItem struct {
	ProfileID    string     `json:"profileId"`
	Success      bool       `json:"success"`
	Candidate    *candidate `json:"candidate,omitempty"`
	ErrorCode    string     `json:"errorCode,omitempty"`
	ErrorMessage string     `json:"errorMessage,omitempty"`
}

// candidate has the contract's fifteen fields, in its order.
type candidate struct {
	ProfileID      string       `json:"profileId"`
	Name           string       `json:"name"`
	LinkedinURL    string       `json:"linkedinUrl"`
	MatchScore     int          `json:"matchScore"`
	Rationale      string       `json:"rationale"`
	Skills         []string     `json:"skills"`
	Headline       *string      `json:"headline,omitempty"`
	Location       *string      `json:"location,omitempty"`
	CurrentCompany *string      `json:"currentCompany,omitempty"`
	CurrentRole    *string      `json:"currentRole,omitempty"`
	FitPoints      []string     `json:"aiFitPoints"`
	RedFlags       []string     `json:"aiRedFlags"`
	Detailed       []relevance  `json:"aiDetailedRationale"`
	Experience     []experience `json:"detailedExperience"`
	Emails         []string     `json:"emails"`
}

type relevance struct {
	Title                string `json:"title"`
	Company              string `json:"company"`
	Duration             string `json:"duration"`
	RelevanceExplanation string `json:"relevanceExplanation"`
}

type experience struct {
	Role       string   `json:"role"`
	Company    string   `json:"company"`
	Duration   string   `json:"duration"`
	Highlights []string `json:"highlights"`
}

// itemErrors is the contract's code and our text for each outcome without a candidate (contract row 13).
var itemErrors = map[enrichment.Outcome][2]string{
	enrichment.OutcomeNotFound:   {"PROFILE_NOT_FOUND", "No such profile."},
	enrichment.OutcomeNoMatch:    {"NO_MATCH", "No public information could be matched to this profile."},
	enrichment.OutcomeSuppressed: {"PROFILE_SUPPRESSED", "This person asked not to be processed."},
	enrichment.OutcomeTimedOut:   {"ENRICHMENT_TIMEOUT", "The profile was not settled within its time."},
	enrichment.OutcomeFailed:     {"ENRICHMENT_FAILED", "The profile could not be enriched."},
	enrichment.OutcomeCancelled:  {"ENRICHMENT_CANCELLED", "The run was cancelled before this profile began."},
}

// statusOf folds our statuses into the contract's three.
func statusOf(s enrichment.Status) string {
	switch {
	case s == enrichment.StatusFailed:
		return "failed"
	case s.Final():
		return "completed"
	}
	return "processing"
}

// RenderResults gives the results body of a run: what polling answers, and, once
// the run has ended, byte for byte the data of its webhook events. members are
// needed only for a run that has ended.
func (o Open) RenderResults(run *enrichment.Run, members []*enrichment.RunProfile) ([]byte, error) {
	created := run.CreatedAt.UTC().Format(millis)
	status := statusOf(run.Status)
	if status == "processing" {
		return marshal(processingBody{
			Success: true, RequestID: run.ID, Status: status, CreatedAt: created,
			Message: "Enrichment is in progress. Please poll again in a few seconds.",
		})
	}
	body := resultsBody{
		Success: true, RequestID: run.ID, Status: status, CreatedAt: created,
		CompletedAt: run.FinishedAt.UTC().Format(millis), CreditsConsumed: run.Captured, Data: []resultItem{},
	}
	if status == "failed" {
		o.fail(&body, run)
		return marshal(body)
	}
	for _, m := range members {
		item := itemOf(m)
		if item.Success {
			body.EnrichedCount++
		} else {
			body.FailureCount++
		}
		body.Data = append(body.Data, item)
	}
	return marshal(body)
}

// fail fills in what a run says that broke before any profile could be processed (contract rows 14 and 15).
func (o Open) fail(body *resultsBody, run *enrichment.Run) {
	body.FailureCount = run.Progress.Total
	body.ErrorCode, body.ErrorMessage = "ENRICHMENT_FAILED", "The run could not be processed."
	if run.Failure != nil {
		body.ErrorCode, body.ErrorMessage = run.Failure.Code, run.Failure.Message
	}
	if o.FailedRunFails {
		body.Success = false
		body.Error = &errorDetail{Code: body.ErrorCode, Message: body.ErrorMessage}
	}
}

func itemOf(m *enrichment.RunProfile) resultItem {
	outcome := m.Outcome
	if outcome.Success() && m.Candidate == nil {
		outcome = enrichment.OutcomeSuppressed // objected since the run
	}
	if outcome.Success() {
		c := candidateOf(m.Candidate)
		c.ProfileID = m.Given()
		return resultItem{ProfileID: m.Given(), Success: true, Candidate: c}
	}
	e := itemErrors[outcome]
	return resultItem{ProfileID: m.Given(), ErrorCode: e[0], ErrorMessage: e[1]}
}

func candidateOf(c *pipeline.Candidate) *candidate {
	out := &candidate{
		ProfileID: c.ProfileID, Name: c.Name, LinkedinURL: orEmpty(c.LinkedinURL), MatchScore: c.MatchScore,
		Rationale: c.Rationale, Skills: list(c.Skills), Headline: c.Headline, Location: c.Location,
		CurrentCompany: c.CurrentCompany, CurrentRole: c.CurrentRole, FitPoints: list(c.FitPoints), RedFlags: list(c.RedFlags),
		Detailed: []relevance{}, Experience: []experience{}, Emails: []string{},
	}
	for _, d := range c.DetailedRationale {
		out.Detailed = append(out.Detailed, relevance{d.Title, orEmpty(d.Company), orEmpty(d.Duration), d.Relevance})
	}
	for _, x := range c.Experience {
		out.Experience = append(out.Experience, experience{x.Role, orEmpty(x.Company), orEmpty(x.Duration), list(x.Highlights)})
	}
	// A bare list of strings can carry no doubt, so it carries only addresses without one.
	for _, e := range c.Emails {
		if e.Status == pipeline.EmailValid {
			out.Emails = append(out.Emails, e.Address)
		}
	}
	return out
}

func list(s []string) []string { return append([]string{}, s...) }

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
