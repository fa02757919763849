package extract

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Microformats is what microformats2 parsing finds in a document
// (microformats.org/wiki/microformats2-parsing); marshalled, it is the
// canonical JSON.
type Microformats struct {
	Items   []*Item             `json:"items"`
	Rels    map[string][]string `json:"rels"`     // addresses by rel value, in document order
	RelURLs map[string]*RelURL  `json:"rel-urls"` // by address
}

// Item is one microformat.
type Item struct {
	Type       []string              `json:"type"` // sorted: "h-card"
	Properties map[string][]Property `json:"properties"`
	ID         string                `json:"id,omitempty"`
	Children   []*Item               `json:"children,omitempty"` // nested ones that are no property

	node *html.Node
}

// Property is one value of a property: text, an image with its alternative
// text, embedded markup, or a nested microformat.
type Property struct {
	Value string
	Alt   *string // of an img
	HTML  *string // of e-*
	Item  *Item   // Value is then its plain form

	node *html.Node
}

// MarshalJSON writes a text as a string, and an object otherwise.
func (p Property) MarshalJSON() ([]byte, error) {
	if p.Item == nil && p.Alt == nil && p.HTML == nil {
		return json.Marshal(p.Value)
	}
	type value struct {
		*Item
		Value string  `json:"value"`
		Alt   *string `json:"alt,omitempty"`
		HTML  *string `json:"html,omitempty"`
	}
	return json.Marshal(value{p.Item, p.Value, p.Alt, p.HTML})
}

// RelURL is what the links with a rel attribute say about one address.
type RelURL struct {
	Rels     []string `json:"rels"` // sorted
	Text     string   `json:"text,omitempty"`
	Media    string   `json:"media,omitempty"`
	HrefLang string   `json:"hreflang,omitempty"`
	Title    string   `json:"title,omitempty"`
	Type     string   `json:"type,omitempty"`
}

// ParseMicroformats reads the microformats of an HTML text. Relative
// addresses are resolved against its <base>, or pageURL.
func ParseMicroformats(source, pageURL string) *Microformats {
	t := parseTree(source)
	return parseMicroformats(t, baseURL(t, pageURL))
}

// maxMFWork bounds the text that values are made of, in bytes: properties
// nested in one another would otherwise repeat the whole page at every depth.
const maxMFWork = 2 << 20

// maxCopies is how often one item may stand in the result.
const maxCopies = 16

type mfParser struct {
	base  *url.URL
	out   *Microformats
	work  int // bytes and nodes spent on values
	items int
	rels  map[[2]string]bool // pairs of rel value and address that are noted

	doc       *html.Node
	ids       map[string]*html.Node // made when something is included
	including bool
}

// mfContext is the item whose properties are being collected.
type mfContext struct {
	item             *Item
	v1               []string // v1 root classes, when read for backward compatibility
	copies           int      // how often the item stands in the result
	sawP, sawU, sawE bool     // explicit properties, which stop implied ones
	nested           bool
	lastDate         string // of the dt- property read last
	timeOnly         []timeOnly
}

// timeOnly is a dt- value that has a time and waits for another property's date.
type timeOnly struct {
	name  string
	index int
}

func parseMicroformats(t *tree, base *url.URL) *Microformats { return readMicroformats(t, base).out }

func readMicroformats(t *tree, base *url.URL) *mfParser {
	p := &mfParser{base: base, doc: t.doc, rels: map[[2]string]bool{}, out: &Microformats{Items: []*Item{}, Rels: map[string][]string{}, RelURLs: map[string]*RelURL{}}}
	p.children(t.doc, nil)
	walk(t.doc, func(n *html.Node) bool {
		if n.Type == html.ElementNode && (n.DataAtom == atom.A || n.DataAtom == atom.Area || n.DataAtom == atom.Link) {
			p.rel(n)
		}
		return n.DataAtom != atom.Template
	})
	return p
}

