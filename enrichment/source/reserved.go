package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// The reserved profile ids. Test keys get each outcome by asking for its id;
// ReservedSuppressed is decided before any source is asked.
const (
	ReservedSuccess    = "profile_test_success"
	ReservedNoEmail    = "profile_test_no_email"
	ReservedPartial    = "profile_test_partial"
	ReservedNoMatch    = "profile_test_no_match"
	ReservedTimeout    = "profile_test_timeout"
	ReservedFailure    = "profile_test_failure"
	ReservedSuppressed = "profile_test_suppressed"
	ReservedSlow       = "profile_test_slow"
)

// reservedPause is how long the slow profile keeps one waiting: most of a slice.
const reservedPause = 2500 * time.Millisecond

// reservedAt is when the sandbox's pages were, as it says, fetched: always the same, so that its results are.
var reservedAt = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// SandboxInput puts the sandbox's own person behind a reserved id, which no
// company has imported; any other profile stays as it is. It is the sandbox runner's Prepare.
func SandboxInput(in pipeline.Input) pipeline.Input {
	switch in.ProfileID {
	case ReservedSuccess, ReservedNoEmail, ReservedPartial, ReservedNoMatch, ReservedTimeout, ReservedFailure, ReservedSuppressed, ReservedSlow:
		in = pipeline.Input{
			ProfileID: in.ProfileID, Name: "Ada Testperson", Location: "Lisbon, Portugal", CurrentCompany: "Sandbox Analytics",
			Skills: []string{}, Emails: []string{}, Links: []string{reservedPage}, Brief: in.Brief,
		}
	}
	return in
}

// Addresses of the sandbox's own person. The names cannot exist (RFC 2606), and nothing is ever asked of them.
const (
	reservedPage  = "https://ada.sandbox.example/"
	reservedEmail = "ada@ada.sandbox.example"
)

// Sandbox are the sources that test keys reach, and nothing else: they ask no
// network and answer the same bytes every time. SandboxVerifier goes with them.
func Sandbox() []pipeline.Source {
	return []pipeline.Source{reserved{name: "sandbox"}, reserved{name: "sandbox_second"}}
}

// reserved is one sandbox source. The second one exists so that it can be lost.
type reserved struct{ name string }

func (r reserved) Name() string { return r.name }

func (r reserved) Policy() pipeline.Policy {
	return pipeline.Policy{Licence: "CC0-1.0", ContactEligible: true, Reliability: 0.90}
}

// Ask asks about every profile once; what is not reserved is not known here.
func (r reserved) Ask(k pipeline.Known, s pipeline.Stage) []pipeline.Ask {
	if s != pipeline.Lookup {
		return nil
	}
	return []pipeline.Ask{{Kind: "profile", URL: r.name + "://" + k.Seed.ProfileID, Origin: "seed"}}
}

// Fetch plays the outcome that the reserved id names.
func (r reserved) Fetch(ctx context.Context, a pipeline.Ask) pipeline.Answer {
	id := strings.TrimPrefix(a.URL, r.name+"://")
	first := r.name == "sandbox"
	switch id {
	case ReservedTimeout:
		<-ctx.Done()
		return r.loss(a, pipeline.LossTimeout, "the sandbox never answers this one")
	case ReservedFailure:
		return r.loss(a, pipeline.LossBroken, "the sandbox fails this one")
	case ReservedPartial:
		if !first {
			return r.loss(a, pipeline.LossBroken, "the sandbox loses its second source for this one")
		}
	case ReservedSlow:
		if !rest(ctx, reservedPause) {
			return r.loss(a, pipeline.LossTimeout, "cut short")
		}
	case ReservedSuccess, ReservedNoEmail:
	default:
		return pipeline.Answer{Ask: a, URL: a.URL, Status: 404, FetchedAt: reservedAt}
	}
	page := reservedPerson{
		Name: "Ada Testperson", Page: reservedPage, Location: "Lisbon, Portugal", Company: "Sandbox Analytics", Role: "Staff Data Engineer",
		Headline: "Builds data platforms that never existed", Skills: []string{"Go", "PostgreSQL", "Kafka"},
		Account: "https://github.com/ada-testperson",
		Earlier: pipeline.Position{Role: "Data Engineer", Company: "Example Pipelines", StartYear: 2016, EndYear: 2020},
	}
	if id != ReservedNoEmail {
		page.Email = reservedEmail
	}
	body, err := json.Marshal(page)
	if err != nil {
		return r.loss(a, pipeline.LossBroken, "the sandbox's page cannot be written")
	}
	sum := sha256.Sum256(body)
	return pipeline.Answer{Ask: a, URL: a.URL, Status: 200, ContentType: "application/json", Body: body, Hash: hex.EncodeToString(sum[:]), FetchedAt: reservedAt}
}

