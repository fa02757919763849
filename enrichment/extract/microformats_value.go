package extract

import (
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// value parses an element for a property with the given prefix.
func (p *mfParser) value(prefix string, e *html.Node) Property {
	v := Property{node: e}
	switch prefix {
	case "u":
		v = p.urlValue(e)
	case "dt":
		v.Value = p.dateValue(e)
	case "e":
		markup := strings.TrimFunc(p.innerHTML(e), unicode.IsSpace)
		v.HTML = &markup
		v.Value = strings.TrimFunc(p.plainText(e, imgAltOrSrc), unicode.IsSpace)
	default:
		v.Value = p.textValue(e)
	}
	v.node = e
	return v
}

// textValue parses a p- property.
func (p *mfParser) textValue(e *html.Node) string {
	if parts := p.valueClass(e, false); parts != nil {
		return strings.Join(parts, "")
	}
	if v, ok := attrOf(e, "title", atom.Abbr, atom.Link); ok {
		return v
	}
	if v, ok := attrOf(e, "value", atom.Data, atom.Input); ok {
		return v
	}
	if v, ok := attrOf(e, "alt", atom.Img, atom.Area); ok {
		return v
	}
	return strings.TrimFunc(p.plainText(e, imgAltOrSrc), unicode.IsSpace)
}

// urlValue parses a u- property.
func (p *mfParser) urlValue(e *html.Node) Property {
	if v, ok := attrOf(e, "href", atom.A, atom.Area, atom.Link); ok {
		return Property{Value: resolve(p.base, v)}
	}
	if e.DataAtom == atom.Img {
		if src, ok := lookupAttr(e, "src"); ok {
			return p.image(e, src)
		}
	}
	if v, ok := attrOf(e, "src", atom.Audio, atom.Video, atom.Source, atom.Iframe); ok {
		return Property{Value: resolve(p.base, v)}
	}
	if v, ok := attrOf(e, "poster", atom.Video); ok {
		return Property{Value: resolve(p.base, v)}
	}
	if v, ok := attrOf(e, "data", atom.Object); ok {
		return Property{Value: resolve(p.base, v)}
	}
	if parts := p.valueClass(e, false); parts != nil {
		return Property{Value: resolve(p.base, strings.Join(parts, ""))}
	}
	if v, ok := attrOf(e, "title", atom.Abbr); ok {
		return Property{Value: resolve(p.base, v)}
	}
	if v, ok := attrOf(e, "value", atom.Data, atom.Input); ok {
		return Property{Value: resolve(p.base, v)}
	}
	return Property{Value: resolve(p.base, strings.TrimFunc(p.plainText(e, imgDropped), unicode.IsSpace))}
}

// image is the address of an img with its alternative text.
func (p *mfParser) image(e *html.Node, src string) Property {
	v := Property{Value: resolve(p.base, src)}
	if alt, ok := lookupAttr(e, "alt"); ok {
		v.Alt = &alt
	}
	return v
}

// attrOf answers an attribute of an element of one of the kinds.
func attrOf(e *html.Node, name string, kinds ...atom.Atom) (string, bool) {
	for _, k := range kinds {
		if e.DataAtom == k {
			return lookupAttr(e, name)
		}
	}
	return "", false
}

// valueClass reads the value class pattern: the parts that children with class
// "value" or "value-title" give; nil when there are none.
func (p *mfParser) valueClass(e *html.Node, date bool) []string {
	var parts []string
	for c := e.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || c.DataAtom == atom.Template || len(c.Attr) == 0 {
			continue
		}
		isValue, isTitle := false, false
		for _, class := range classList(c) {
			isValue = isValue || class == "value"
			isTitle = isTitle || class == "value-title"
		}
		switch {
		case isTitle:
			if title, ok := lookupAttr(c, "title"); ok {
				parts = append(parts, strings.TrimFunc(title, unicode.IsSpace))
			}
		case isValue:
			parts = append(parts, p.valuePart(c, date))
		}
	}
	return parts
}

