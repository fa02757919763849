package enrichment

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// Outcome is how one profile ended in one run; QUEUED and ACTIVE are still open.
type Outcome string

// The outcomes; enrichment.md section 1 says when each is reached. ENRICHED and
// PARTIAL are successes and cost one credit; every other final one is free.
const (
	OutcomeQueued     Outcome = "QUEUED"
	OutcomeActive     Outcome = "ACTIVE"
	OutcomeEnriched   Outcome = "ENRICHED"
	OutcomePartial    Outcome = "PARTIAL"
	OutcomeNoMatch    Outcome = "NO_MATCH"
	OutcomeNotFound   Outcome = "NOT_FOUND"
	OutcomeSuppressed Outcome = "SUPPRESSED"
	OutcomeTimedOut   Outcome = "TIMED_OUT"
	OutcomeFailed     Outcome = "FAILED"
	OutcomeCancelled  Outcome = "CANCELLED"
)

// Open reports whether the profile has not ended yet.
func (o Outcome) Open() bool { return o == OutcomeQueued || o == OutcomeActive }

// Success reports whether the outcome is one that costs a credit.
func (o Outcome) Success() bool { return o == OutcomeEnriched || o == OutcomePartial }

// Profile is what the caller knows about one person. Nil means unknown.
type Profile struct {
	bun.BaseModel `bun:"table:profiles,alias:p"`

	ID             string              `bun:"id,pk"`
	CompanyID      string              `bun:"company_id"`
	ExternalID     string              `bun:"external_id"`
	Name           string              `bun:"name"`
	Headline       *string             `bun:"headline"`
	Location       *string             `bun:"location"`
	CurrentCompany *string             `bun:"current_company"`
	CurrentRole    *string             `bun:"current_title"` // current_role is a word of SQL
	Skills         []string            `bun:"skills,array"`
	Emails         []string            `bun:"emails,array"`
	Links          []string            `bun:"links,array"`
	RoleBrief      *pipeline.RoleBrief `bun:"role_brief,type:json"`
	Metadata       json.RawMessage     `bun:"metadata,type:json,nullzero"`
	Fingerprint    []byte              `bun:"fingerprint"`
	PersonDigests  [][]byte            `bun:"person_digests,array"`
	CreatedAt      time.Time           `bun:"created_at"`
	UpdatedAt      time.Time           `bun:"updated_at"`

	// Suppressed and LastEnrichedAt are read along by the store's queries.
	Suppressed     bool       `bun:"suppressed,scanonly"`
	LastEnrichedAt *time.Time `bun:"last_enriched_at,scanonly"`
}

// IsNode marks Profile as a GraphQL Node.
func (*Profile) IsNode() {}

// Completeness is the share of the nine known fields that hold a value, 0 to 1.
func (p *Profile) Completeness() float64 {
	held := 0
	for _, has := range []bool{
		p.Name != "", p.Headline != nil, p.Location != nil, p.CurrentCompany != nil, p.CurrentRole != nil,
		len(p.Skills) > 0, len(p.Emails) > 0, len(p.Links) > 0, p.RoleBrief != nil,
	} {
		if has {
			held++
		}
	}
	return float64(held) / 9
}

// input hands the profile to the pipeline.
func (p *Profile) input() pipeline.Input {
	return pipeline.Input{
		ProfileID: p.ID, Name: p.Name, Headline: text(p.Headline), Location: text(p.Location),
		CurrentCompany: text(p.CurrentCompany), CurrentRole: text(p.CurrentRole),
		Skills: p.Skills, Emails: p.Emails, Links: p.Links, Brief: p.RoleBrief,
	}
}

// masked is what may be shown of a suppressed person: that there is one, and nothing else.
func (p *Profile) masked() *Profile {
	if p == nil || !p.Suppressed {
		return p
	}
	return &Profile{
		ID: p.ID, CompanyID: p.CompanyID, ExternalID: p.ExternalID, Suppressed: true,
		Skills: []string{}, Emails: []string{}, Links: []string{}, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
}

// RunProfile is one profile in one run.
type RunProfile struct {
	bun.BaseModel `bun:"table:run_profiles,alias:rp"`

	RunID         string              `bun:"run_id,pk"`
	Ordinal       int                 `bun:"ordinal,pk"`
	CompanyID     string              `bun:"company_id"`
	ProfileID     string              `bun:"profile_id"`
	GivenID       *string             `bun:"given_id"` // see Given
	Outcome       Outcome             `bun:"outcome"`
	Stage         *pipeline.Stage     `bun:"stage"`
	Attempt       int                 `bun:"attempt"`
	FromStore     bool                `bun:"from_store"`
	Candidate     *pipeline.Candidate `bun:"candidate,type:json"`
	Failure       *Failure            `bun:"failure,type:json"`
	Credits       int64               `bun:"credits"`
	FieldsChanged []string            `bun:"fields_changed,array"`
	WaitingOn     []string            `bun:"waiting_on,array"`
	Missing       []string            `bun:"missing,array"`
	Fingerprint   []byte              `bun:"fingerprint"`
	PersonDigests [][]byte            `bun:"person_digests,array,type:bytea[]"`
	StartedAt     *time.Time          `bun:"started_at"`
	FinishedAt    *time.Time          `bun:"finished_at"`
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
