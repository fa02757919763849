package extract

import (
	"strings"
)

const extractorJSONResume = "jsonresume/1"

// jsonResume reads a JSON Resume (jsonresume.org/schema): basics, work,
// education and skills. Unknown fields are ignored, and a field of a wrong
// type is skipped without its neighbours. ok is false when v is something else.
func jsonResume(v *value) (who PersonFacts, ok bool) {
	basics := v.fields["basics"]
	if len(basics) == 0 || basics[0].kind != objectValue {
		return who, false
	}
	r := resumeReader{&who}
	b := basics[0]
	r.add(&who.Names, b, maxName, "name")
	r.add(&who.Headlines, b, maxHeadline, "label", "headline")
	if len(who.Headlines) == 0 {
		r.add(&who.Headlines, b, maxHeadline, "summary")
	}
	for _, f := range b.fields["email"] {
		if address, ok := fieldAddress(f.text); ok && f.kind == textValue {
			appendValue(&who.Emails, Value{Text: address, Snippet: snippet(f.raw), Extractor: extractorJSONResume})
		}
	}
	r.location(b)
	for _, key := range []string{"url", "website"} {
		for _, f := range b.fields[key] {
			r.link(f, f.text)
		}
	}
	for _, f := range b.fields["profiles"] {
		if f.kind == objectValue {
			r.profile(f)
		}
	}
	for i, f := range v.fields["work"] {
		if f.kind == objectValue && i < maxFacets {
			r.work(f)
		}
	}
	for i, f := range v.fields["education"] {
		if name := cleanText(f.string("institution"), maxTitle); name != "" && i < maxFacets {
			e := Employer{Value: r.value(name, f)}
			e.Employer.Name = name
			who.Employers = append(who.Employers, e)
		}
	}
	for _, f := range v.fields["skills"] {
		if f.kind == textValue {
			r.skill(f.text, f)
			continue
		}
		for _, name := range f.strings("name") {
			r.skill(name, f)
		}
		for _, name := range f.strings("keywords") {
			r.skill(name, f)
		}
	}
	return who, true
}

// resumeReader adds what it reads to one person.
type resumeReader struct{ who *PersonFacts }

func (r resumeReader) value(text string, from *value) Value {
	return Value{Text: text, Snippet: snippet(from.raw), Extractor: extractorJSONResume}
}

func (r resumeReader) add(list *[]Value, v *value, limit int, names ...string) {
	for _, name := range names {
		for _, f := range v.fields[name] {
			if f.kind == textValue {
				appendValue(list, r.value(cleanText(f.text, limit), f))
			}
		}
	}
}

func (r resumeReader) skill(name string, from *value) {
	if len(r.who.Skills) < maxFacets {
		appendValue(&r.who.Skills, r.value(cleanText(name, maxSkill), from))
	}
}

func (r resumeReader) location(b *value) {
	for _, f := range b.fields["location"] {
		place := f.text
		if f.kind == objectValue {
			parts := []string{}
			for _, key := range []string{"city", "region", "countryCode"} {
				if s := squeeze(f.string(key)); s != "" {
					parts = append(parts, s)
				}
			}
			place = strings.Join(parts, ", ")
		}
		appendValue(&r.who.Locations, r.value(cleanText(place, maxPlace), f))
	}
}

func (r resumeReader) link(from *value, raw string) {
	if id, ok := Identify(raw); ok && id.Kind != kindEmail && len(r.who.Links) < maxFacets {
		appendValue(&r.who.Links, r.value(id.URL, from))
	}
}

// profileHosts complete an account that is given by its name alone.
var profileHosts = map[string]string{
	"github": "https://github.com/", "linkedin": "https://www.linkedin.com/in/", "twitter": "https://x.com/", "x": "https://x.com/",
	"orcid": "https://orcid.org/", "bluesky": "https://bsky.app/profile/",
}

func (r resumeReader) profile(f *value) {
	if address := f.string("url"); address != "" {
		r.link(f, address)
		return
	}
	name := strings.TrimSpace(f.string("username"))
	host := profileHosts[strings.ToLower(strings.TrimSpace(f.string("network")))]
	switch {
	case name != "" && host != "" && !strings.ContainsAny(name, "/ "):
		r.link(f, host+name)
	case strings.Count(name, "@") == 2:
		r.link(f, name) // a fediverse account
	}
}

func (r resumeReader) work(f *value) {
	p := Position{}
	p.Position.Role = cleanText(f.string("position"), maxTitle)
	p.Position.Company = cleanText(f.string("name"), maxTitle)
	if p.Position.Company == "" {
		p.Position.Company = cleanText(f.string("company"), maxTitle)
	}
	if p.Position.Role == "" && p.Position.Company == "" {
		return
	}
	p.StartYear, p.StartMonth = yearMonth(f.string("startDate"))
	p.EndYear, p.EndMonth = yearMonth(f.string("endDate"))
	p.Current = p.EndYear == 0 && p.StartYear > 0
	for _, s := range f.strings("highlights") {
		if s = cleanText(s, 2000); s != "" && len(p.Highlights) < 5 {
			p.Highlights = append(p.Highlights, cut(s, 200))
		}
	}
	p.Value = r.value(positionText(p.Position), f)
	r.who.Positions = append(r.who.Positions, p)
	if p.Position.Company != "" {
		e := Employer{Value: r.value(p.Position.Company, f)}
		e.Employer.Name = p.Position.Company
		for _, key := range []string{"url", "website"} {
			if id, ok := Identify(f.string(key)); ok && id.Kind == kindWebsite && e.Domain == "" {
				e.Domain = Site(id.URL)
			}
		}
		r.who.Employers = append(r.who.Employers, e)
	}
	if p.Current {
		appendValue(&r.who.Companies, r.value(p.Position.Company, f))
		appendValue(&r.who.Roles, r.value(p.Position.Role, f))
	}
}