// children looks for microformats among the elements below n.
func (p *mfParser) children(n *html.Node, c *mfContext) {
	for e := n.FirstChild; e != nil; e = e.NextSibling {
		if e.Type == html.ElementNode && e.DataAtom != atom.Template && p.work < maxMFWork {
			p.element(e, c)
		}
	}
}

// element reads one element as a root, as properties of c, or neither, and goes below it.
func (p *mfParser) element(e *html.Node, c *mfContext) {
	if p.including {
		p.work += 8 // what is included over and over is paid for each time
	}
	classes := classList(e)
	if c != nil && c.v1 != nil && slices.Contains(classes, "include") {
		p.include(c, attr(e, "href")+attr(e, "data"))
		return
	}
	types, v1 := rootTypes(classes)
	var props []mfProperty
	if c != nil {
		if c.v1 == nil {
			props = propertyClasses(classes)
		} else {
			props = v1Properties(c.v1, classes, e)
			types, v1 = v1Root(props, types, v1)
		}
	}
	if len(types) > 0 && p.items < maxRootsIn {
		copies := 1
		if c != nil {
			// An item that is several properties stands in the result once for each; nested, that would grow exponentially.
			if c.copies*len(props) > maxCopies {
				props = props[:1]
			}
			copies = c.copies * max(1, len(props))
		}
		item := p.item(e, types, v1, copies)
		switch {
		case c == nil:
			p.out.Items = append(p.out.Items, item)
			return
		case len(props) == 0:
			c.item.Children = append(c.item.Children, item)
		}
		c.nested = true
		for _, prop := range props {
			p.addNested(c, prop, e, item)
		}
		return
	}
	for _, prop := range props {
		v := p.value(prop.prefix, e)
		if prop.tag {
			v = Property{Value: lastSegment(attr(e, "href")), node: e}
		}
		p.add(c, prop, v)
	}
	p.children(e, c)
}

// item parses a root and all below it.
func (p *mfParser) item(e *html.Node, types, v1 []string, copies int) *Item {
	p.items++
	item := &Item{Type: types, Properties: map[string][]Property{}, ID: attr(e, "id"), node: e}
	c := &mfContext{item: item, v1: v1, copies: copies}
	p.children(e, c)
	if v1 != nil {
		p.include(c, attr(e, "itemref"))
		p.include(c, attr(e, "headers"))
	}
	for _, late := range c.timeOnly { // a date that came only later
		if c.lastDate != "" {
			v := &item.Properties[late.name][late.index]
			v.Value = c.lastDate + " " + v.Value
		}
	}
	if v1 == nil {
		p.imply(e, c)
	}
	return item
}

// add puts a value into the item that c collects.
func (p *mfParser) add(c *mfContext, prop mfProperty, v Property) {
	c.note(prop)
	if prop.prefix == "dt" {
		date, clock := splitDate(v.Value)
		switch {
		case date != "":
			c.lastDate = date
		case clock && c.lastDate != "":
			v.Value = c.lastDate + " " + v.Value
		case clock:
			c.timeOnly = append(c.timeOnly, timeOnly{prop.name, len(c.item.Properties[prop.name])})
		}
	}
	c.item.Properties[prop.name] = append(c.item.Properties[prop.name], v)
}

// addNested puts a nested microformat into a property, with the plain value that its prefix asks for.
func (p *mfParser) addNested(c *mfContext, prop mfProperty, e *html.Node, item *Item) {
	c.note(prop)
	v := Property{}
	switch name, url := firstText(item, "name"), firstText(item, "url"); {
	case prop.prefix == "p" && name != "":
		v.Value = name
	case prop.prefix == "u" && url != "":
		v.Value = url
	default:
		v = p.value(prop.prefix, e)
	}
	v.Item, v.node = item, e
	c.item.Properties[prop.name] = append(c.item.Properties[prop.name], v)
}

func (c *mfContext) note(prop mfProperty) {
	switch prop.prefix {
	case "p":
		c.sawP = true
	case "u":
		c.sawU = true
	case "e":
		c.sawE = true
	}
}