func (p *mfParser) valuePart(c *html.Node, date bool) string {
	if v, ok := attrOf(c, "alt", atom.Img, atom.Area); ok {
		return v
	}
	if v, ok := attrOf(c, "value", atom.Data); ok {
		return v
	}
	if v, ok := attrOf(c, "title", atom.Abbr); ok {
		return v
	}
	if date {
		if v, ok := attrOf(c, "datetime", atom.Time, atom.Ins, atom.Del); ok {
			return v
		}
	}
	return strings.TrimFunc(p.plainText(c, imgAltOrSrc), unicode.IsSpace)
}

// What becomes of images in plain text.
const (
	imgAltOrSrc = iota // alt, or " src " made absolute
	imgAlt
	imgDropped
)

// plainText is the text content without scripts, styles and templates.
func (p *mfParser) plainText(e *html.Node, images int) string {
	if p.work > maxMFWork {
		return ""
	}
	var b strings.Builder
	p.writePlain(&b, e, images)
	p.work += b.Len() + 1
	return b.String()
}

func (p *mfParser) writePlain(b *strings.Builder, n *html.Node, images int) {
	p.work += 8 // a node costs about as much as a few bytes
	switch {
	case n.Type == html.TextNode:
		b.WriteString(n.Data)
	case n.Type != html.ElementNode || n.DataAtom == atom.Script || n.DataAtom == atom.Style || n.DataAtom == atom.Template:
	case n.DataAtom == atom.Img:
		alt, hasAlt := lookupAttr(n, "alt")
		src, hasSrc := lookupAttr(n, "src")
		switch {
		case images == imgDropped:
		case hasAlt:
			b.WriteString(alt)
		case hasSrc && images == imgAltOrSrc:
			b.WriteString(" " + resolve(p.base, src) + " ")
		}
	default:
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			p.writePlain(b, c, images)
		}
	}
}

// imply fills in name, photo and url from the structure, where no explicit property speaks against it.
func (p *mfParser) imply(e *html.Node, c *mfContext) {
	if c.nested {
		return
	}
	props := c.item.Properties
	if len(props["name"]) == 0 && !c.sawP && !c.sawE {
		if name := p.impliedName(e); name != "" {
			props["name"] = []Property{{Value: name, node: e}}
		}
	}
	if c.sawU {
		return
	}
	if len(props["photo"]) == 0 {
		if v, ok := p.impliedPhoto(e); ok {
			v.node = e
			props["photo"] = []Property{v}
		}
	}
	if len(props["url"]) == 0 {
		if href, ok := impliedURL(e); ok {
			props["url"] = []Property{{Value: resolve(p.base, href), node: e}}
		}
	}
}

func (p *mfParser) impliedName(e *html.Node) string {
	if v, ok := attrOf(e, "alt", atom.Img, atom.Area); ok {
		return strings.TrimFunc(v, unicode.IsSpace)
	}
	if v, ok := attrOf(e, "title", atom.Abbr); ok {
		return strings.TrimFunc(v, unicode.IsSpace)
	}
	inner := e
	for range 2 { // the only child, or the only child's only child
		inner = onlyChild(inner)
		if inner == nil {
			break
		}
		v, _ := attrOf(inner, "alt", atom.Img, atom.Area)
		if v == "" {
			v, _ = attrOf(inner, "title", atom.Abbr)
		}
		if v != "" {
			return strings.TrimFunc(v, unicode.IsSpace)
		}
	}
	return strings.TrimFunc(p.plainText(e, imgAlt), unicode.IsSpace)
}

