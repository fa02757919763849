package extract

import (
	"slices"
	"strings"
)

const extractorMicroformats = "mf2/1"

// cardPerson reads an h-card as a person.
func cardPerson(card *Item) PersonFacts {
	var who PersonFacts
	c := cardReader{&who}
	c.addAll(&who.Names, card, maxName, "name")
	if given, family := firstText(card, "given-name"), firstText(card, "family-name"); given != "" && family != "" {
		c.add(&who.Names, card.Properties["family-name"][0], squeeze(given+" "+firstText(card, "additional-name")+" "+family), maxName)
	}
	c.addAll(&who.Headlines, card, maxHeadline, "note", "summary")
	c.addAll(&who.Roles, card, maxTitle, "job-title", "title", "role")
	c.addAll(&who.Skills, card, maxSkill, "skill", "expertise")
	for _, name := range []string{"org", "organization-name"} {
		for _, v := range card.Properties[name] {
			c.employer(v, len(card.Properties["org"]) == 1)
		}
	}
	c.locations(card)
	for _, v := range card.Properties["email"] {
		if address, ok := fieldAddress(v.Value); ok {
			c.add(&who.Emails, v, address, 254)
		}
	}
	for _, name := range []string{"url", "uid"} {
		for i, v := range card.Properties[name] {
			if i < maxFacets {
				c.link(v)
			}
		}
	}
	who.BornYear = yearOf(firstText(card, "bday"))
	if len(who.Companies) == 1 && len(who.Roles) == 1 {
		p := Position{Value: who.Roles[0]}
		p.Position.Role, p.Position.Company, p.Current = who.Roles[0].Text, who.Companies[0].Text, true
		p.Value.Text = positionText(p.Position)
		who.Positions = append(who.Positions, p)
	}
	return who
}

// resumePerson reads an h-resume: its contact's card, and the career.
func resumePerson(resume *Item) PersonFacts {
	var who PersonFacts
	if contact := nestedItem(resume, "contact"); contact != nil {
		who = cardPerson(contact)
	}
	c := cardReader{&who}
	// A name of its own is the person's, unless it is the text of the whole résumé.
	if name := squeeze(firstText(resume, "name")); name != "" && (len(strings.Fields(name)) <= 5 || len(who.Names) == 0) && len(resume.Properties) > 1 {
		names := who.Names
		who.Names = nil
		c.add(&who.Names, resume.Properties["name"][0], name, maxName)
		for _, v := range names {
			appendValue(&who.Names, v)
		}
	}
	c.addAll(&who.Headlines, resume, maxHeadline, "summary")
	for _, v := range resume.Properties["skill"] {
		for _, s := range splitSkills(v.Value) {
			if len(who.Skills) < maxFacets {
				c.add(&who.Skills, v, s, maxSkill)
			}
		}
	}
	for i, v := range resume.Properties["experience"] {
		if i < maxFacets {
			c.experience(v)
		}
	}
	for _, name := range []string{"education", "affiliation"} {
		for i, v := range resume.Properties[name] {
			if i < maxFacets {
				c.employer(v, false)
			}
		}
	}
	return who
}

// cardReader adds what microformats say to one person.
type cardReader struct{ who *PersonFacts }

func (c cardReader) add(list *[]Value, v Property, text string, limit int) {
	if text = squeeze(text); len([]rune(text)) <= limit {
		appendValue(list, Value{Text: text, Snippet: propertySnippet(v), Extractor: extractorMicroformats})
	}
}

func (c cardReader) addAll(list *[]Value, item *Item, limit int, names ...string) {
	for _, name := range names {
		for i, v := range item.Properties[name] {
			if i < maxFacets {
				c.add(list, v, v.Value, limit)
			}
		}
	}
}

