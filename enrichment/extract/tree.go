package extract

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Limits of one document. A page beyond them is read as far as they go.
const (
	MaxBytes   = 512 << 10 // of a body
	maxDepth   = 512       // open elements; deeper ones become siblings
	maxMarked  = 10_000    // elements with attributes: those that can say anything
	maxNodes   = 50_000    // elements of any kind
	maxAttrs   = 64        // of one element
	maxRootsIn = 2_000     // microformat or microdata items
)

// tree is a parsed document. work counts the steps that building it took,
// so that a test can see that the effort grows with the size and no faster.
type tree struct {
	doc, head, body *html.Node
	truncated       bool
	nodes           int // elements
	work            int
}

// builder makes a tree from x/net/html's tokens. x/net/html's own tree
// constructor follows browsers to the letter, also where their rules for
// misnested formatting copy an element once per paragraph; hostile pages turn
// that into quadratic time, and it refuses documents deeper than 512. Ours
// keeps the rules that matter for reading (implied end tags, void and raw
// elements, table and list scopes) and is linear.
type builder struct {
	tree
	z       *html.Tokenizer
	stack   []*html.Node // open elements; stack[0] is body or head
	open    map[string]int
	skipped map[string]int // elements closed early at maxDepth, whose end tags are still to come
	foreign int            // open svg and math elements
	inBody  bool
	text    strings.Builder // of the text node being collected
	marked  int
}

// parseTree reads HTML. It never fails.
func parseTree(source string) *tree {
	b := &builder{z: html.NewTokenizer(strings.NewReader(source)), open: map[string]int{}, skipped: map[string]int{}}
	b.doc = &html.Node{Type: html.DocumentNode}
	root := &html.Node{Type: html.ElementNode, Data: "html", DataAtom: atom.Html}
	b.head = &html.Node{Type: html.ElementNode, Data: "head", DataAtom: atom.Head}
	b.body = &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body}
	b.doc.AppendChild(root)
	root.AppendChild(b.head)
	root.AppendChild(b.body)
	b.stack = []*html.Node{b.head}
	for b.next() {
	}
	b.flush()
	return &b.tree
}

// next takes one token; false at the end or at a limit.
func (b *builder) next() bool {
	b.work++
	b.z.AllowCDATA(b.foreign > 0)
	switch b.z.Next() {
	case html.ErrorToken:
		return false
	case html.TextToken:
		b.addText(string(b.z.Text()))
	case html.CommentToken:
		b.flush()
		b.top().AppendChild(&html.Node{Type: html.CommentNode, Data: string(b.z.Text())})
	case html.StartTagToken, html.SelfClosingTagToken:
		return b.startTag()
	case html.EndTagToken:
		name, _ := b.z.TagName()
		b.endTag(string(name))
	}
	return true
}

func (b *builder) top() *html.Node { return b.stack[len(b.stack)-1] }

