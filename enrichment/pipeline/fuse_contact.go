package pipeline

import (
	"cmp"
	"slices"
	"strings"
)

// emailOrder is best first: what may be written to, then what cannot be told, then what should not be.
var emailOrder = []EmailStatus{EmailValid, EmailCatchAllLikely, EmailCatchAll, EmailRisky, EmailUnknown, EmailRole, EmailDisposable, EmailInvalid}

// reaches is how far a status lets one hope that an address reaches the person.
var reaches = map[EmailStatus]float64{
	EmailValid: 1, EmailCatchAllLikely: 0.8, EmailCatchAll: 0.6, EmailRisky: 0.5, EmailUnknown: 0.5, EmailRole: 0.2, EmailDisposable: 0.1, EmailInvalid: 0,
}

// emails takes the addresses that the person publishes, each with what its check said.
func (f *fuser) emails(c *Candidate) {
	for _, v := range f.accepted(f.values(FieldEmails, addressKey)) {
		check, ok := f.checks[v.key]
		if !ok {
			check = untold(v.text, "unchecked")
		}
		email := Email{
			Address: check.Address, Status: check.Status, Method: check.Method, Reasons: check.Reasons,
			Confidence: rounded(v.confidence * reaches[check.Status]), Evidence: v.evidence(),
		}
		if email.Address == "" {
			email.Address = v.text
		}
		if email.Reasons == nil {
			email.Reasons = []string{}
		}
		c.Emails = append(c.Emails, email)
		c.AllFacts = append(c.AllFacts, v.fact(FieldEmails, email.Address, v.confidence))
	}
	slices.SortStableFunc(c.Emails, func(a, b Email) int {
		return cmp.Or(cmp.Compare(slices.Index(emailOrder, a.Status), slices.Index(emailOrder, b.Status)),
			cmp.Compare(b.Confidence, a.Confidence), strings.Compare(a.Address, b.Address))
	})
}

// fieldLinkedin is the plain field that a LinkedIn link of the person's own page fills.
const fieldLinkedin = "linkedinUrl"

// links takes the accounts and pages that accepted records name. The LinkedIn
// address is the caller's; without one, that of the person's own page.
func (f *fuser) links(c *Candidate) {
	for _, id := range f.known.Seed.Identifiers {
		if id.Kind == "linkedin" && c.LinkedinURL == nil {
			c.LinkedinURL = &id.URL
		}
	}
	found := f.accepted(f.linkValues())
	for _, v := range found {
		if id := v.link(); id.Kind == "linkedin" && c.LinkedinURL == nil {
			c.LinkedinURL = &id.URL
			c.AllFacts = append(c.AllFacts, v.fact(fieldLinkedin, id.URL, v.confidence))
		}
	}
	slices.SortStableFunc(found, func(a, b value) int {
		return cmp.Or(strings.Compare(a.link().Kind, b.link().Kind), survival(a, b))
	})
	for _, v := range found {
		id := v.link()
		c.Links = append(c.Links, Link{Kind: id.Kind, URL: id.URL, Verified: f.proven(id), Evidence: v.evidence()})
		c.AllFacts = append(c.AllFacts, v.fact(FieldLinks, id.URL, v.confidence))
	}
}

// linkValues groups link claims by what they lead to, not by how they are written.
func (f *fuser) linkValues() []value {
	byKey := map[string]int{}
	var values []value
	for _, h := range f.holdings(FieldLinks) {
		if h.claim.Link == nil || h.claim.Link.URL == "" || h.claim.Link.Kind == "email" {
			continue
		}
		key := h.claim.Link.Kind + "|" + h.claim.Link.Value
		i, ok := byKey[key]
		if !ok {
			i = len(values)
			byKey[key] = i
			values = append(values, value{key: key})
		}
		values[i].holdings = append(values[i].holdings, h)
	}
	for i := range values {
		values[i].settle()
	}
	return values
}

// link is the identifier that the value's claims agree on.
func (v value) link() Identifier { return *v.holdings[0].claim.Link }

// proven says whether two accepted records point at each other and id is one
// end: A names B as its own, and B names A. Pages of one origin prove nothing to each other.
func (f *fuser) proven(id Identifier) bool {
	for i, a := range f.known.Records {
		if f.known.Matches[i].Band != BandAccept || !points(id, a) {
			continue
		}
		for j, b := range f.known.Records {
			if i != j && f.known.Matches[j].Band == BandAccept && originOf(a, f.policies[a.Source]) != originOf(b, f.policies[b.Source]) && claimsPage(a, b) && claimsPage(b, a) {
				return true
			}
		}
	}
	return false
}
