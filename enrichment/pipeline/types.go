// Package pipeline turns what the sources answered into a Candidate. It is
// pure: time, randomness and the network come in as arguments, so that the
// recorded Answers of a profile and the same configuration give the same bytes
// again. Only a Source reaches the world.
package pipeline

import (
	"context"
	"time"
)

// Stage is a step of the pipeline, spelled as the GraphQL enum EnrichmentStage.
type Stage string

// The eight stages.
const (
	Normalize Stage = "NORMALIZE"
	Lookup    Stage = "LOOKUP"
	Discover  Stage = "DISCOVER"
	Crawl     Stage = "CRAWL"
	Resolve   Stage = "RESOLVE"
	Verify    Stage = "VERIFY"
	Fuse      Stage = "FUSE"
	Evaluate  Stage = "EVALUATE"
)

// Stages are all stages in the order in which a profile takes them.
var Stages = []Stage{Normalize, Lookup, Discover, Crawl, Resolve, Verify, Fuse, Evaluate}

// Input is a profile as the caller imported it: what the pipeline starts from.
// Empty strings and lists are unknown.
type Input struct {
	ProfileID      string
	Name           string
	Headline       string
	Location       string
	CurrentCompany string
	CurrentRole    string
	Skills         []string
	Emails         []string
	Links          []string
	Brief          *RoleBrief
}

// RoleBrief is the role a profile is weighed against.
type RoleBrief struct {
	Title            string   `json:"title"`
	Description      *string  `json:"description,omitempty"`
	MustHaveSkills   []string `json:"mustHaveSkills"`
	NiceToHaveSkills []string `json:"niceToHaveSkills"`
	Location         *string  `json:"location,omitempty"`
}

// Identifier is one account or page in canonical form. Kind is website,
// github, orcid, openalex, linkedin, stackexchange, mastodon, bluesky, dblp,
// wikidata, twitter, email or link; Value is canonical for the kind: a login in
// lower case, an ORCID iD with dashes, an acct without the leading @, a URL for website and link.
type Identifier struct {
	Kind  string
	Value string
	URL   string // where a person would open it; "" for email
}

// Seed is an Input made comparable by the normalize stage.
type Seed struct {
	Input
	// Identifiers are the Input's links and addresses in canonical form, in the caller's order, without repeats.
	Identifiers []Identifier
}

// Loss says why an Ask brought nothing back; "" is no loss.
type Loss string

// The losses. Robots is a refusal by the site's own rules and counts as
// answered, not as lost: asking again would not help.
const (
	LossTimeout Loss = "timeout"
	LossLimited Loss = "limited"
	LossRefused Loss = "refused" // refused by the egress guard, or a 401/403
	LossRobots  Loss = "robots"
	LossBroken  Loss = "broken" // connection error, 5xx, unreadable body, oversized body
)

// Ask is one question to one source. Two Asks with equal Source and URL are the same Ask.
type Ask struct {
	Source string
	Stage  Stage  // Lookup, Discover or Crawl
	Kind   string // the connector's own word for it: "user", "search", "page"
	URL    string // where it will be asked
	// Origin is how the address became known: "seed", or the id of the record that named it ("github:octocat").
	Origin string
}

// Answer is what an Ask brought back. A 404 is an answer (Status 404, no Loss).
type Answer struct {
	Ask         Ask
	URL         string // after redirects
	Status      int
	ContentType string
	Header      map[string]string // lower-case names; only those a connector reads (link, last-modified, x-robots-tag, …)
	Body        []byte            // at most 512 KiB
	Hash        string            // SHA-256 of Body, hex
	FetchedAt   time.Time
	Loss        Loss
	Detail      string // for people: what was lost and how; never a secret
}

// Policy is what a source's terms and quality allow.
type Policy struct {
	Licence         string // "" when unstated
	ContactEligible bool   // whether an address from here may be returned for outreach
	Reliability     float64
	// Origin groups sources that descend from one another, so that their claims count once ("works" for OpenAlex, Crossref, DBLP); "" is the source itself.
	Origin string
}

// Source is one place that facts come from. Ask and Read are pure; Fetch is the
// only method that touches the network, obeys ctx, and never returns an error:
// a loss is an Answer with Loss set.
type Source interface {
	// Name is the source's configuration name: site, github, openalex, …
	Name() string
	Policy() Policy
	// Ask lists what to ask in a stage, given all that is known; the runner drops what was already asked.
	Ask(k Known, s Stage) []Ask
	Fetch(ctx context.Context, a Ask) Answer
	// Read turns all answers of this source so far into records. It must not depend on their order.
	Read(k Known, answers []Answer) []Record
}

// Known is all that is known about one profile at a moment of its run.
type Known struct {
	Seed    Seed
	Now     time.Time // the run profile's start; durations and freshness are computed against it
	RunID   string
	Records []Record        // everything read so far, of all sources
	Matches []IdentityMatch // the decision about each of Records, same order
}

