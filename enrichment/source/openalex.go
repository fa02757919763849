package source

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/egress"
)

// openAlex asks OpenAlex (CC0) about authors: by id, by ORCID iD, or by name.
// It has no addresses. Its works descend from the same records as Crossref's
// and DBLP's, so all of them are one voice.
type openAlex struct {
	base, key, contact string
}

func newOpenAlex(base, key, contact string) *openAlex {
	return &openAlex{base: base, key: key, contact: contact}
}

func (*openAlex) Name() string { return "openalex" }

func (*openAlex) Policy() pipeline.Policy {
	return pipeline.Policy{Licence: "CC0-1.0", Reliability: 0.75, Origin: "works"}
}

const (
	openAlexAuthor = "author"
	openAlexORCID  = "orcid"
	openAlexSearch = "search"
)

// Ask asks for named authors in lookup and searches by name in discover.
func (o *openAlex) Ask(k pipeline.Known, s pipeline.Stage) []pipeline.Ask {
	ids := namedBy(k, "openalex", "openalex", "orcid")
	var asks []pipeline.Ask
	switch s {
	case pipeline.Lookup:
		for _, n := range ids {
			if n.id.Kind == "openalex" {
				asks = append(asks, pipeline.Ask{Kind: openAlexAuthor, Origin: n.origin, URL: o.base + "/authors/" + url.PathEscape(n.id.Value)})
			} else {
				asks = append(asks, pipeline.Ask{Kind: openAlexORCID, Origin: n.origin, URL: o.base + "/authors?" + query("filter", "orcid:"+n.id.Value)})
			}
		}
	case pipeline.Discover:
		if name := searchName(k.Seed.Name); name != "" && len(ids) == 0 && !found(k, "openalex") {
			asks = append(asks, pipeline.Ask{Kind: openAlexSearch, Origin: "seed", URL: o.base + "/authors?" + query("search", name, "per-page", fmt.Sprint(topK))})
		}
	}
	return asks
}

func (o *openAlex) call(pipeline.Ask) call {
	c := call{header: egress.Header{}}
	c.header.Set("Accept", "application/json")
	secret := url.Values{}
	if o.key != "" {
		secret.Set("api_key", o.key)
	}
	if strings.Contains(o.contact, "@") {
		secret.Set("mailto", o.contact)
	}
	c.secret = secret.Encode()
	return c
}

// The parts of an author that are read.
type (
	openAlexPerson struct {
		ID           string                `json:"id"`
		ORCID        string                `json:"orcid"`
		Name         string                `json:"display_name"`
		Alternatives []string              `json:"display_name_alternatives"`
		Affiliations []openAlexAffiliation `json:"affiliations"`
		LastKnown    []openAlexInstitution `json:"last_known_institutions"`
		Topics       []struct {
			Name  string `json:"display_name"`
			Count int    `json:"count"`
		} `json:"topics"`
		WorksCount int `json:"works_count"`
	}
	openAlexAffiliation struct {
		Institution openAlexInstitution `json:"institution"`
		Years       []int               `json:"years"`
	}
	openAlexInstitution struct {
		ROR     string `json:"ror"`
		Name    string `json:"display_name"`
		Country string `json:"country_code"`
	}
)

// Read makes one record of each author.
func (o *openAlex) Read(_ pipeline.Known, answers []pipeline.Answer) []pipeline.Record {
	byID := map[string]pipeline.Record{}
	var ids []string
	for _, ans := range answers {
		if ans.Status != statusOK {
			continue
		}
		var people []openAlexPerson
		if ans.Ask.Kind == openAlexAuthor {
			var p openAlexPerson
			if json.Unmarshal(ans.Body, &p) == nil {
				people = append(people, p)
			}
		} else {
			var page struct {
				Results []openAlexPerson `json:"results"`
			}
			_ = json.Unmarshal(ans.Body, &page)
			people = page.Results[:min(topK, len(page.Results))]
		}
		for _, p := range people {
			r, ok := openAlexRecord(p, ans)
			if _, again := byID[r.ID]; ok && !again {
				byID[r.ID] = r
				ids = append(ids, r.ID)
			}
		}
	}
	slices.Sort(ids)
	records := make([]pipeline.Record, 0, len(ids))
	for _, id := range ids {
		records = append(records, byID[id])
	}
	return records
}

