package extract

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

const extractorLink = "link/1"

// Page reads one document and tells what it says about whom. It reads HTML,
// and JSON documents that are a JSON Resume or JSON-LD. It never fails: from a
// document that it cannot read come empty Facts of an unclear kind.
func Page(d Document) *Facts {
	f := &Facts{URL: withoutFragment(d.URL), Truncated: len(d.Body) > MaxBytes, Links: []Link{}}
	if !readable(d.ContentType) {
		return f
	}
	source := decode(d.ContentType, d.Body[:min(len(d.Body), MaxBytes)])
	if isJSON(d, source) {
		f.json(source, d.Header)
		return f
	}
	t := parseTree(source)
	f.Truncated = f.Truncated || t.truncated
	f.page(t, d.Header)
	return f
}

// readable tells types that hold text: a picture or a PDF gives nothing.
func readable(contentType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch kind = strings.TrimSpace(kind); {
	case kind == "" || strings.HasPrefix(kind, "text/") || kind == "application/octet-stream":
		return true
	default:
		return strings.HasSuffix(kind, "json") || strings.HasSuffix(kind, "xml")
	}
}

// isJSON tells JSON documents by their type, or by how they begin where the type says nothing.
func isJSON(d Document, source string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(d.ContentType), ";")
	kind = strings.TrimSpace(kind)
	if strings.HasSuffix(kind, "/json") || strings.HasSuffix(kind, "+json") {
		return true
	}
	begins := strings.TrimLeftFunc(source[:min(len(source), 200)], func(r rune) bool { return isSpace(r) || r == '\ufeff' })
	return (kind == "" || kind == "text/plain" || kind == "application/octet-stream") && strings.HasPrefix(begins, "{")
}

// json reads a document that is JSON.
func (f *Facts) json(source string, header map[string]string) {
	if f.OptOut = readWishes(nil, header).optOut; f.OptOut != "" {
		return
	}
	values := readJSON(source)
	var candidates []candidate
	for _, v := range values {
		if who, ok := jsonResume(v); ok {
			candidates = append(candidates, candidate{who, asSubject})
		}
	}
	if len(candidates) == 0 {
		g := newGraph(extractorJSONLD, values)
		candidates = schemaCandidates(g, f.URL)
	}
	f.Person, f.Kind, _ = whose(candidates)
}

// page reads an HTML document.
func (f *Facts) page(t *tree, header map[string]string) {
	base := baseURL(t, f.URL)
	f.Links = pageLinks(t, f.URL, base)
	f.Title = pageTitle(t)
	wish := readWishes(t, header)
	if wish.noFollow {
		for i := range f.Links {
			f.Links[i].Rank = 0
		}
	}
	if f.OptOut = wish.optOut; f.OptOut != "" {
		return
	}
	shown := findAddresses(t)
	f.NoContact = noContactNotice(strings.Join(shown.lines, "\n"))

	ld, micro, rdfa := jsonldScripts(t), microdataItems(t, base), rdfaItems(t, base)
	meta := readMeta(t)
	mf := parseMicroformats(t, base)
	candidates := schemaCandidates(ld, f.URL)
	candidates = append(candidates, cardCandidates(mf, f.URL)...)
	candidates = append(candidates, schemaCandidates(micro, f.URL)...)
	candidates = append(candidates, schemaCandidates(rdfa, f.URL)...)
	structured := slices.ContainsFunc(candidates, func(c candidate) bool { return len(c.facts.Names) > 0 })
	if who, ok := meta.person(); ok {
		strength := asTop
		if structured {
			strength = asAuthor // weak: it adds to somebody, it does not decide
		}
		candidates = append(candidates, candidate{who, strength})
	} else if !structured && !manyPeople(ld, micro, rdfa) {
		if who, ok := f.textPerson(t, meta, shown.lines); ok {
			candidates = append(candidates, candidate{who, asTop})
		}
	}
	var strength int
	f.Person, f.Kind, strength = whose(candidates)
	if f.Kind != pipeline.Person {
		if len(candidates) == 0 && (ld.organisation(f.URL) || micro.organisation(f.URL)) {
			f.Kind = pipeline.Organisation
		}
		return
	}
	if strength > asAuthor {
		// An author need not own the page, so addresses and links that merely stand on it are not the author's.
		others := f.others(mf, ld, micro, rdfa)
		f.addAddresses(shown.found, others)
		f.addAccounts(others)
	}
	f.Bio = bio(t, t.nodes, f.URL)
}

