package extract

import (
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Names of the readers of attributes in evidence.
const (
	extractorMicrodata = "microdata/1"
	extractorRDFa      = "rdfa/1"
)

// maxMarkupText bounds the text taken from properties, which may lie inside one another.
const maxMarkupText = 1 << 20

// markup reads items that are spread over attributes: microdata (HTML,
// section 5) and RDFa Lite 1.1. Both become the values that JSON-LD has.
type markup struct {
	base  *url.URL
	byID  map[string]*html.Node // for itemref
	rdfa  bool
	top   []*value
	items int
	text  int // bytes taken so far
}

func microdataItems(t *tree, base *url.URL) *graph {
	m := &markup{base: base, byID: map[string]*html.Node{}}
	found := false
	walk(t.doc, func(n *html.Node) bool {
		if n.Type == html.ElementNode {
			if id := attr(n, "id"); id != "" && m.byID[id] == nil {
				m.byID[id] = n
			}
			if _, ok := lookupAttr(n, "itemscope"); ok {
				found = true
			}
		}
		return n.DataAtom != atom.Template
	})
	if found {
		m.read(t.doc, nil, false)
	}
	return newGraph(extractorMicrodata, m.top)
}

func rdfaItems(t *tree, base *url.URL) *graph {
	m := &markup{base: base, rdfa: true}
	m.read(t.doc, nil, false)
	return newGraph(extractorRDFa, m.top)
}

// read goes through n and below; item is the item that properties belong to. schema says that an RDFa vocab of schema.org is in force.
func (m *markup) read(n *html.Node, item *value, schema bool) {
	if n.Type == html.ElementNode {
		if n.DataAtom == atom.Template || n.DataAtom == atom.Script || n.DataAtom == atom.Style {
			return
		}
		if len(n.Attr) > 0 {
			item, schema = m.element(n, item, schema)
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		m.read(c, item, schema)
	}
}

// element reads the attributes of one element and answers the item and the vocabulary for what lies below it.
func (m *markup) element(n *html.Node, item *value, schema bool) (*value, bool) {
	var inner *value
	var props []string
	if m.rdfa {
		if vocab, ok := lookupAttr(n, "vocab"); ok {
			schema = isSchemaOrg(vocab)
		}
		if typeof, ok := lookupAttr(n, "typeof"); ok {
			inner = m.newItem(schemaTerms(typeof, schema), attr(n, "resource")+attr(n, "about"))
		}
		props = schemaTerms(attr(n, "property"), schema)
	} else {
		if _, ok := lookupAttr(n, "itemscope"); ok {
			names := []string{}
			for _, t := range wordsOf(attr(n, "itemtype")) {
				if short := shortName(t); short != t {
					names = append(names, short)
				}
			}
			inner = m.newItem(names, attr(n, "itemid"))
		}
		for _, p := range wordsOf(attr(n, "itemprop")) {
			props = append(props, shortName(p))
		}
	}
	if item != nil && len(props) > 0 {
		v := inner
		if v == nil {
			v = m.property(n, props[0])
		}
		for _, p := range props {
			item.fields[p] = append(item.fields[p], v)
		}
	} else if inner != nil {
		m.top = append(m.top, inner)
	}
	if inner == nil {
		return item, schema
	}
	inner.raw = m.textOf(n)
	if refs := attr(n, "itemref"); refs != "" && !m.rdfa {
		for _, id := range wordsOf(refs) {
			// An item may not contain itself; taking each target once keeps references from going round.
			if target := m.byID[id]; target != nil && m.items < maxRootsIn {
				delete(m.byID, id)
				m.read(target, inner, schema)
			}
		}
	}
	return inner, schema
}

func (m *markup) newItem(typeNames []string, id string) *value {
	if m.items++; m.items > maxRootsIn {
		return nil
	}
	v := &value{kind: objectValue, fields: map[string][]*value{}}
	for _, t := range typeNames {
		v.fields["@type"] = append(v.fields["@type"], &value{kind: textValue, text: t})
	}
	if id = strings.TrimSpace(id); id != "" {
		v.fields["@id"] = []*value{{kind: textValue, text: resolve(m.base, id)}}
	}
	return v
}

// property is the value of a property that is no item.
func (m *markup) property(n *html.Node, name string) *value {
	v := &value{kind: textValue, raw: m.textOf(n)}
	if content, ok := lookupAttr(n, "content"); ok {
		v.text, v.raw = content, content
		return v
	}
	link := ""
	switch n.DataAtom {
	case atom.A, atom.Area, atom.Link:
		link = attr(n, "href")
	case atom.Img, atom.Audio, atom.Video, atom.Source, atom.Iframe, atom.Embed, atom.Track:
		link = attr(n, "src")
	case atom.Object:
		link = attr(n, "data")
	case atom.Data, atom.Meter:
		v.text = attr(n, "value")
		return v
	case atom.Time:
		if datetime, ok := lookupAttr(n, "datetime"); ok {
			v.text = datetime
			return v
		}
	}
	if m.rdfa && link == "" {
		link = attr(n, "resource")
	}
	// The standards take the address wherever there is one; people who link a name or a title mean its text.
	if link != "" && (!textProperties[name] || v.raw == "") {
		v.text = resolve(m.base, link)
		if v.raw == "" {
			v.raw = link
		}
		return v
	}
	v.text = v.raw
	return v
}

// textProperties are those whose value is a text even on a link.
var textProperties = set(`name givenName familyName additionalName alternateName jobTitle roleName description disambiguatingDescription
	headline addressLocality addressRegion addressCountry streetAddress postalCode knowsAbout skills legalName`)

func (m *markup) textOf(n *html.Node) string {
	if m.text > maxMarkupText {
		return ""
	}
	s := text(n)
	m.text += len(s) + 16
	return s
}

func isSchemaOrg(vocab string) bool {
	host := strings.TrimSuffix(withoutScheme(strings.TrimSpace(vocab)), "/")
	return host == "schema.org"
}

// schemaTerms are the schema.org terms in a list of RDFa terms.
func schemaTerms(list string, schema bool) []string {
	var out []string
	for _, t := range wordsOf(list) {
		short := shortName(t)
		if short != t || schema && !strings.Contains(t, ":") {
			out = append(out, short)
		}
	}
	return out
}