// topicsTaken is how many of an author's topics are taken as skills, and
// topicWorks how many works one needs.
const (
	topicsTaken = 5
	topicWorks  = 3
)

func openAlexRecord(p openAlexPerson, ans pipeline.Answer) (pipeline.Record, bool) {
	self, ok := extract.Identify(p.ID)
	if !ok || self.Kind != "openalex" || clip(p.Name, 200) == "" {
		return pipeline.Record{}, false
	}
	const extractor = "openalex-author/1"
	r := pipeline.Record{Source: "openalex", ID: self.Value, URL: self.URL, Kind: pipeline.Person, Names: []string{clip(p.Name, 200)}}
	for _, alternative := range p.Alternatives {
		if alternative = clip(alternative, 200); alternative != "" && !slices.Contains(r.Names, alternative) && len(r.Names) < 20 {
			r.Names = append(r.Names, alternative)
		}
	}
	claim := func(field, key, text string, at time.Time) {
		r.Claims = append(r.Claims, pipeline.Claim{Field: field, Text: text, HeldAt: at, Evidence: note(ans, extractor, key+": "+text)})
	}
	claim(pipeline.FieldName, "display_name", r.Names[0], time.Time{})
	for _, raw := range []string{p.ID, p.ORCID} {
		if id, ok := extract.Identify(raw); ok {
			r.Identifiers = append(r.Identifiers, id)
			r.Claims = append(r.Claims, pipeline.Claim{Field: pipeline.FieldLinks, Text: id.URL, Link: &id, Evidence: note(ans, extractor, id.Kind+": "+raw)})
		}
	}
	for _, a := range p.Affiliations {
		employ(&r, a.Institution)
	}
	for i, in := range p.LastKnown {
		employ(&r, in)
		if i > 0 || clip(in.Name, 200) == "" {
			continue
		}
		claim(pipeline.FieldCurrentCompany, "last_known_institution", clip(in.Name, 200), p.lastAt(in, ans.FetchedAt))
		if country := countryName(in.Country); country != "" {
			r.Locations = append(r.Locations, country)
		}
	}
	for _, t := range p.Topics[:min(topicsTaken, len(p.Topics))] {
		if name := clip(t.Name, 100); name != "" && t.Count >= topicWorks {
			r.Claims = append(r.Claims, pipeline.Claim{Field: pipeline.FieldSkills, Text: name, Evidence: note(ans, extractor, fmt.Sprintf("topic %s in %d works", name, t.Count))})
		}
	}
	return r, true
}

func employ(r *pipeline.Record, in openAlexInstitution) {
	e := pipeline.Employer{Name: clip(in.Name, 200), ROR: strings.TrimPrefix(strings.TrimPrefix(in.ROR, "https://ror.org/"), "http://ror.org/")}
	if e.Name != "" && !slices.Contains(r.Employers, e) {
		r.Employers = append(r.Employers, e)
	}
}

// lastAt is when an institution was last seen with the author: the end of the
// latest year that names it, or the fetch when that has not come yet.
func (p openAlexPerson) lastAt(in openAlexInstitution, fetched time.Time) time.Time {
	last := 0
	for _, a := range p.Affiliations {
		if a.Institution.Name == in.Name && len(a.Years) > 0 {
			last = max(last, slices.Max(a.Years))
		}
	}
	if end := time.Date(last, time.December, 31, 0, 0, 0, 0, time.UTC); last > 0 && end.Before(fetched) {
		return end
	}
	return fetched
}

// countryName is the English name of an ISO 3166 code, "" when there is none.
func countryName(code string) string {
	region, err := language.ParseRegion(code)
	if err != nil || !region.IsCountry() {
		return ""
	}
	return display.English.Regions().Name(region)
}
