package extract

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// graph holds the schema.org items of one document in one syntax.
type graph struct {
	extractor string // with its version
	top       []*value
	byID      map[string]*value
	heldAt    time.Time // when the page says that it was changed
}

// maxFacets is how many values of one kind are taken from one item.
const maxFacets = 60

// newGraph names the items that stand on their own and finds those that are referred to.
func newGraph(extractor string, top []*value) *graph {
	g := &graph{extractor: extractor, byID: map[string]*value{}}
	budget := maxMarked
	for _, v := range top {
		g.addTop(v, &budget, 0)
	}
	return g
}

func (g *graph) addTop(v *value, budget *int, depth int) {
	switch {
	case v == nil || depth > maxJSONDepth:
	case v.kind == listValue:
		for _, item := range v.items {
			g.addTop(item, budget, depth+1)
		}
	case v.kind == objectValue:
		shorten(v)
		if members := v.fields["@graph"]; len(members) > 0 {
			for _, m := range members {
				g.addTop(m, budget, depth+1)
			}
			if len(types(v)) == 0 {
				return
			}
		}
		g.top = append(g.top, v)
		g.index(v, budget, depth)
	}
}

// index shortens the names below v and notes which item has which @id.
func (g *graph) index(v *value, budget *int, depth int) {
	*budget--
	if *budget < 0 || depth > maxJSONDepth {
		return
	}
	shorten(v)
	if id := v.string("@id"); id != "" && len(v.fields) > 1 && (g.byID[id] == nil || len(v.fields) > len(g.byID[id].fields)) {
		g.byID[id] = v
	}
	for _, name := range slices.Sorted(maps.Keys(v.fields)) { // in a fixed order, so that the same bytes give the same facts
		if name == "@graph" {
			continue
		}
		for _, f := range v.fields[name] {
			if f.kind == objectValue {
				g.index(f, budget, depth+1)
			}
		}
	}
}

// shorten takes the vocabulary off names: "schema:name" and "https://schema.org/name" are "name".
func shorten(v *value) {
	for _, name := range slices.Sorted(maps.Keys(v.fields)) {
		if short := shortName(name); short != name {
			v.fields[short] = append(v.fields[short], v.fields[name]...)
			delete(v.fields, name)
		}
	}
}

func shortName(name string) string {
	for _, prefix := range []string{"https://schema.org/", "http://schema.org/", "https://www.schema.org/", "http://www.schema.org/", "schema:", "sdo:", "s:"} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			return short
		}
	}
	return name
}

// types are an item's types without their vocabulary.
func types(v *value) []string {
	var out []string
	for _, t := range append(v.strings("@type"), v.strings("type")...) {
		out = append(out, shortName(strings.TrimSpace(t)))
	}
	return out
}

func isType(v *value, names ...string) bool {
	return v.kind == objectValue && slices.ContainsFunc(types(v), func(t string) bool { return slices.Contains(names, t) })
}

// follow answers the item that a reference stands for.
func (g *graph) follow(v *value) *value {
	if v.kind != objectValue || len(types(v)) > 0 && len(v.fields) > 2 {
		return v
	}
	if full := g.byID[v.string("@id")]; full != nil {
		return full
	}
	return v
}

// each visits the items and texts of a field, references followed.
func (g *graph) each(v *value, names []string, visit func(*value)) {
	for _, name := range names {
		for i, f := range v.fields[name] {
			if i == maxFacets {
				break
			}
			visit(g.follow(f))
		}
	}
}

// name is what an item is called: its text, or its name.
func (g *graph) name(v *value) string {
	if v.kind == textValue {
		return v.text
	}
	if v.kind != objectValue {
		return ""
	}
	for _, key := range []string{"name", "legalName", "alternateName", "@value", "roleName"} {
		for _, f := range v.fields[key] {
			if f.kind == objectValue {
				f = &value{kind: textValue, text: f.string("@value")}
			}
			if f.kind == textValue && strings.TrimSpace(f.text) != "" {
				return f.text
			}
		}
	}
	return ""
}

// value makes a statement of a text: markup and entities taken out, at most limit characters; nil text is "".
func (g *graph) value(text string, from *value, limit int) Value {
	return Value{Text: cleanText(text, limit), Snippet: snippet(from.raw), Extractor: g.extractor, HeldAt: g.heldAt}
}

// cleanText is a field's text on one line; "" when it is longer than a value of its kind can be.
func cleanText(s string, limit int) string {
	if strings.ContainsAny(s, "<&") && len(s) < 8*limit {
		s = html.UnescapeString(s)
		if strings.Contains(s, "<") && strings.Contains(s, ">") {
			t := parseTree(s)
			s = text(t.body)
		}
	}
	s = squeeze(s)
	if len([]rune(s)) > limit {
		return ""
	}
	return s
}

// Longest plausible values, in characters.
const (
	maxName     = 120
	maxHeadline = 220
	maxPlace    = 120
	maxTitle    = 160
	maxSkill    = 60
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
		if address, ok := publishedAddress(from.text); ok {
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

// appendValue keeps a value when it says something that the list does not say yet.
func appendValue(list *[]Value, v Value) {
	if v.Text == "" || slices.ContainsFunc(*list, func(have Value) bool { return strings.EqualFold(have.Text, v.Text) }) {
		return
	}
	*list = append(*list, v)
}

// publishedAddress reads an address as a field holds it, with or without "mailto:"; samples are dropped.
func publishedAddress(raw string) (string, bool) {
	raw = strings.TrimSpace(html.UnescapeString(raw))
	if len(raw) > 7 && strings.EqualFold(raw[:7], "mailto:") {
		raw = mailtoAddress(raw)
	}
	address, ok := cleanAddress(raw)
	if !ok || sampleAddress(address) {
		return "", false
	}
	return address, true
}

func withoutScheme(link string) string {
	_, rest, ok := strings.Cut(link, "://")
	if !ok {
		return link
	}
	return strings.TrimPrefix(rest, "www.")
}

// yearMonth reads the beginning of an ISO date: "2019", "2019-03", "2019-03-01T…"; 0 is unknown.
func yearMonth(s string) (year, month int) {
	s = strings.TrimSpace(s)
	year = yearOf(s)
	if year > 0 && len(s) >= 7 && (s[4] == '-' || s[4] == '/') {
		if m, err := strconv.Atoi(s[5:7]); err == nil && m >= 1 && m <= 12 {
			month = m
		}
	}
	return year, month
}

func yearOf(s string) int {
	s = strings.TrimSpace(s)
	if len(s) < 4 {
		return 0
	}
	y, err := strconv.Atoi(s[:4])
	if err != nil || y < 1000 || y > 9999 || len(s) > 4 && isAlnum(s[4]) && s[4] != 'T' {
		return 0
	}
	return y
}