// firstText is the first value of a property that is plain text or an image; "" without one.
func firstText(item *Item, name string) string {
	if values := item.Properties[name]; len(values) > 0 {
		return values[0].Value
	}
	return ""
}

// rel notes a link with a rel attribute.
func (p *mfParser) rel(e *html.Node) {
	href, ok := lookupAttr(e, "href")
	rels := wordsOf(attr(e, "rel"))
	if !ok || len(rels) == 0 {
		return
	}
	address := resolve(p.base, href)
	for _, r := range rels {
		if pair := [2]string{r, address}; !p.rels[pair] {
			p.rels[pair] = true
			p.out.Rels[r] = append(p.out.Rels[r], address)
		}
	}
	r := p.out.RelURLs[address]
	if r == nil {
		r = &RelURL{}
		p.out.RelURLs[address] = r
	}
	r.Rels = union(r.Rels, rels)
	slices.Sort(r.Rels)
	if r.Text == "" && p.work < maxMFWork {
		r.Text = strings.TrimFunc(p.plainText(e, imgDropped), isSpace)
	}
	setOnce(&r.Media, attr(e, "media"))
	setOnce(&r.HrefLang, attr(e, "hreflang"))
	setOnce(&r.Title, attr(e, "title"))
	setOnce(&r.Type, attr(e, "type"))
}

func setOnce(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// mfProperty is one property that an element has.
type mfProperty struct {
	prefix string // p, u, dt or e
	name   string
	// Backward compatibility only:
	root    string // the microformat that the property is by definition, if any
	context string // the v1 root whose property classes count inside it
	tag     bool   // rel="tag": the value is the last segment of the address
}

// vocabularyName tells whether the part of a class behind its prefix is a name:
// an optional vendor prefix of letters and digits, then words of lower-case letters, dashes between.
func vocabularyName(s string) bool {
	for i := 0; ; i++ {
		word, rest, more := strings.Cut(s, "-")
		digits := 0
		for j := 0; j < len(word); j++ {
			switch c := word[j]; {
			case 'a' <= c && c <= 'z':
			case '0' <= c && c <= '9':
				digits++
			default:
				return false
			}
		}
		if word == "" || digits > 0 && (i > 0 || !more) {
			return false // only a vendor prefix may have digits
		}
		if !more {
			return true
		}
		s = rest
	}
}

func classList(e *html.Node) []string {
	return wordsOf(attr(e, "class"))
}

// wordsOf splits an attribute that is a list of words; of a list that no person would write only the beginning counts.
func wordsOf(list string) []string {
	const most = 100
	if list == "" {
		return nil
	}
	words := strings.FieldsFunc(list[:min(len(list), 16<<10)], isSpace)
	return words[:min(len(words), most)]
}

// rootTypes tells which microformats an element begins; v1 holds the old root
// classes when it has no class of version 2.
func rootTypes(classes []string) (types, v1 []string) {
	for _, class := range classes {
		if strings.HasPrefix(class, "h-") && vocabularyName(class[2:]) && !slices.Contains(types, class) {
			types = append(types, class)
		}
	}
	if len(types) == 0 {
		for _, class := range classes {
			if t := v1Roots[class]; t != "" && !slices.Contains(v1, class) {
				v1, types = append(v1, class), append(types, t)
			}
		}
	}
	slices.Sort(types)
	return types, v1
}

// propertyClasses are the properties of version 2 that an element has.
func propertyClasses(classes []string) []mfProperty {
	var props []mfProperty
	for i, class := range classes {
		prefix, name, ok := strings.Cut(class, "-")
		if !ok || prefix != "p" && prefix != "u" && prefix != "dt" && prefix != "e" {
			continue
		}
		if vocabularyName(name) && !slices.Contains(classes[:i], class) {
			props = append(props, mfProperty{prefix: prefix, name: name})
		}
	}
	return props
}