// addAddresses takes over the addresses that the page shows, but none that
// structured data gives to somebody else, and no shared mailbox of another
// site ("support@" of whoever made the theme). Of a few, those that are links
// or were hidden from harvesters are the person's, and plain ones that resemble the
// name or belong to the page's own site; of many, only those that resemble the name.
func (f *Facts) addAddresses(found []Value, others map[string]bool) {
	found = slices.DeleteFunc(slices.Clone(found), func(v Value) bool {
		local, domain, _ := strings.Cut(strings.ToLower(v.Text), "@")
		return others[strings.ToLower(v.Text)] || sharedMailboxes[local] && !SameSite("https://"+domain, f.URL)
	})
	const few = 3
	for _, v := range found {
		local, domain, _ := strings.Cut(strings.ToLower(v.Text), "@")
		meant := v.Extractor != extractorText || SameSite("https://"+domain, f.URL)
		if len(found) == 1 || len(found) <= few && meant || resembles(local, f.Person.Names) || resembles(domain, f.Person.Names) {
			appendValue(&f.Person.Emails, v)
		}
	}
}

// sharedMailboxes are local parts behind which nobody in particular sits.
var sharedMailboxes = set(`support info help sales press media abuse webmaster postmaster hostmaster admin administrator noreply no-reply
	privacy legal office service newsletter marketing billing security jobs careers team root feedback contact`)

// others are the addresses and accounts that structured data gives to anybody but the person.
func (f *Facts) others(mf *Microformats, graphs ...*graph) map[string]bool {
	o := map[string]bool{}
	note := func(raw string) {
		if id, ok := Identify(raw); ok && len(o) < maxLinks {
			o[id.URL+id.Value] = true
			if id.Kind == kindEmail {
				o[id.Value] = true
			}
		}
	}
	seen := map[*Item]bool{} // an item may be several properties of another
	var items func(list []*Item)
	items = func(list []*Item) {
		for _, item := range list {
			if seen[item] {
				continue
			}
			seen[item] = true
			for _, name := range slices.Sorted(maps.Keys(item.Properties)) {
				for _, v := range item.Properties[name] {
					if (name == "email" || name == "url") && strings.ContainsAny(v.Value, "@:") {
						note(v.Value)
					}
					if v.Item != nil {
						items([]*Item{v.Item})
					}
				}
			}
			items(item.Children)
		}
	}
	items(mf.Items)
	budget := maxMarked
	var values func(v *value, depth int)
	values = func(v *value, depth int) {
		if budget--; budget < 0 || depth > maxJSONDepth {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(v.fields)) {
			for _, w := range v.fields[name] {
				switch {
				case w.kind == objectValue:
					values(w, depth+1)
				case name == "email" || name == "sameAs" || name == "url":
					note(w.text)
				}
			}
		}
	}
	for _, g := range graphs {
		for _, v := range g.top {
			values(v, 0)
		}
	}
	for _, v := range f.Person.Emails {
		delete(o, strings.ToLower(v.Text))
	}
	for _, v := range f.Person.Links {
		if id, ok := Identify(v.Text); ok {
			delete(o, id.URL+id.Value)
		}
	}
	return o
}

// resembles tells whether a local part contains a word of one of the names.
func resembles(local string, names []Value) bool {
	for _, n := range names {
		for _, w := range nameWords(n.Text) {
			if len(w) >= 3 && strings.Contains(local, w) {
				return true
			}
		}
	}
	return false
}

