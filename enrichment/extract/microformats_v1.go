package extract

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Backward compatibility: which classes of the first microformats mean what in
// version 2, from the "backward compatibility" sections of each vocabulary at
// microformats.org/wiki (h-card, h-entry, h-review, …).

// v1Roots are the old root classes.
var v1Roots = map[string]string{
	"adr": "h-adr", "geo": "h-geo", "vcard": "h-card", "vevent": "h-event", "hentry": "h-entry", "hfeed": "h-feed", "hnews": "h-news",
	"hproduct": "h-product", "hrecipe": "h-recipe", "hresume": "h-resume", "hreview": "h-review", "hreview-aggregate": "h-review-aggregate",
	"hlisting": "h-listing", "hmedia": "h-media",
}

// v1Classes maps, for each old root, its property classes. A value is
// "prefix-name", followed by the microformat that the property is and the root
// whose classes count inside it where the vocabulary fixes them.
var v1Classes = v1Table(map[string]string{
	"adr": `post-office-box=p extended-address=p street-address=p locality=p region=p postal-code=p country-name=p label=p`,
	"geo": `latitude=p longitude=p altitude=p`,
	"vcard": `fn=p-name url=u honorific-prefix=p given-name=p additional-name=p family-name=p honorific-suffix=p nickname=p email=u
		logo=u photo=u uid=u key=u sound=u category=p adr=p,h-adr,adr geo=p,h-geo,geo latitude=p longitude=p
		extended-address=p street-address=p locality=p region=p postal-code=p country-name=p post-office-box=p label=p
		tel=p note=p bday=dt rev=dt org=p organization-name=p organization-unit=p title=p-job-title role=p tz=p mailer=p agent=p
		class=p sort-string=p`,
	"hentry": `entry-title=p-name entry-summary=p-summary entry-content=e-content published=dt updated=dt author=p,h-card,vcard
		category=p geo=p,h-geo,geo latitude=p longitude=p`,
	"hfeed": `author=p,h-card,vcard photo=u url=u category=p site-description=p-summary description=p-summary site-title=p-name title=p-name`,
	"hnews": `entry=p geo=p,h-geo,geo latitude=p longitude=p source-org=p dateline=p item-license=u principles=u`,
	"vevent": `summary=p-name dtstart=dt-start dtend=dt-end duration=dt description=p url=u category=p location=p geo=p,h-geo,geo
		attendee=p contact=p organizer=p uid=u class=p status=p attach=u dtstamp=dt last-modified=dt-last-modified`,
	"hproduct": `fn=p-name photo=u brand=p category=p description=p identifier=u url=u review=p price=p`,
	"hrecipe": `fn=p-name ingredient=p yield=p instructions=e duration=dt photo=u summary=p author=p,h-card,vcard published=dt
		nutrition=p category=p tag=p-category`,
	"hresume": `summary=p contact=p,h-card,vcard education=p,h-event,vevent experience=p,h-event,vevent skill=p affiliation=p,h-card,vcard
		publication=p`,
	"hreview": `summary=p-name item=p,h-item,item reviewer=p-author,h-card,vcard dtreviewed=dt-published rating=p best=p worst=p
		description=e-content category=p permalink=u-url`,
	"hreview-aggregate": `summary=p-name item=p,h-item,item rating=p best=p worst=p average=p count=p votes=p category=p`,
	"hlisting": `version=p lister=p,h-card,vcard dtlisted=dt dtexpired=dt price=p item=p,h-item,item summary=p-name description=e-content
		action=p permalink=u-url category=p`,
	"hmedia": `fn=p-name contributor=p photo=u player=u enclosure=u`,
	"item":   `fn=p-name url=u photo=u`,
})

// v1Table reads the table above.
func v1Table(source map[string]string) map[string]map[string]mfProperty {
	table := map[string]map[string]mfProperty{}
	for root, lines := range source {
		table[root] = map[string]mfProperty{}
		for _, entry := range strings.Fields(lines) {
			class, means, _ := strings.Cut(entry, "=")
			parts := strings.Split(means, ",")
			prefix, name, named := strings.Cut(parts[0], "-")
			if !named {
				name = class
			}
			p := mfProperty{prefix: prefix, name: name}
			if len(parts) == 3 {
				p.root, p.context = parts[1], parts[2]
			}
			table[root][class] = p
		}
	}
	return table
}

// v1Properties are the properties that an element has inside an item of the old roots.
func v1Properties(roots, classes []string, e *html.Node) []mfProperty {
	var props []mfProperty
	add := func(p mfProperty) {
		if !slices.ContainsFunc(props, func(q mfProperty) bool { return q.prefix == p.prefix && q.name == p.name }) {
			props = append(props, p)
		}
	}
	for _, class := range classes {
		for _, root := range roots {
			if p, ok := v1Classes[root][class]; ok {
				add(p)
			}
		}
	}
	rels := wordsOf(strings.ToLower(attr(e, "rel")))
	if len(rels) == 0 {
		return props
	}
	for _, root := range roots {
		bookmark, self := slices.Contains(rels, "bookmark"), slices.Contains(rels, "self")
		switch root {
		case "hentry":
			if bookmark {
				add(mfProperty{prefix: "u", name: "url"})
			}
		case "hreview", "hreview-aggregate":
			if bookmark && self {
				add(mfProperty{prefix: "u", name: "url"})
			}
		}
		switch root {
		case "hentry", "hfeed", "hrecipe", "hreview", "hreview-aggregate":
			if slices.Contains(rels, "tag") {
				add(mfProperty{prefix: "p", name: "category", tag: true})
			}
		}
	}
	return props
}

// v1Root adds the microformat that a property is by definition to those that
// the element's own classes name. Where the element is a microformat of
// version 2 that one alone counts; an item that is anything in particular is no mere h-item.
func v1Root(props []mfProperty, types, v1 []string) (allTypes, allV1 []string) {
	if len(types) > 0 && v1 == nil {
		return types, v1
	}
	for _, p := range props {
		if p.root == "" || p.context == "item" && len(types) > 0 {
			continue
		}
		if !slices.Contains(types, p.root) {
			types = append(types, p.root)
		}
		if !slices.Contains(v1, p.context) {
			v1 = append(v1, p.context)
		}
	}
	slices.Sort(types)
	return types, v1
}

// include reads elements that lie elsewhere as if they were here
// (microformats.org/wiki/include-pattern): refs are ids, with or without "#".
// What is included includes nothing in turn, so that nothing includes itself.
func (p *mfParser) include(c *mfContext, refs string) {
	if refs == "" || p.including {
		return
	}
	if p.ids == nil {
		p.ids = map[string]*html.Node{}
		walk(p.doc, func(n *html.Node) bool {
			if id := attr(n, "id"); id != "" && p.ids[id] == nil {
				p.ids[id] = n
			}
			return n.DataAtom != atom.Template
		})
	}
	p.including = true
	for _, id := range wordsOf(refs) {
		if target := p.ids[strings.TrimPrefix(id, "#")]; target != nil && p.work < maxMFWork {
			p.element(target, c)
		}
	}
	p.including = false
}

// lastSegment is the last part of an address's path, decoded: what a rel="tag" link is about.
func lastSegment(address string) string {
	u, err := url.Parse(strings.TrimFunc(address, isSpace))
	if err != nil {
		return ""
	}
	path := strings.TrimRight(u.Path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}
