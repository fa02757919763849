package extract

import (
	"slices"
	"strings"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// Record hands the facts to the pipeline as one record about one person. A
// document that gives no facts gives a record without names and claims, whose
// identifiers are still those that the page links to with rel="me".
func (f *Facts) Record(p Provenance) pipeline.Record {
	r := pipeline.Record{
		Source: p.Source, ID: f.URL, URL: f.URL, Group: "site:" + Site(f.URL),
		Kind: f.Kind, NoContact: f.NoContact != "",
	}
	if f.OptOut != "" {
		return r
	}
	own := identifierList{}
	own.add(f.URL)
	for _, link := range f.MeLinks() {
		own.add(link)
	}
	if f.Kind == pipeline.Unclear {
		r.Identifiers = own.list
		return r
	}
	who := &f.Person
	c := claims{evidence: pipeline.Evidence{
		Source: p.Source, URL: &f.URL, ContentHash: optional(p.Hash), Licence: optional(p.Licence),
		ContactEligible: p.ContactEligible && f.NoContact == "", ObservedAt: p.FetchedAt,
	}}
	for _, v := range who.Names {
		r.Names = append(r.Names, v.Text)
	}
	c.first(pipeline.FieldName, who.Names)
	c.first(pipeline.FieldHeadline, who.Headlines)
	c.first(pipeline.FieldLocation, who.Locations)
	c.first(pipeline.FieldCurrentCompany, who.Companies)
	c.first(pipeline.FieldCurrentRole, who.Roles)
	for _, v := range who.Skills {
		c.add(pipeline.FieldSkills, v)
	}
	for _, v := range who.Emails {
		own.add("mailto:" + v.Text)
		c.add(pipeline.FieldEmails, v)
	}
	shown := identifierList{}
	for _, v := range who.Links {
		if id, ok := shown.add(v.Text); ok {
			own.add(v.Text)
			v.Text = id.URL
			c.add(pipeline.FieldLinks, v).Link = &id
		}
	}
	for _, p := range who.Positions {
		c.add(pipeline.FieldExperience, p.Value).Pos = &p.Position
	}
	for _, e := range who.Employers {
		r.Employers = append(r.Employers, e.Employer)
	}
	for _, v := range who.Locations {
		r.Locations = append(r.Locations, v.Text)
	}
	r.BornYear, r.DiedYear = who.BornYear, who.DiedYear
	r.Vetoes = impossibilities(who)
	r.Identifiers = own.list
	r.Claims = c.list
	return r
}

// claims collects claims that share where they were read.
type claims struct {
	evidence pipeline.Evidence
	list     []pipeline.Claim
}

func (c *claims) add(field string, v Value) *pipeline.Claim {
	e := c.evidence
	e.Extractor = v.Extractor
	e.Excerpt = optional(v.Snippet)
	c.list = append(c.list, pipeline.Claim{Field: field, Text: v.Text, HeldAt: v.HeldAt, Evidence: e})
	return &c.list[len(c.list)-1]
}

// first claims the most trusted value of a field that holds one.
func (c *claims) first(field string, values []Value) {
	if len(values) > 0 {
		c.add(field, values[0])
	}
}

// identifierList gathers identifiers, each once.
type identifierList struct{ list []pipeline.Identifier }

// add identifies raw; ok is false when it names nobody or is already there.
func (l *identifierList) add(raw string) (id pipeline.Identifier, ok bool) {
	id, ok = Identify(raw)
	if !ok {
		return id, false
	}
	if slices.ContainsFunc(l.list, func(have pipeline.Identifier) bool { return have.Kind == id.Kind && have.Value == id.Value }) {
		return id, false
	}
	l.list = append(l.list, id)
	return id, true
}

// impossibilities are the vetoes that a document earns by itself.
func impossibilities(who *PersonFacts) []string {
	for _, p := range who.Positions {
		start, end := 12*p.StartYear+max(p.StartMonth, 1), 12*p.EndYear+max(p.EndMonth, 1)
		if p.EndMonth == 0 {
			end += 11 // some month of that year
		}
		if p.StartYear > 0 && p.EndYear > 0 && end < start {
			return []string{"employment ends before it begins"}
		}
	}
	return nil
}

func optional(s string) *string {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return &s
}