func (r reserved) loss(a pipeline.Ask, loss pipeline.Loss, detail string) pipeline.Answer {
	return pipeline.Answer{Ask: a, URL: a.URL, Loss: loss, Detail: detail, FetchedAt: reservedAt}
}

// reservedPerson is what the sandbox's page says.
type reservedPerson struct {
	Name     string            `json:"name"`
	Page     string            `json:"page"`
	Location string            `json:"location"`
	Company  string            `json:"company"`
	Role     string            `json:"role"`
	Headline string            `json:"headline"`
	Skills   []string          `json:"skills"`
	Email    string            `json:"email,omitempty"`
	Account  string            `json:"account"`
	Earlier  pipeline.Position `json:"earlier"`
}

// Read makes the record of the sandbox's person.
func (r reserved) Read(k pipeline.Known, answers []pipeline.Answer) []pipeline.Record {
	var records []pipeline.Record
	for _, ans := range answers {
		var p reservedPerson
		if ans.Status != statusOK || json.Unmarshal(ans.Body, &p) != nil {
			continue
		}
		website := pipeline.Identifier{Kind: "website", Value: p.Page, URL: p.Page}
		account := pipeline.Identifier{Kind: "github", Value: strings.TrimPrefix(p.Account, "https://github.com/"), URL: p.Account}
		rec := pipeline.Record{
			Source: r.name, ID: p.Page, URL: p.Page, Kind: pipeline.Person, Names: []string{p.Name}, Locations: []string{p.Location},
			Identifiers: []pipeline.Identifier{website, account}, Employers: []pipeline.Employer{{Name: p.Company}},
		}
		// What holds holds at the time of the run, so that age never changes the sandbox's answer.
		claim := func(field, text string) *pipeline.Claim {
			ev := note(ans, "sandbox/1", field+": "+text)
			ev.ContactEligible = true
			rec.Claims = append(rec.Claims, pipeline.Claim{Field: field, Text: text, HeldAt: k.Now, Evidence: ev})
			return &rec.Claims[len(rec.Claims)-1]
		}
		claim(pipeline.FieldName, p.Name)
		claim(pipeline.FieldHeadline, p.Headline)
		claim(pipeline.FieldLocation, p.Location)
		claim(pipeline.FieldCurrentCompany, p.Company)
		claim(pipeline.FieldCurrentRole, p.Role)
		for _, s := range p.Skills {
			claim(pipeline.FieldSkills, s)
		}
		claim(pipeline.FieldExperience, p.Earlier.Role+" at "+p.Earlier.Company).Pos = &p.Earlier
		claim(pipeline.FieldLinks, website.URL).Link = &website
		claim(pipeline.FieldLinks, account.URL).Link = &account
		if p.Email != "" {
			claim(pipeline.FieldEmails, p.Email)
		}
		records = append(records, rec)
	}
	return records
}

// SandboxVerifier says of the sandbox's addresses what they are for.
type SandboxVerifier struct{}

// Check answers VALID for what the sandbox publishes, without asking anybody.
func (SandboxVerifier) Check(_ context.Context, address string, published bool) pipeline.EmailCheck {
	check := pipeline.EmailCheck{Address: address, Status: pipeline.EmailUnknown, Method: pipeline.EmailDNSOnly, Reasons: []string{}}
	if published && strings.HasSuffix(address, ".sandbox.example") {
		check.Status, check.Method, check.Reasons = pipeline.EmailValid, pipeline.EmailSelfPublished, []string{"published"}
	}
	return check
}