// addText collects text; blank text before the body belongs to nobody.
func (b *builder) addText(s string) {
	if !b.inBody && len(b.stack) == 1 {
		if strings.TrimFunc(s, isSpace) == "" {
			return
		}
		b.enterBody()
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	b.text.WriteString(s)
}

// flush puts the collected text into the tree.
func (b *builder) flush() {
	if b.text.Len() == 0 {
		return
	}
	b.top().AppendChild(&html.Node{Type: html.TextNode, Data: b.text.String()})
	b.text.Reset()
}

func (b *builder) enterBody() {
	b.flush()
	b.inBody = true
	b.stack = append(b.stack[:0], b.body)
	clear(b.open)
	clear(b.skipped)
	b.foreign = 0
}

// startTag opens an element after closing those that its presence ends.
func (b *builder) startTag() bool {
	raw, hasAttr := b.z.TagName()
	a := atom.Lookup(raw)
	name := a.String()
	if a == 0 {
		name = string(raw)
	}
	if a == atom.Image {
		a, name = atom.Img, "img"
	}
	attrs := b.attributes(hasAttr)
	if (b.foreign > 0 && rawElements[a]) || a == atom.Noscript {
		// Inside svg these hold markup; and without a browser the noscript text is the page.
		b.z.NextIsNotRawText()
	}
	switch a {
	case atom.Html:
		mergeAttrs(b.doc.FirstChild, attrs)
		return true
	case atom.Head, atom.Frameset:
		return true
	case atom.Body:
		if !b.inBody {
			b.enterBody()
		}
		mergeAttrs(b.body, attrs)
		return true
	}
	if !b.inBody && len(b.stack) == 1 && !headElements[a] {
		b.enterBody()
	}
	b.flush()
	if b.foreign == 0 {
		b.closeImplied(a)
	}
	if b.nodes++; len(attrs) > 0 {
		b.marked++
	}
	if b.nodes > maxNodes || b.marked > maxMarked {
		b.truncated = true
		return false
	}
	selfClosed := b.foreign > 0 && b.z.Raw()[len(b.z.Raw())-2] == '/'
	leaf := voidElements[a] || selfClosed
	if !leaf && len(b.stack) >= maxDepth {
		// Too deep: the element takes the place of the innermost open one instead of lying in it.
		b.skipped[b.top().Data]++
		b.pop(len(b.stack) - 1)
		b.truncated = true
	}
	n := &html.Node{Type: html.ElementNode, DataAtom: a, Data: name, Attr: attrs}
	b.top().AppendChild(n)
	if leaf {
		return true
	}
	b.stack = append(b.stack, n)
	b.open[name]++
	if a == atom.Svg || a == atom.Math {
		b.foreign++
	}
	return true
}

// attributes reads those of the current tag; the first of a name counts.
func (b *builder) attributes(more bool) []html.Attribute {
	var attrs []html.Attribute
	for more {
		var key, val []byte
		key, val, more = b.z.TagAttr()
		if len(key) == 0 || len(attrs) == maxAttrs {
			continue
		}
		if name := string(key); !hasAttr(attrs, name) {
			attrs = append(attrs, html.Attribute{Key: name, Val: string(val)})
		}
	}
	return attrs
}

func hasAttr(attrs []html.Attribute, name string) bool {
	for i := range attrs {
		if attrs[i].Key == name {
			return true
		}
	}
	return false
}

func mergeAttrs(n *html.Node, attrs []html.Attribute) {
	for _, a := range attrs {
		if len(n.Attr) < maxAttrs && !hasAttr(n.Attr, a.Key) {
			n.Attr = append(n.Attr, a)
		}
	}
}

// pop closes open elements down to and with stack[i].
func (b *builder) pop(i int) {
	b.flush()
	for _, n := range b.stack[i:] {
		b.open[n.Data]--
		if n.DataAtom == atom.Svg || n.DataAtom == atom.Math {
			b.foreign--
		}
	}
	b.stack = b.stack[:i]
}

// find looks for an open element, from the innermost on, and gives up at a boundary; -1 when there is none.
func (b *builder) find(is, boundary func(atom.Atom) bool) int {
	for i := len(b.stack) - 1; i > 0; i-- {
		b.work++
		a := b.stack[i].DataAtom
		if is(a) {
			return i
		}
		if boundary(a) {
			return -1
		}
	}
	return -1
}

// closeUnless closes the innermost open element of one name inside a boundary.
func (b *builder) close(name atom.Atom, boundary func(atom.Atom) bool) {
	if b.open[name.String()] == 0 {
		return
	}
	if i := b.find(func(a atom.Atom) bool { return a == name }, boundary); i > 0 {
		b.pop(i)
	}
}

// closeImplied closes what a start tag ends by its mere presence (HTML, section 13.1.2.4).
func (b *builder) closeImplied(a atom.Atom) {
	if closesP[a] {
		b.close(atom.P, buttonScope)
	}
	switch a {
	case atom.Li:
		b.close(atom.Li, itemScope)
	case atom.Dt, atom.Dd:
		b.close(atom.Dt, itemScope)
		b.close(atom.Dd, itemScope)
	case atom.Option:
		b.close(atom.Option, anyScope)
	case atom.Optgroup:
		b.close(atom.Optgroup, anyScope)
	case atom.A, atom.Button:
		// A block opened inside the old one stays open, so only text-level elements are closed with it.
		b.close(a, func(x atom.Atom) bool { return special[x] && x != a })
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		if headings[b.top().DataAtom] {
			b.pop(len(b.stack) - 1)
		}
	case atom.Td, atom.Th:
		b.close(atom.Td, tableScope)
		b.close(atom.Th, tableScope)
	case atom.Tr:
		b.close(atom.Tr, tableScope)
	case atom.Tbody, atom.Thead, atom.Tfoot:
		b.close(atom.Tbody, tableScope)
		b.close(atom.Thead, tableScope)
		b.close(atom.Tfoot, tableScope)
	}
}

// endTag closes the element it names, if one is open where it can be seen.
func (b *builder) endTag(name string) {
	switch name {
	case "html", "body", "head":
		return
	case "br":
		b.flush()
		b.top().AppendChild(&html.Node{Type: html.ElementNode, DataAtom: atom.Br, Data: "br"})
		b.nodes++
		return
	}
	if b.skipped[name] > 0 && (len(b.stack) < maxDepth || b.top().Data != name) {
		b.skipped[name]--
		return
	}
	a := atom.Lookup([]byte(name))
	if headings[a] {
		if i := b.find(func(x atom.Atom) bool { return headings[x] }, anyScope); i > 0 {
			b.pop(i)
		}
		return
	}
	if b.open[name] == 0 {
		return
	}
	boundary := anyScope
	switch {
	case a == atom.Li:
		boundary = func(x atom.Atom) bool { return anyScope(x) || x == atom.Ul || x == atom.Ol }
	case a == atom.P:
		boundary = buttonScope
	case tableParts[a]:
		boundary = tableScope
	case !special[a]:
		boundary = func(x atom.Atom) bool { return special[x] }
	}
	for i := len(b.stack) - 1; i > 0; i-- {
		b.work++
		if b.stack[i].Data == name {
			b.pop(i)
			return
		}
		if boundary(b.stack[i].DataAtom) {
			return
		}
	}
}

// Scopes: where the search for an open element ends (HTML, section 13.2.4.2).
func anyScope(a atom.Atom) bool {
	switch a {
	case atom.Applet, atom.Caption, atom.Html, atom.Table, atom.Td, atom.Th, atom.Marquee, atom.Object, atom.Template:
		return true
	}
	return false
}

func buttonScope(a atom.Atom) bool { return a == atom.Button || anyScope(a) }

func tableScope(a atom.Atom) bool { return a == atom.Table || a == atom.Template }

func itemScope(a atom.Atom) bool {
	return special[a] && a != atom.Address && a != atom.Div && a != atom.P && a != atom.Li && a != atom.Dd && a != atom.Dt
}

// atoms makes a lookup table of a blank-separated list.
func atoms(words string) map[atom.Atom]bool {
	m := map[atom.Atom]bool{}
	for _, w := range strings.Fields(words) {
		if a := atom.Lookup([]byte(w)); a != 0 {
			m[a] = true
		}
	}
	return m
}

var (
	voidElements = atoms("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr")
	rawElements  = atoms("iframe noembed noframes noscript plaintext script style title textarea xmp")
	headElements = atoms("base basefont bgsound link meta noframes noscript script style template title")
	headings     = atoms("h1 h2 h3 h4 h5 h6")
	tableParts   = atoms("table tbody thead tfoot tr td th caption colgroup")
	closesP      = atoms(`address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form
		h1 h2 h3 h4 h5 h6 header hgroup hr li dd dt listing main menu nav ol p plaintext pre search section summary table ul xmp`)
	special = atoms(`address applet area article aside base basefont bgsound blockquote body br button caption center col colgroup
		dd details dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr
		html iframe img input keygen li link listing main marquee menu meta nav noembed noframes noscript object ol p param plaintext
		pre script search section select source style summary table tbody td template textarea tfoot th thead title tr track ul wbr xmp`)
)
