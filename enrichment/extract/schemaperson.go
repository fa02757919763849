package extract

import (
	"slices"
	"strings"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// person reads a schema.org Person.
func (g *graph) person(v *value) PersonFacts {
	var who PersonFacts
	take := func(list *[]Value, limit int, names ...string) {
		g.each(v, names, func(f *value) {
			if text := g.name(f); text != "" {
				appendValue(list, g.value(text, f, limit))
			}
		})
	}
	take(&who.Names, maxName, "name")
	if given, family := v.string("givenName"), v.string("familyName"); given != "" && family != "" {
		parts := given + " " + strings.TrimSpace(v.string("additionalName")+" "+family)
		appendValue(&who.Names, g.value(parts, v.fields["familyName"][0], maxName))
	}
	take(&who.Names, maxName, "alternateName")
	take(&who.Headlines, maxHeadline, "disambiguatingDescription", "headline", "description")
	take(&who.Roles, maxTitle, "jobTitle")
	g.work(v, &who)
	for _, field := range []string{"address", "homeLocation", "workLocation", "location"} {
		g.each(v, []string{field}, func(f *value) {
			if place := g.place(f); place != "" {
				appendValue(&who.Locations, g.value(place, f, maxPlace))
			}
		})
	}
	g.skills(v, &who)
	g.each(v, []string{"email", "contactPoint"}, func(f *value) {
		from := f
		if f.kind == objectValue {
			if f.string("email") == "" {
				return
			}
			from = f.fields["email"][0]
		}
		if address, ok := fieldAddress(from.text); ok {
			appendValue(&who.Emails, Value{Text: address, Snippet: snippet(from.raw), Extractor: g.extractor, HeldAt: g.heldAt})
		}
	})
	g.links(v, &who)
	who.BornYear, who.DiedYear = yearOf(v.string("birthDate")), yearOf(v.string("deathDate"))
	return who
}

// work reads employers and positions.
func (g *graph) work(v *value, who *PersonFacts) {
	jobs := 0
	g.each(v, []string{"worksFor"}, func(*value) { jobs++ })
	g.each(v, []string{"worksFor"}, func(f *value) {
		org, role := f, ""
		p := Position{Value: g.value("", f, maxTitle)}
		if f.kind == objectValue && (isType(f, "OrganizationRole", "EmployeeRole", "Role") || len(f.fields["worksFor"]) > 0) {
			role = g.roleName(f)
			p.StartYear, p.StartMonth = yearMonth(f.string("startDate"))
			p.EndYear, p.EndMonth = yearMonth(f.string("endDate"))
			for _, inner := range f.fields["worksFor"] {
				org = g.follow(inner)
			}
		}
		company := cleanText(g.name(org), maxTitle)
		if company == "" {
			return
		}
		p.Current = p.EndYear == 0
		if role == "" && jobs == 1 && len(who.Roles) > 0 && p.Current {
			role = who.Roles[0].Text
		}
		p.Position.Company, p.Position.Role = company, cleanText(role, maxTitle)
		g.addPosition(who, p)
		g.addEmployer(who, org, company, p.Current)
	})
	g.each(v, []string{"hasOccupation"}, func(f *value) {
		p := Position{Value: g.value("", f, maxTitle)}
		job := f
		if isType(f, "Role", "EmployeeRole", "OrganizationRole") || len(f.fields["hasOccupation"]) > 0 {
			p.StartYear, p.StartMonth = yearMonth(f.string("startDate"))
			p.EndYear, p.EndMonth = yearMonth(f.string("endDate"))
			for _, inner := range f.fields["hasOccupation"] {
				job = g.follow(inner)
			}
		}
		title := cleanText(g.name(job), maxTitle)
		if title == "" {
			return
		}
		p.Current = p.EndYear == 0
		if p.Current {
			appendValue(&who.Roles, g.value(title, job, maxTitle))
		}
		if p.StartYear > 0 || p.EndYear > 0 {
			p.Position.Role = title
			g.addPosition(who, p)
		}
	})
	g.each(v, []string{"affiliation", "memberOf", "alumniOf"}, func(f *value) {
		org := f
		for _, key := range []string{"affiliation", "memberOf", "alumniOf"} {
			for _, inner := range f.fields[key] {
				org = g.follow(inner)
			}
		}
		if name := cleanText(g.name(org), maxTitle); name != "" {
			g.addEmployer(who, org, name, false)
		}
	})
	if len(who.Companies) == 0 && len(v.fields["affiliation"]) == 1 {
		f := g.follow(v.fields["affiliation"][0])
		appendValue(&who.Companies, g.value(g.name(f), v.fields["affiliation"][0], maxTitle))
	}
}

func (g *graph) roleName(v *value) string {
	for _, key := range []string{"roleName", "namedPosition", "jobTitle", "name"} {
		for _, f := range v.fields[key] {
			if s := g.name(g.follow(f)); s != "" {
				return s
			}
		}
	}
	return ""
}

func (g *graph) addPosition(who *PersonFacts, p Position) {
	p.Value.Text = positionText(p.Position)
	who.Positions = append(who.Positions, p)
}

func positionText(p pipeline.Position) string {
	switch {
	case p.Role == "":
		return p.Company
	case p.Company == "":
		return p.Role
	}
	return p.Role + " at " + p.Company
}

func (g *graph) addEmployer(who *PersonFacts, org *value, name string, current bool) {
	e := Employer{Value: g.value(name, org, maxTitle)}
	e.Employer.Name = name
	for _, field := range []string{"url", "sameAs", "@id", "identifier"} {
		for _, f := range org.fields[field] {
			link := f.text
			if f.kind == objectValue {
				link = f.string("value") + f.string("@id")
			}
			if id, ok := strings.CutPrefix(withoutScheme(link), "ror.org/"); ok && e.ROR == "" {
				e.ROR = strings.ToLower(strings.Trim(id, "/"))
			} else if found, ok := Identify(link); ok && found.Kind == kindWebsite && e.Domain == "" {
				e.Domain = Site(found.URL)
			}
		}
	}
	who.Employers = append(who.Employers, e)
	if current {
		appendValue(&who.Companies, e.Value)
	}
}

// place writes an address or a place as "town, region, country".
func (g *graph) place(v *value) string {
	if v.kind == textValue {
		return v.text
	}
	if v.kind != objectValue {
		return ""
	}
	parts := []string{}
	for _, key := range []string{"addressLocality", "addressRegion", "addressCountry"} {
		for _, f := range v.fields[key] {
			if s := squeeze(g.name(g.follow(f))); s != "" && !slices.Contains(parts, s) {
				parts = append(parts, s)
				break
			}
		}
	}
	if len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	if inner := v.fields["address"]; len(inner) > 0 && inner[0] != v {
		if f := g.follow(inner[0]); len(f.fields["address"]) == 0 {
			if s := g.place(f); s != "" {
				return s
			}
		}
	}
	return g.name(v)
}

func (g *graph) skills(v *value, who *PersonFacts) {
	add := func(f *value) {
		for _, s := range splitSkills(g.name(f)) {
			if len(who.Skills) < maxFacets {
				appendValue(&who.Skills, g.value(s, f, maxSkill))
			}
		}
	}
	g.each(v, []string{"knowsAbout", "skills"}, add)
	g.each(v, []string{"hasOccupation"}, func(f *value) {
		g.each(f, []string{"skills"}, add)
		for _, inner := range f.fields["hasOccupation"] {
			g.each(g.follow(inner), []string{"skills"}, add)
		}
	})
}

// splitSkills takes a list apart that stands in one text; addresses are no skills.
func splitSkills(s string) []string {
	if strings.Contains(s, "://") {
		return nil
	}
	var out []string
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ';' || r == '\n' || r == '•' || r == '|' }) {
		if part = squeeze(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// links reads the pages and accounts that are the person's own.
func (g *graph) links(v *value, who *PersonFacts) {
	add := func(raw string, from *value) {
		if id, ok := Identify(raw); ok && id.Kind != kindEmail && len(who.Links) < maxFacets {
			appendValue(&who.Links, Value{Text: id.URL, Snippet: snippet(from.raw), Extractor: g.extractor, HeldAt: g.heldAt})
		}
	}
	g.each(v, []string{"url", "sameAs", "mainEntityOfPage"}, func(f *value) {
		raw := f.text
		if f.kind == objectValue {
			raw = f.string("@id")
			if raw == "" {
				raw = f.string("url")
			}
		}
		if strings.Contains(raw, ".") {
			add(raw, f)
		}
	})
	g.each(v, []string{"identifier"}, func(f *value) {
		raw := f.text
		if f.kind == objectValue {
			raw = f.string("value")
			if raw == "" {
				raw = f.string("@id")
			}
		}
		if id, ok := Identify(raw); ok && id.Kind != kindLink && id.Kind != kindWebsite {
			add(raw, f)
		}
	})
	if id, ok := Identify(v.string("@id")); ok && id.Kind != kindLink && id.Kind != kindWebsite && strings.Contains(v.string("@id"), "://") {
		add(v.string("@id"), v.fields["@id"][0])
	}
}
