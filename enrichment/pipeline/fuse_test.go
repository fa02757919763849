package pipeline

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// held is a record that is accepted with probability 1, whose claims were seen now.
func held(source string, claims ...Claim) Record {
	for i := range claims {
		if claims[i].Evidence.ObservedAt.IsZero() {
			claims[i].Evidence.ObservedAt = began
		}
		if claims[i].Evidence.URL == nil {
			u := "https://" + source + ".example/" + claims[i].Field
			claims[i].Evidence.URL = &u
		}
		claims[i].Evidence.ContactEligible = true
	}
	return Record{Source: source, ID: source, URL: "https://" + source + ".example", Kind: Person, Claims: claims}
}

func says(field, text string) Claim { return Claim{Field: field, Text: text} }

// fusing fuses accepted records of sources with a reliability of 0.9 (contact: allowed).
func fusing(records ...Record) *fuser {
	f := &fuser{
		cfg: DefaultConfig(), order: map[string]int{}, policies: map[string]Policy{},
		known: Known{Seed: Seed{Input: Input{ProfileID: "prof_1", Name: "Imported Name"}}, Now: began, RunID: "enr_1", Records: records},
	}
	for i, r := range records {
		if _, ok := f.order[r.Source]; !ok {
			f.order[r.Source] = i
			f.policies[r.Source] = Policy{Reliability: 0.9, ContactEligible: true}
		}
		f.known.Matches = append(f.known.Matches, IdentityMatch{Source: r.Source, Record: r.ID, Probability: 1, Band: BandAccept})
	}
	return f
}

func factOf(c *Candidate, name string) *Fact {
	if c == nil {
		return nil
	}
	for i := range c.AllFacts {
		if c.AllFacts[i].Name == name {
			return &c.AllFacts[i]
		}
	}
	return nil
}