func (p *mfParser) impliedPhoto(e *html.Node) (Property, bool) {
	photo := func(n *html.Node) (Property, bool) {
		if n == nil {
			return Property{}, false
		}
		if src, ok := attrOf(n, "src", atom.Img); ok {
			return p.image(n, src), true
		}
		if data, ok := attrOf(n, "data", atom.Object); ok {
			return Property{Value: resolve(p.base, data)}, true
		}
		return Property{}, false
	}
	if v, ok := photo(e); ok {
		return v, true
	}
	for _, parent := range []*html.Node{e, onlyChild(e)} {
		for _, kind := range []atom.Atom{atom.Img, atom.Object} {
			if v, ok := photo(onlyOfType(parent, kind, map[atom.Atom]string{atom.Img: "src", atom.Object: "data"}[kind])); ok {
				return v, true
			}
		}
	}
	return Property{}, false
}

func impliedURL(e *html.Node) (string, bool) {
	if href, ok := attrOf(e, "href", atom.A, atom.Area); ok {
		return href, true
	}
	for _, parent := range []*html.Node{e, onlyChild(e)} {
		for _, kind := range []atom.Atom{atom.A, atom.Area} {
			if n := onlyOfType(parent, kind, "href"); n != nil {
				return attr(n, "href"), true
			}
		}
	}
	return "", false
}

// onlyChild is the single child element, when it is no microformat itself.
func onlyChild(e *html.Node) *html.Node {
	if e == nil {
		return nil
	}
	var only *html.Node
	for c := e.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || c.DataAtom == atom.Template {
			continue
		}
		if only != nil {
			return nil
		}
		only = c
	}
	return notRoot(only)
}

// onlyOfType is the single child of its kind, when it has the attribute and is no microformat itself.
func onlyOfType(e *html.Node, kind atom.Atom, name string) *html.Node {
	if e == nil {
		return nil
	}
	var only *html.Node
	for c := e.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || c.DataAtom != kind {
			continue
		}
		if only != nil {
			return nil
		}
		only = c
	}
	if only == nil {
		return nil
	}
	if _, ok := lookupAttr(only, name); !ok {
		return nil
	}
	return notRoot(only)
}

func notRoot(n *html.Node) *html.Node {
	if n == nil {
		return nil
	}
	if types, v1 := rootTypes(classList(n)); len(types) > 0 && v1 == nil {
		return nil
	}
	return n
}

// urlAttrs are the attributes that hold an address.
var urlAttrs = set("href src poster data cite action")

// innerHTML serialises what is inside an element (HTML, section 13.3), its addresses made absolute.
func (p *mfParser) innerHTML(e *html.Node) string {
	if p.work > maxMFWork {
		return ""
	}
	var b strings.Builder
	for c := e.FirstChild; c != nil; c = c.NextSibling {
		p.writeHTML(&b, c)
	}
	p.work += b.Len() + 1
	return b.String()
}

var (
	escapeText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\u00a0", "&nbsp;")
	escapeAttr = strings.NewReplacer("&", "&amp;", "\"", "&quot;", "\u00a0", "&nbsp;")
)

func (p *mfParser) writeHTML(b *strings.Builder, n *html.Node) {
	p.work += 8
	switch n.Type {
	case html.TextNode:
		if n.Parent != nil && rawElements[n.Parent.DataAtom] && n.Parent.DataAtom != atom.Title && n.Parent.DataAtom != atom.Textarea {
			b.WriteString(n.Data)
		} else {
			_, _ = escapeText.WriteString(b, n.Data)
		}
	case html.CommentNode:
		b.WriteString("<!--" + n.Data + "-->")
	case html.ElementNode:
		if n.DataAtom == atom.Template {
			return
		}
		b.WriteString("<" + n.Data)
		for _, a := range n.Attr {
			v := a.Val
			if urlAttrs[a.Key] && (a.Key != "data" || n.DataAtom == atom.Object) {
				v = resolve(p.base, v)
			}
			b.WriteString(" " + a.Key + `="`)
			_, _ = escapeAttr.WriteString(b, v)
			b.WriteByte('"')
		}
		b.WriteByte('>')
		if voidElements[n.DataAtom] {
			return
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			p.writeHTML(b, c)
		}
		b.WriteString("</" + n.Data + ">")
	}
}
