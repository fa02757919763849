package pipeline

import (
	"encoding/json"
	"slices"
	"time"
)

// ScoreBasis says what Candidate.MatchScore measures.
type ScoreBasis string

// The two bases: fit to the role brief, or confidence of identity where there is none.
const (
	ScoreRole     ScoreBasis = "ROLE"
	ScoreIdentity ScoreBasis = "IDENTITY"
)

// Candidate is what one run established about one person: the result object.
// The plain fields hold accepted values; AllFacts holds the same values one by
// one, each with its evidence. Nil means unknown.
type Candidate struct {
	ProfileID         string          `json:"profileId"`
	Name              string          `json:"name"`
	Headline          *string         `json:"headline,omitempty"`
	Location          *string         `json:"location,omitempty"`
	CurrentCompany    *string         `json:"currentCompany,omitempty"`
	CurrentRole       *string         `json:"currentRole,omitempty"`
	LinkedinURL       *string         `json:"linkedinUrl,omitempty"`
	Skills            []string        `json:"skills"`
	MatchScore        int             `json:"matchScore"` // 0 to 100
	ScoreBasis        ScoreBasis      `json:"scoreBasis"`
	Rationale         string          `json:"rationale"`
	FitPoints         []string        `json:"fitPoints"`
	RedFlags          []string        `json:"redFlags"`
	DetailedRationale []RationaleItem `json:"detailedRationale"`
	Experience        []Experience    `json:"experience"`
	Emails            []Email         `json:"emails"` // best first
	Links             []Link          `json:"links"`
	ProseByModel      bool            `json:"proseByModel"`
	AllFacts          []Fact          `json:"facts"`
	Identity          []IdentityMatch `json:"identity"`
}

// Facts returns the accepted values of the named Candidate fields, or all when names is empty.
func (c *Candidate) Facts(names []string) []Fact {
	if len(names) == 0 {
		return c.AllFacts
	}
	facts := []Fact{}
	for _, f := range c.AllFacts {
		if slices.Contains(names, f.Name) {
			facts = append(facts, f)
		}
	}
	return facts
}

// Fact is one accepted value of one Candidate field (Name is the field's
// GraphQL name), and why it is believed. Evidence is strongest first and never empty.
type Fact struct {
	Name       string          `json:"name"`
	Value      json.RawMessage `json:"value"`
	Confidence float64         `json:"confidence"` // 0 to 1
	Evidence   []Evidence      `json:"evidence"`
	Conflicts  []FactConflict  `json:"conflicts"`
}

// FactConflict is what other sources say instead.
type FactConflict struct {
	Value      json.RawMessage `json:"value"`
	Confidence float64         `json:"confidence"`
	Evidence   []Evidence      `json:"evidence"`
}

// Evidence is why one value is believed. Raw pages are never stored: the hash
// and a snippet stand for them.
type Evidence struct {
	Source          string    `json:"source"`
	URL             *string   `json:"url,omitempty"`
	Excerpt         *string   `json:"excerpt,omitempty"`     // at most 300 characters
	ContentHash     *string   `json:"contentHash,omitempty"` // SHA-256 of the body, hex
	Extractor       string    `json:"extractor"`             // what read it, with its version: "jsonld/1"
	Licence         *string   `json:"licence,omitempty"`
	ContactEligible bool      `json:"contactEligible"`
	Confidence      float64   `json:"confidence"` // 0 to 1
	ObservedAt      time.Time `json:"observedAt"`
	RunID           string    `json:"runId"`
}

// RationaleItem is one position and why it counts.
type RationaleItem struct {
	Title     string     `json:"title"`
	Company   *string    `json:"company,omitempty"`
	Duration  *string    `json:"duration,omitempty"` // "2 years"
	Relevance string     `json:"relevance"`
	Evidence  []Evidence `json:"evidence"`
}

// Experience is one accepted position.
type Experience struct {
	Role       string     `json:"role"`
	Company    *string    `json:"company,omitempty"`
	Duration   *string    `json:"duration,omitempty"` // "2023 - Present"
	Highlights []string   `json:"highlights"`
	Evidence   []Evidence `json:"evidence"`
}

// EmailStatus names the case an address is in; what could not be told is UNKNOWN, never a no.
type EmailStatus string

// The statuses of the GraphQL enum EmailStatus.
const (
	EmailValid          EmailStatus = "VALID"
	EmailCatchAllLikely EmailStatus = "CATCH_ALL_LIKELY"
	EmailCatchAll       EmailStatus = "CATCH_ALL"
	EmailRisky          EmailStatus = "RISKY"
	EmailInvalid        EmailStatus = "INVALID"
	EmailUnknown        EmailStatus = "UNKNOWN"
	EmailDisposable     EmailStatus = "DISPOSABLE"
	EmailRole           EmailStatus = "ROLE"
)

// EmailMethod says what an address's status rests on.
type EmailMethod string

// The methods of the GraphQL enum EmailMethod.
const (
	EmailSelfPublished EmailMethod = "SELF_PUBLISHED"
	EmailDNSOnly       EmailMethod = "DNS_ONLY"
	EmailSMTP          EmailMethod = "SMTP"
	EmailVendor        EmailMethod = "VENDOR"
)

// Email is one address with what is known of it.
type Email struct {
	Address    string      `json:"address"`
	Status     EmailStatus `json:"status"`
	Method     EmailMethod `json:"method"`
	Confidence float64     `json:"confidence"` // that it reaches this person, 0 to 1
	Reasons    []string    `json:"reasons"`    // enrichment.md section 6: null_mx, published, …
	Evidence   []Evidence  `json:"evidence"`
}

// Link is one address on the web that belongs to the person.
type Link struct {
	Kind     string     `json:"kind"` // website, github, orcid, linkedin, …
	URL      string     `json:"url"`
	Verified bool       `json:"verified"` // the page links back
	Evidence []Evidence `json:"evidence"`
}

// Band is the decision about one source record.
type Band string

// ACCEPT: taken to be the person. REVIEW: close, but no fact is taken. REJECT: somebody else; never shown.
const (
	BandAccept Band = "ACCEPT"
	BandReview Band = "REVIEW"
	BandReject Band = "REJECT"
)

// IdentityMatch explains why a source's record is, or may be, this person; it
// can be recomputed from itself: probability = 1/(1+2^-(prior+Σ log2)) unless vetoed.
type IdentityMatch struct {
	Source      string           `json:"source"`
	Record      string           `json:"record"` // the source's own id
	Probability float64          `json:"probability"`
	Band        Band             `json:"band"`
	Prior       float64          `json:"prior"` // log2 odds before any attribute
	Weights     []IdentityWeight `json:"weights"`
	Vetoes      []string         `json:"vetoes"`
	Model       string           `json:"model"` // version of the weights
}

// IdentityWeight is what one attribute said.
type IdentityWeight struct {
	Attribute string  `json:"attribute"`
	Level     string  `json:"level"`
	Seed      *string `json:"seed,omitempty"`
	Found     *string `json:"found,omitempty"`
	Log2      float64 `json:"log2"`
}