// RecordKind tells people from what only looks like one.
type RecordKind string

// The kinds of a record; organisations and bots are vetoed as identities.
const (
	Person       RecordKind = "person"
	Organisation RecordKind = "organisation"
	Bot          RecordKind = "bot"
	Unclear      RecordKind = "" // a page about several people, or about none: gives links, not facts
)

// Record is one source's view of one person: what identity is decided on and what facts are taken from.
type Record struct {
	Source string
	ID     string // the source's own id: a login, an author id, a page address
	URL    string
	// Group is the origin for independence: claims of one Group count once. Pages of one registrable domain share "site:<domain>".
	Group string
	Kind  RecordKind
	Names []string // as written, main name first

	Identifiers  []Identifier // accounts, pages and addresses that the record itself names as its own
	Employers    []Employer
	Locations    []string
	CoAuthors    []string
	Repositories []string
	Works        []string
	BornYear     int // 0 is unknown
	DiedYear     int // 0 is alive or unknown
	// Vetoes are impossibilities that the reader itself saw, such as "employment ends before it begins".
	Vetoes []string
	// NoContact: the page says that recruiters are unwelcome, so nothing of it is contact-eligible.
	NoContact bool

	// Pages are addresses on the record's own site that are worth reading next, best first; they are asked, never believed.
	Pages []string

	Claims []Claim
}

// Employer is an organisation the record ties the person to.
type Employer struct {
	Name   string
	Domain string // "" is unknown
	ROR    string // "" is unknown
}

// The fields that claims may name; each is a Candidate field of the same name in GraphQL.
const (
	FieldName           = "name"
	FieldHeadline       = "headline"
	FieldLocation       = "location"
	FieldCurrentCompany = "currentCompany"
	FieldCurrentRole    = "currentRole"
	FieldSkills         = "skills"     // one claim per skill
	FieldEmails         = "emails"     // one claim per address
	FieldLinks          = "links"      // one claim per link; Link is set
	FieldExperience     = "experience" // one claim per position; Position is set
)

// Claim is one value that a record holds for one field.
type Claim struct {
	Field string
	Text  string // the value; for a link its URL, for a position "role at company"
	Link  *Identifier
	Pos   *Position
	// HeldAt is when the source says that the value holds; zero means at fetch time.
	HeldAt   time.Time
	Evidence Evidence // Confidence and RunID are filled by fuse
}

// Position is one employment as a source gives it. Years and months of 0 are unknown.
type Position struct {
	Role       string
	Company    string
	StartYear  int
	StartMonth int
	EndYear    int
	EndMonth   int
	Current    bool
	Highlights []string // quoted from evidence, at most 200 characters each
}

// EmailCheck is what the verifier found about one address.
type EmailCheck struct {
	Address string // normalised: domain in lower case, IDN in its Unicode form
	Status  EmailStatus
	Method  EmailMethod
	Reasons []string
}

// Verifier checks addresses. published says that the person shows the address
// on a page accepted as theirs. Implemented by enrichment/email.
type Verifier interface {
	Check(ctx context.Context, address string, published bool) EmailCheck
}

// Progress is how the runner tells what it is doing; enrichment turns it into events.
type Progress interface {
	// Stage says that the profile entered a stage; skipped that it passed it without work.
	Stage(s Stage, skipped bool)
	// Source says that a source was asked ("ASKED"), answered ("ANSWERED") or was lost ("LOST", with its loss).
	Source(name string, state SourceState, loss Loss, records int)
	// Fields says which Candidate fields hold accepted values so far.
	Fields(names []string)
}

// SourceState is where one source stands for one profile.
type SourceState string

// The states of a source.
const (
	SourceAsked    SourceState = "ASKED"
	SourceAnswered SourceState = "ANSWERED"
	SourceLost     SourceState = "LOST"
)

// Outcome is how the pipeline ended for a profile; a subset of enrichment.Outcome with the same spellings.
type Outcome string

// What Run can end with. Suppression, cancellation and unknown ids are decided by enrichment.
const (
	Enriched Outcome = "ENRICHED"
	Partial  Outcome = "PARTIAL"
	NoMatch  Outcome = "NO_MATCH"
	TimedOut Outcome = "TIMED_OUT"
	Failed   Outcome = "FAILED"
)

// Result is what Run brings back. Candidate is nil unless Outcome is Enriched or Partial.
type Result struct {
	Outcome   Outcome
	Candidate *Candidate
	Missing   []string // sources that were planned and lost, by name
	// FailureCode and FailureMessage are set when Outcome is Failed or TimedOut; Retryable says whether trying again can help.
	FailureCode    string
	FailureMessage string
	Retryable      bool
	// Identifiers are all identifiers met on accepted records, for the suppression check before return.
	Identifiers []Identifier
}
