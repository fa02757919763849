package extract

import (
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// How strongly an item claims to be whom the page is about.
const (
	asAuthor  = 1 // wrote something on it
	asTop     = 2 // stands on its own
	asSubject = 3 // the page is the item's own address, or its main entity
)

// candidate is a person that a page speaks of.
type candidate struct {
	facts    PersonFacts
	strength int
}

// whose decides whose page it is and merges what the page says about that
// person. A page about several people, or about nobody, is Unclear.
func whose(candidates []candidate) (PersonFacts, pipeline.RecordKind, int) {
	groups := [][]candidate{}
	for _, c := range candidates {
		if len(c.facts.Names) == 0 {
			continue // a person without a name cannot be told from another
		}
		home := -1
		for i := range groups {
			if sameAsAny(c, groups[i]) {
				home = i
				break
			}
		}
		if home < 0 {
			groups = append(groups, nil)
			home = len(groups) - 1
		}
		groups[home] = append(groups[home], c)
	}
	for _, strength := range []int{asSubject, asTop, asAuthor} {
		found := -1
		for i, g := range groups {
			if !slices.ContainsFunc(g, func(c candidate) bool { return c.strength >= strength }) {
				continue
			}
			if found >= 0 {
				return PersonFacts{}, pipeline.Unclear, 0
			}
			found = i
		}
		if found >= 0 {
			var who PersonFacts
			for _, c := range groups[found] {
				who.merge(c.facts)
			}
			return who, pipeline.Person, strength
		}
	}
	return PersonFacts{}, pipeline.Unclear, 0
}

// sameAsAny tells whether a candidate is one of a group: by name, or by an account or page of their own.
func sameAsAny(c candidate, group []candidate) bool {
	for _, g := range group {
		for _, a := range c.facts.Names {
			for _, b := range g.facts.Names {
				if sameName(a.Text, b.Text) {
					return true
				}
			}
		}
		for _, a := range c.facts.Links {
			for _, b := range g.facts.Links {
				if a.Text == b.Text {
					return true
				}
			}
		}
	}
	return false
}

// sameName compares names as a page writes them: letters only, without case and accents;
// a name of at least two words may leave middle names of the other out.
func sameName(a, b string) bool {
	x, y := nameWords(a), nameWords(b)
	if len(x) == 0 || len(y) == 0 {
		return false
	}
	if slices.Equal(x, y) {
		return true
	}
	if len(x) < 2 || len(y) < 2 {
		return false
	}
	return x[0] == y[0] && x[len(x)-1] == y[len(y)-1]
}

func nameWords(s string) []string {
	letters := func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case unicode.IsLetter(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return ' '
	}
	return strings.Fields(strings.Map(letters, norm.NFD.String(s)))
}

// merge adds what another item says about the same person and this one does not.
func (p *PersonFacts) merge(o PersonFacts) {
	for _, pair := range []struct {
		to   *[]Value
		from []Value
	}{{&p.Names, o.Names}, {&p.Headlines, o.Headlines}, {&p.Locations, o.Locations}, {&p.Companies, o.Companies},
		{&p.Roles, o.Roles}, {&p.Skills, o.Skills}, {&p.Emails, o.Emails}, {&p.Links, o.Links}} {
		for _, v := range pair.from {
			if len(*pair.to) < maxFacets {
				appendValue(pair.to, v)
			}
		}
	}
	for _, e := range o.Employers {
		i := slices.IndexFunc(p.Employers, func(have Employer) bool { return strings.EqualFold(have.Employer.Name, e.Employer.Name) })
		switch {
		case i < 0 && len(p.Employers) < maxFacets:
			p.Employers = append(p.Employers, e)
		case i >= 0:
			setOnce(&p.Employers[i].Domain, e.Domain)
			setOnce(&p.Employers[i].ROR, e.ROR)
		}
	}
	for _, job := range o.Positions {
		same := func(have Position) bool {
			return strings.EqualFold(have.Value.Text, job.Value.Text) && (have.StartYear == job.StartYear || have.StartYear == 0 || job.StartYear == 0)
		}
		if len(p.Positions) < maxFacets && !slices.ContainsFunc(p.Positions, same) {
			p.Positions = append(p.Positions, job)
		}
	}
	if p.BornYear == 0 {
		p.BornYear = o.BornYear
	}
	if p.DiedYear == 0 {
		p.DiedYear = o.DiedYear
	}
}

// schemaCandidates are the people of schema.org items that a page may be about.
func schemaCandidates(g *graph, pageURL string) []candidate {
	seen := map[*value]bool{}
	var out []candidate
	add := func(v *value, strength int) {
		v = g.follow(v)
		if !isType(v, "Person") || seen[v] || len(out) == 50 {
			return
		}
		seen[v] = true
		if g.isAbout(v, pageURL) {
			strength = asSubject
		}
		out = append(out, candidate{g.person(v), strength})
	}
	for _, v := range g.top {
		if isType(v, "ProfilePage", "AboutPage", "WebPage", "ItemPage", "ContactPage", "CollectionPage") {
			if g.heldAt.IsZero() {
				g.heldAt = parseDay(v.string("dateModified"))
			}
			for _, f := range v.fields["mainEntity"] {
				add(f, asSubject)
			}
		}
	}
	writers := g.onlyWriters()
	for _, v := range g.top {
		if isType(v, "Person") {
			if writers[v.string("@id")] {
				add(v, asAuthor)
			} else {
				add(v, asTop)
			}
		}
	}
	for _, v := range g.top {
		if isType(v, "Person", "Organization", "Corporation", "LocalBusiness") {
			continue
		}
		for _, f := range v.fields["about"] {
			add(f, asTop)
		}
		for _, key := range []string{"author", "creator", "publisher", "copyrightHolder", "accountablePerson"} {
			for _, f := range v.fields[key] {
				add(f, asAuthor)
			}
		}
	}
	return out
}

// onlyWriters are the ids of those who are named as authors and as nothing
// else: a list of items gives everybody a place of their own, also the login of whoever pressed "publish".
func (g *graph) onlyWriters() map[string]bool {
	ids := map[string]bool{}
	mark := func(names []string, writer bool) {
		for _, v := range g.top {
			for _, name := range names {
				for _, f := range v.fields[name] {
					if id := f.string("@id"); id != "" && writer {
						ids[id] = true
					} else {
						delete(ids, id)
					}
				}
			}
		}
	}
	mark([]string{"author", "creator", "editor", "contributor"}, true)
	mark([]string{"about", "mainEntity", "publisher", "copyrightHolder"}, false)
	return ids
}

// isAbout tells whether an item says that the page is its own.
func (g *graph) isAbout(v *value, pageURL string) bool {
	page := pageKey(pageURL)
	for _, name := range []string{"url", "mainEntityOfPage", "@id"} {
		for _, f := range v.fields[name][:min(len(v.fields[name]), maxFacets)] {
			link := f.text
			if f.kind == objectValue {
				link = f.string("@id")
				if full := g.byID[link]; full != nil && full.string("url") != "" {
					link = full.string("url")
				}
			}
			if page != "" && pageKey(link) == page {
				return true
			}
		}
	}
	return false
}

// organisation tells whether the page says that it is about an organisation.
func (g *graph) organisation(pageURL string) bool {
	for _, v := range g.top {
		if isType(v, "Organization", "Corporation", "LocalBusiness", "NGO", "CollegeOrUniversity", "EducationalOrganization") &&
			!isType(v, "Person") && g.isAbout(v, pageURL) {
			return true
		}
	}
	return false
}

// pageKey makes addresses of one page equal: without scheme, "www.", fragment and final slash or index file.
func pageKey(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" {
		return ""
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if i := strings.LastIndexByte(path, '/'); i >= 0 && strings.HasPrefix(path[i+1:], "index.") {
		path = path[:i]
	}
	key := strings.TrimPrefix(strings.ToLower(u.Host), "www.") + path
	if u.RawQuery != "" {
		key += "?" + u.RawQuery
	}
	return key
}

// cardCandidates are the people of microformats that a page may be about. The
// representative h-card (microformats.org/wiki/representative-h-card-parsing)
// is one whose uid and url are the page, whose url is also a rel="me", or the
// only one whose url is the page.
func cardCandidates(m *Microformats, pageURL string) []candidate {
	page := pageKey(pageURL)
	me := map[string]bool{}
	for _, link := range m.Rels["me"] {
		me[pageKey(link)] = true
	}
	var out []candidate
	add := func(card *Item, strength int) {
		if len(out) == 50 || organisationCard(card) {
			return
		}
		for _, name := range []string{"url", "uid"} {
			for _, v := range card.Properties[name] {
				if key := pageKey(v.Value); key != "" && (key == page || me[key]) {
					strength = asSubject
				}
			}
		}
		out = append(out, candidate{cardPerson(card), strength})
	}
	var visit func(item *Item, depth int)
	visit = func(item *Item, depth int) {
		switch {
		case slices.Contains(item.Type, "h-resume"):
			out = append(out, candidate{resumePerson(item), asTop})
		case slices.Contains(item.Type, "h-card"):
			add(item, asTop)
			return
		case slices.Contains(item.Type, "h-entry") || slices.Contains(item.Type, "h-feed"):
			for _, v := range item.Properties["author"] {
				if v.Item != nil && slices.Contains(v.Item.Type, "h-card") {
					add(v.Item, asAuthor)
				}
			}
		}
		if slices.Contains(item.Type, "h-feed") && depth == 0 {
			for _, child := range item.Children {
				if slices.Contains(child.Type, "h-entry") {
					visit(child, 1)
				}
			}
		}
	}
	for _, item := range m.Items {
		visit(item, 0)
	}
	return out
}

// organisationCard tells a card of an organisation: its name is its org.
func organisationCard(card *Item) bool {
	if slices.Contains(card.Type, "h-org") {
		return true
	}
	name, org := squeeze(firstText(card, "name")), squeeze(firstText(card, "org"))
	if org != "" && name == org {
		return true
	}
	words := strings.Fields(strings.ToLower(strings.TrimRight(name, ".")))
	return len(words) > 1 && companySuffixes[words[len(words)-1]]
}

// companySuffixes end the names of companies, and of nobody else.
var companySuffixes = set("inc incorporated ltd limited llc llp plc gmbh ag kg ug bv b.v nv n.v srl s.r.l sarl s.a.r.l corp corporation foundation university")