// employer notes an organisation; current says that the person works there now.
func (c cardReader) employer(v Property, current bool) {
	name := v.Value
	domain := ""
	if v.Item != nil {
		for _, key := range []string{"org", "organization-name", "name"} {
			if s := firstText(v.Item, key); s != "" {
				name = s
				break
			}
		}
		if id, ok := Identify(firstText(v.Item, "url")); ok && id.Kind == kindWebsite {
			domain = Site(id.URL)
		}
	}
	if name = squeeze(name); name == "" || len([]rune(name)) > maxTitle {
		return
	}
	e := Employer{Value: Value{Text: name, Snippet: propertySnippet(v), Extractor: extractorMicroformats}}
	e.Employer.Name, e.Domain = name, domain
	c.who.Employers = append(c.who.Employers, e)
	if current {
		appendValue(&c.who.Companies, e.Value)
	}
}

// experience reads one position of an h-resume.
func (c cardReader) experience(v Property) {
	if v.Item == nil {
		return
	}
	p := Position{Value: Value{Snippet: propertySnippet(v), Extractor: extractorMicroformats}}
	for _, key := range []string{"job-title", "title", "role"} {
		if p.Position.Role = squeeze(firstText(v.Item, key)); p.Position.Role != "" {
			break
		}
	}
	for _, key := range []string{"org", "organization-name", "location"} {
		if p.Position.Company = squeeze(firstText(v.Item, key)); p.Position.Company != "" {
			break
		}
	}
	if name := squeeze(firstText(v.Item, "name")); name != p.Position.Company {
		// An event's name is the position, or, beside a title, the organisation.
		switch {
		case p.Position.Role == "":
			p.Position.Role = name
		case p.Position.Company == "":
			p.Position.Company = name
		}
	}
	if len([]rune(p.Position.Role)) > maxTitle || len([]rune(p.Position.Company)) > maxTitle || p.Position.Role+p.Position.Company == "" {
		return
	}
	p.StartYear, p.StartMonth = yearMonth(firstText(v.Item, "start"))
	p.EndYear, p.EndMonth = yearMonth(firstText(v.Item, "end"))
	p.Current = p.EndYear == 0 && p.StartYear > 0
	p.Value.Text = positionText(p.Position)
	c.who.Positions = append(c.who.Positions, p)
	if p.Position.Company == "" {
		return
	}
	e := Employer{Value: p.Value}
	e.Value.Text, e.Employer.Name = p.Position.Company, p.Position.Company
	c.who.Employers = append(c.who.Employers, e)
	if p.Current {
		appendValue(&c.who.Companies, e.Value)
		if p.Position.Role != "" {
			role := p.Value
			role.Text = p.Position.Role
			appendValue(&c.who.Roles, role)
		}
	}
}

func (c cardReader) locations(card *Item) {
	place := func(item *Item, v Property) {
		parts := []string{}
		for _, key := range []string{"locality", "region", "country-name"} {
			if s := squeeze(firstText(item, key)); s != "" && !slices.Contains(parts, s) {
				parts = append(parts, s)
			}
		}
		c.add(&c.who.Locations, v, strings.Join(parts, ", "), maxPlace)
	}
	for _, key := range []string{"locality", "region", "country-name"} {
		if values := card.Properties[key]; len(values) > 0 {
			place(card, values[0])
			break
		}
	}
	for _, key := range []string{"adr", "location", "label"} {
		for _, v := range card.Properties[key] {
			if v.Item != nil {
				place(v.Item, v)
			}
			if v.Item == nil || len(c.who.Locations) == 0 {
				c.add(&c.who.Locations, v, v.Value, maxPlace)
			}
		}
	}
	for _, child := range card.Children {
		if slices.Contains(child.Type, "h-adr") {
			place(child, Property{node: child.node})
		}
	}
}

func (c cardReader) link(v Property) {
	if id, ok := Identify(v.Value); ok && id.Kind != kindEmail && len(c.who.Links) < maxFacets {
		c.add(&c.who.Links, v, id.URL, 2048)
	}
}

// propertySnippet quotes the element that a property was read from, or the value where the element shows nothing.
func propertySnippet(v Property) string {
	if v.node != nil {
		if s := snippet(shortText(v.node)); s != "" {
			return s
		}
	}
	return snippet(v.Value)
}

func nestedItem(item *Item, name string) *Item {
	for _, v := range item.Properties[name] {
		if v.Item != nil {
			return v.Item
		}
	}
	return nil
}