// addAccounts takes over the accounts that the page links to as its person's
// own: by rel="me", or as the only account with a service, under a link that
// carries the service's name, the account's name, or an icon alone.
func (f *Facts) addAccounts(others map[string]bool) {
	type account struct {
		link Link
		id   pipeline.Identifier
	}
	byKind := map[string][]account{}
	for _, l := range f.Links {
		id, ok := Identify(l.URL)
		if !ok {
			continue
		}
		if l.Me() {
			f.addLink(l, id)
		}
		if others[id.URL+id.Value] {
			continue
		}
		if id.Kind != kindLink && id.Kind != kindWebsite && !slices.ContainsFunc(byKind[id.Kind], func(a account) bool { return a.id.Value == id.Value }) {
			byKind[id.Kind] = append(byKind[id.Kind], account{l, id})
		}
	}
	for _, l := range f.Links {
		id, ok := Identify(l.URL)
		if !ok || len(byKind[id.Kind]) != 1 || byKind[id.Kind][0].link.URL != l.URL {
			continue
		}
		label := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(l.Text), "@"))
		account, _, _ := strings.Cut(id.Value, "@")
		if label == "" || label == id.Value || label == account || len(strings.Fields(label)) <= 4 && serviceNamed(label, id.Kind) {
			f.addLink(l, id)
		}
	}
}

// serviceNamed tells whether a short label names the service.
func serviceNamed(label, kind string) bool {
	for _, word := range serviceWords[kind] {
		if strings.Contains(label, word) {
			return true
		}
	}
	return false
}

var serviceWords = map[string][]string{
	kindGitHub: {"github"}, kindORCID: {"orcid"}, kindOpenAlex: {"openalex"}, kindLinkedIn: {"linkedin", "linked in"},
	kindStackExchange: {"stack overflow", "stackoverflow", "stack exchange", "stackexchange", "mathoverflow"},
	kindMastodon:      {"mastodon", "fediverse"}, kindBluesky: {"bluesky", "bsky"}, kindDBLP: {"dblp"}, kindWikidata: {"wikidata"}, kindTwitter: {"twitter", "x.com"},
}

func (f *Facts) addLink(l Link, id pipeline.Identifier) {
	rel := ""
	if len(l.Rel) > 0 {
		rel = ` rel="` + strings.Join(l.Rel, " ") + `"`
	}
	appendValue(&f.Person.Links, Value{Text: id.URL, Snippet: snippet(`<a href="` + l.URL + `"` + rel + ">" + l.Text + "</a>"), Extractor: extractorLink})
}

// manyPeople tells whether structured data lists people without any being the main one.
func manyPeople(graphs ...*graph) bool {
	people := 0
	for _, g := range graphs {
		for _, v := range g.top {
			for _, key := range []string{"employee", "employees", "member", "members", "founder", "founders", "itemListElement"} {
				people += len(v.fields[key])
			}
		}
	}
	return people > 1
}

func pageTitle(t *tree) string {
	title := ""
	walk(t.doc, func(n *html.Node) bool {
		if title == "" && n.Type == html.ElementNode && n.DataAtom == atom.Title && n.FirstChild != nil {
			title = cut(squeeze(n.FirstChild.Data), maxSnippet)
		}
		return title == "" && n.DataAtom != atom.Template && n.DataAtom != atom.Svg
	})
	return title
}

// baseURL is what relative links are read against: the first <base> with an address, or the page.
func baseURL(t *tree, pageURL string) *url.URL {
	page, err := url.Parse(pageURL)
	if err != nil {
		page = &url.URL{}
	}
	base, done := page, false
	walk(t.doc, func(n *html.Node) bool {
		if done || n.Type == html.ElementNode && n.DataAtom == atom.Template {
			return false
		}
		if n.Type == html.ElementNode && n.DataAtom == atom.Base {
			if href, ok := lookupAttr(n, "href"); ok {
				done = true
				if u, err := page.Parse(href); err == nil {
					base = u
				}
			}
		}
		return true
	})
	return base
}