func TestConfidence(t *testing.T) {
	t.Parallel()
	role := func(f *fuser) float64 {
		c, _ := f.candidate()
		if fact := factOf(c, FieldCurrentRole); fact != nil {
			return fact.Confidence
		}
		return 0
	}
	t.Run("is reliability times identity times freshness", func(t *testing.T) {
		t.Parallel()
		old := says(FieldCurrentRole, "Engineer")
		old.HeldAt = began.Add(-12 * month)
		f := fusing(held("a", old))
		f.known.Matches[0].Probability = 0.96
		if got, want := role(f), 0.6780; got != want { // 0.9 × 0.96 × 0.98^12
			t.Errorf("got %v, want %v", got, want)
		}
	})
	t.Run("does not age what does not change", func(t *testing.T) {
		t.Parallel()
		old := says(FieldName, "Ada Byron")
		old.HeldAt = began.Add(-120 * month)
		c, _ := fusing(held("a", old)).candidate()
		if got := factOf(c, FieldName).Confidence; got != 0.9 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("is the noisy-or of independent sources", func(t *testing.T) {
		t.Parallel()
		if got := role(fusing(held("a", says(FieldCurrentRole, "Engineer")), held("b", says(FieldCurrentRole, "engineer")))); got != 0.99 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("counts one origin once", func(t *testing.T) {
		t.Parallel()
		a, b := held("a", says(FieldCurrentRole, "Engineer")), held("b", says(FieldCurrentRole, "Engineer"))
		a.Group, b.Group = "site:x.example", "site:x.example"
		if got := role(fusing(a, b)); got != 0.9 {
			t.Errorf("same group: %v", got)
		}
		f := fusing(held("a", says(FieldCurrentRole, "Engineer")), held("b", says(FieldCurrentRole, "Engineer")))
		for _, name := range []string{"a", "b"} {
			f.policies[name] = Policy{Reliability: 0.9, Origin: "works"}
		}
		if got := role(f); got != 0.9 {
			t.Errorf("same policy origin: %v", got)
		}
	})
	t.Run("counts what cites another claim's page as the same origin", func(t *testing.T) {
		t.Parallel()
		u := "https://shared.example/cv"
		a, b := says(FieldCurrentRole, "Engineer"), says(FieldCurrentRole, "Engineer")
		a.Evidence.URL, b.Evidence.URL = &u, &u
		if got := role(fusing(held("a", a), held("b", b))); got != 0.9 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("of the winner is lowered by what contradicts it, which stays visible", func(t *testing.T) {
		t.Parallel()
		f := fusing(held("a", says(FieldCurrentRole, "Engineer")), held("b", says(FieldCurrentRole, "Engineer")), held("c", says(FieldCurrentRole, "Baker")))
		f.policies["c"] = Policy{Reliability: 0.5}
		c, _ := f.candidate()
		fact := factOf(c, FieldCurrentRole)
		if fact.Confidence != 0.7425 || len(fact.Conflicts) != 1 || string(fact.Conflicts[0].Value) != `"Baker"` || len(fact.Conflicts[0].Evidence) != 1 {
			t.Errorf("%+v", fact)
		}
	})
	t.Run("below one half accepts nothing, and a doubtful record carries no fact", func(t *testing.T) {
		t.Parallel()
		f := fusing(held("a", says(FieldCurrentRole, "Engineer")))
		f.policies["a"] = Policy{Reliability: 0.49}
		if c, _ := f.candidate(); c != nil {
			t.Errorf("%+v", c)
		}
		f = fusing(held("a", says(FieldCurrentRole, "Engineer")), held("b", says(FieldCurrentRole, "Baker")))
		f.known.Matches[1].Band = BandReview
		if c, _ := f.candidate(); *c.CurrentRole != "Engineer" || len(factOf(c, FieldCurrentRole).Conflicts) != 0 || len(c.Identity) != 2 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("can be set by source and field", func(t *testing.T) {
		t.Parallel()
		f := fusing(held("a", says(FieldCurrentRole, "Engineer"), says(FieldName, "Ada Byron")))
		f.cfg.Reliability = map[string]float64{"a": 0.6, "a.currentRole": 0.95}
		c, _ := f.candidate()
		if got := factOf(c, FieldCurrentRole).Confidence; got != 0.95 {
			t.Errorf("field: %v", got)
		}
		if got := factOf(c, FieldName).Confidence; got != 0.6 {
			t.Errorf("source: %v", got)
		}
	})
}

func TestSpelling(t *testing.T) {
	t.Parallel()
	f := fusing(
		held("a", says(FieldName, "Ada M. Byron"), says(FieldLocation, "Munich"), says(FieldCurrentCompany, "ACME, Inc."), says(FieldSkills, "Go")),
		held("b", says(FieldName, "Ada Byron"), says(FieldLocation, "München, Germany"), says(FieldCurrentCompany, "Acme"), says(FieldSkills, "golang")),
		held("c", says(FieldName, "A. Byron"), says(FieldCurrentCompany, "Acme"), says(FieldSkills, "Golang"), says(FieldSkills, "Java"), says(FieldSkills, "JavaScript")),
	)
	c, _ := f.candidate()
	if *c.CurrentCompany != "Acme" || factOf(c, FieldCurrentCompany).Confidence != 0.999 {
		t.Errorf("company %v", *c.CurrentCompany)
	}
	if *c.Location != "München, Germany" {
		t.Errorf("location %v", *c.Location)
	}
	if c.Name != "Ada M. Byron" || len(factOf(c, FieldName).Conflicts) != 0 {
		t.Errorf("name %v, %+v", c.Name, factOf(c, FieldName).Conflicts)
	}
	if len(c.Skills) != 3 || skillKey(c.Skills[0]) != "go" {
		t.Errorf("skills %v", c.Skills)
	}
}

func TestContactRule(t *testing.T) {
	t.Parallel()
	address := func() Claim { return says(FieldEmails, "ada@byron.example") }
	t.Run("keeps an address only on eligible evidence, and shows only that", func(t *testing.T) {
		t.Parallel()
		f := fusing(held("a", address()), held("b", address()))
		f.policies["b"] = Policy{Reliability: 0.9}
		c, _ := f.candidate()
		if len(c.Emails) != 1 || len(c.Emails[0].Evidence) != 1 || c.Emails[0].Evidence[0].Source != "a" || c.Emails[0].Confidence > 0.9 {
			t.Errorf("%+v", c.Emails)
		}
	})
	t.Run("drops the address of a source that bars contact, or of a page without recruiters", func(t *testing.T) {
		t.Parallel()
		barred := fusing(held("a", address(), says(FieldName, "Ada Byron")))
		barred.policies["a"] = Policy{Reliability: 0.9}
		unwelcome := held("a", address(), says(FieldName, "Ada Byron"))
		unwelcome.NoContact = true
		for _, f := range []*fuser{barred, fusing(unwelcome)} {
			c, _ := f.candidate()
			if raw, _ := json.Marshal(c); len(c.Emails) != 0 || strings.Contains(string(raw), "ada@byron") {
				t.Errorf("%s", raw)
			}
		}
	})
	t.Run("puts the address that can be written to first", func(t *testing.T) {
		t.Parallel()
		f := fusing(held("a", says(FieldEmails, "a@x.example"), says(FieldEmails, "b@x.example"), says(FieldEmails, "c@x.example")))
		f.checks = map[string]EmailCheck{
			"a@x.example": {Address: "a@x.example", Status: EmailInvalid}, "b@x.example": {Address: "b@x.example", Status: EmailUnknown}, "c@x.example": {Address: "c@x.example", Status: EmailValid},
		}
		c, _ := f.candidate()
		got := []string{c.Emails[0].Address, c.Emails[1].Address, c.Emails[2].Address}
		if !slices.Equal(got, []string{"c@x.example", "b@x.example", "a@x.example"}) {
			t.Errorf("%v", got)
		}
	})
}

func TestLinks(t *testing.T) {
	t.Parallel()
	link := func(kind, value, url string) Claim {
		return Claim{Field: FieldLinks, Text: url, Link: &Identifier{Kind: kind, Value: value, URL: url}}
	}
	t.Run("are verified when both ends name each other", func(t *testing.T) {
		t.Parallel()
		site := held("site", link("github", "ada", "https://github.com/ada"), link("mastodon", "ada@m.example", "https://m.example/@ada"))
		site.ID, site.URL, site.Group = "https://ada.example/", "https://ada.example/", "site:ada.example"
		site.Identifiers = []Identifier{{Kind: "github", Value: "ada", URL: "https://github.com/ada"}, {Kind: "mastodon", Value: "ada@m.example", URL: "https://m.example/@ada"}}
		git := held("github", link("website", "https://ada.example/", "https://ada.example/"))
		git.ID, git.URL = "ada", "https://github.com/ada"
		git.Identifiers = []Identifier{{Kind: "website", Value: "https://ada.example/", URL: "https://ada.example/"}}
		c, _ := fusing(site, git).candidate()
		verified := map[string]bool{}
		for _, l := range c.Links {
			verified[l.Kind] = l.Verified
		}
		if !verified["github"] || !verified["website"] || verified["mastodon"] || len(c.Links) != 3 {
			t.Errorf("%v", verified)
		}
	})
	t.Run("to LinkedIn come from the caller or from the person's own page only", func(t *testing.T) {
		t.Parallel()
		in := func() Claim { return link("linkedin", "ada", "https://www.linkedin.com/in/ada") }
		own, _ := fusing(held("site", in())).candidate()
		if own == nil || own.LinkedinURL == nil || factOf(own, "linkedinUrl") == nil || len(own.Links) != 1 {
			t.Errorf("own page: %+v", own)
		}
		other, _ := fusing(held("github", in(), says(FieldName, "Ada Byron"))).candidate()
		if other.LinkedinURL != nil || len(other.Links) != 0 {
			t.Errorf("other source: %+v", other)
		}
		f := fusing(held("site", in()))
		f.known.Seed.Identifiers = []Identifier{{Kind: "linkedin", Value: "imported", URL: "https://www.linkedin.com/in/imported"}}
		if c, _ := f.candidate(); *c.LinkedinURL != "https://www.linkedin.com/in/imported" || factOf(c, "linkedinUrl") != nil {
			t.Errorf("imported: %v", *c.LinkedinURL)
		}
	})
}

func TestExperience(t *testing.T) {
	t.Parallel()
	at := func(p Position) Claim { return Claim{Field: FieldExperience, Text: positionText(p), Pos: &p} }
	c, jobs := fusing(
		held("a", at(Position{Role: "Engineer", Company: "Acme GmbH", StartYear: 2019, Current: true, Highlights: []string{"Built the rocket", "Flew it", "Sold it", "Left"}}),
			at(Position{Role: "Intern", Company: "Beta", StartYear: 2015, EndYear: 2016}),
			at(Position{Role: "Wizard", Company: "Nowhere", StartYear: 2018, EndYear: 2012})),
		held("b", at(Position{Role: "engineer", Company: "Acme"}), at(Position{Role: "Engineer", Company: "Gamma", StartYear: 2017, EndYear: 2018})),
	).candidate()
	var got []string
	for _, x := range c.Experience {
		got = append(got, fmt.Sprintf("%s at %s, %s, %d highlights, %d evidence", x.Role, deref(x.Company), deref(x.Duration), len(x.Highlights), len(x.Evidence)))
	}
	want := []string{"Engineer at Acme GmbH, 2019 - Present, 3 highlights, 2 evidence", "Engineer at Gamma, 2017 - 2018, 0 highlights, 1 evidence", "Intern at Beta, 2015 - 2016, 0 highlights, 1 evidence"}
	if !slices.Equal(got, want) || len(jobs) != 3 {
		t.Errorf("%q", got)
	}
	if deref(c.CurrentRole) != "Engineer" || deref(c.CurrentCompany) != "Acme GmbH" {
		t.Errorf("the current position names role and company: %q at %q", deref(c.CurrentRole), deref(c.CurrentCompany))
	}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	t.Run("stands behind every fact and names run, source and worth", func(t *testing.T) {
		t.Parallel()
		r := runner(good("alpha", facts+"headline: Studies cracked pots\n", 0), good("beta", facts, 0))
		in := carberry()
		in.Brief = &RoleBrief{Title: "Professor", MustHaveSkills: []string{"Ceramics", "Alchemy"}}
		res := r.Run(t.Context(), "enr_7", in, &told{})
		plain := map[string]bool{}
		for _, f := range res.Candidate.AllFacts {
			plain[f.Name] = true
			if len(f.Evidence) == 0 {
				t.Errorf("%s has no evidence", f.Name)
			}
			for _, ev := range f.Evidence {
				if ev.RunID != "enr_7" || ev.Source == "" || ev.URL == nil || ev.ContentHash == nil || ev.Confidence <= 0 || ev.Confidence > 1 || ev.ObservedAt.IsZero() {
					t.Errorf("%s: %+v", f.Name, ev)
				}
			}
			if !slices.IsSortedFunc(f.Evidence, func(a, b Evidence) int { return int(1e6 * (b.Confidence - a.Confidence)) }) {
				t.Errorf("%s: not strongest first", f.Name)
			}
		}
		for _, name := range []string{"name", "headline", "currentRole", "skills", "emails", "experience", "matchScore", "rationale", "fitPoints", "redFlags", "detailedRationale"} {
			if !plain[name] {
				t.Errorf("no fact %s", name)
			}
		}
	})
	t.Run("does not depend on the order of records", func(t *testing.T) {
		t.Parallel()
		records := []Record{
			held("a", says(FieldName, "Ada Byron"), says(FieldLocation, "Berlin"), says(FieldSkills, "Go"), says(FieldSkills, "go")),
			held("b", says(FieldName, "Ada M Byron"), says(FieldLocation, "Berlin, Germany"), says(FieldSkills, "Rust")),
			held("c", says(FieldName, "A Byron"), says(FieldLocation, "Paris"), says(FieldSkills, "GO")),
		}
		base := fusing(records...)
		fused := func(f *fuser) string {
			c, _ := f.candidate()
			c.Identity = nil // in the order of the records
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
		first := fused(base)
		for range 30 {
			shuffled := slices.Clone(records)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			for i := range shuffled {
				claims := slices.Clone(shuffled[i].Claims)
				rand.Shuffle(len(claims), func(x, y int) { claims[x], claims[y] = claims[y], claims[x] })
				shuffled[i].Claims = claims
			}
			f := fusing(shuffled...)
			f.order, f.policies = base.order, base.policies
			if again := fused(f); again != first {
				t.Fatalf("\n%s\n%s", first, again)
			}
		}
	})
	t.Run("never lets an imported value stand as a fact", func(t *testing.T) {
		t.Parallel()
		c, _ := fusing(held("a", says(FieldSkills, "Go"))).candidate()
		if c.Name != "Imported Name" || factOf(c, FieldName) != nil {
			t.Errorf("%q, %+v", c.Name, factOf(c, FieldName))
		}
	})
}

func TestNewFact(t *testing.T) {
	t.Parallel()
	weak, strong := Evidence{Source: "a", Confidence: 0.2, ObservedAt: time.Unix(1, 0)}, Evidence{Source: "b", Confidence: 0.7}
	f := NewFact("name", "Ada", 0.123456, weak, strong, weak)
	if len(f.Evidence) != 2 || f.Evidence[0].Source != "b" || f.Confidence != 0.1235 || f.Conflicts == nil {
		t.Errorf("%+v", f)
	}
}
