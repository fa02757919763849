package extract

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	extractorMailto       = "mailto/1"
	extractorDeobfuscated = "deobfuscated/1"
)

// maxPageEmails is how many addresses of one page are looked at.
const maxPageEmails = 50

// addressFinder gathers the addresses that a page shows, in document order,
// and its text by lines, which notices are searched in too.
type addressFinder struct {
	found    []Value
	line     strings.Builder
	lines    []string
	rtl      map[string]bool // classes whose text CSS turns round
	hidden   map[string]bool // classes that CSS hides
	textSize int
}

// findAddresses reads a page's addresses: mailto links, running text,
// scrambled attributes, and scripts that put an address together.
func findAddresses(t *tree) *addressFinder {
	f := &addressFinder{rtl: map[string]bool{}, hidden: map[string]bool{}}
	walk(t.doc, func(n *html.Node) bool {
		if n.Type == html.ElementNode && n.DataAtom == atom.Style && n.FirstChild != nil {
			f.styles(n.FirstChild.Data)
		}
		return n.DataAtom != atom.Template
	})
	f.visit(t.doc)
	f.endLine()
	return f
}

// visit goes through the page in reading order.
func (f *addressFinder) visit(n *html.Node) {
	switch n.Type {
	case html.TextNode:
		f.line.WriteString(n.Data)
		return
	case html.ElementNode:
		if n.DataAtom == atom.Script {
			f.script(n)
			return
		}
		if n.DataAtom == atom.Body || n.DataAtom == atom.Html {
			break
		}
		if hiddenText(n.DataAtom) || f.hides(n) {
			return
		}
		if len(n.Attr) > 0 {
			f.attributes(n)
		}
		if f.turned(n) {
			f.line.WriteString(reverse(text(n)))
			return
		}
	case html.CommentNode:
		return
	}
	block := special[n.DataAtom]
	if block {
		f.endLine()
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		f.visit(c)
	}
	if block {
		f.endLine()
	}
}

// endLine searches the line that a block element ends.
func (f *addressFinder) endLine() {
	if f.line.Len() == 0 {
		return
	}
	line := squeeze(f.line.String())
	f.line.Reset()
	if line == "" {
		return
	}
	f.lines = append(f.lines, line)
	if len(f.found) == maxPageEmails {
		return
	}
	for _, a := range scanAddresses(line) {
		extractor := extractorDeobfuscated
		if a.plain {
			extractor = extractorText
		}
		f.add(a.address, a.snippet, extractor)
	}
}

func (f *addressFinder) add(address, quote, extractor string) {
	if len(f.found) < maxPageEmails {
		appendValue(&f.found, Value{Text: address, Snippet: snippet(quote), Extractor: extractor})
	}
}

// attributes reads the address that an element carries in its attributes.
func (f *addressFinder) attributes(n *html.Node) {
	href := strings.TrimFunc(attr(n, "href"), isSpace)
	lower := strings.ToLower(href[:min(len(href), 200)])
	switch {
	case strings.HasPrefix(lower, "mailto:"):
		f.mailto(n, href)
	case strings.HasPrefix(lower, "znvygb:"): // mailto: in ROT13
		f.decoded(rot13(href), href)
	case strings.Contains(lower, "/cdn-cgi/l/email-protection#"):
		_, code, _ := strings.Cut(href, "#")
		f.cfemail(code, href)
	}
	data := false
	for _, a := range n.Attr {
		if !strings.HasPrefix(a.Key, "data-") || a.Val == "" || len(a.Val) > 1024 {
			continue
		}
		data = true
		switch name := a.Key[len("data-"):]; {
		case name == "cfemail":
			f.cfemail(a.Val, `data-cfemail="`+a.Val+`"`)
		case strings.Contains(name, "rot13"):
			f.decoded(rot13(a.Val), a.Key+`="`+a.Val+`"`)
		case strings.Contains(name, "mail") || name == "address" || name == "contact" || name == "href" || name == "enc" || name == "encoded":
			f.dataAddress(a)
		}
	}
	if strings.Contains(attr(n, "class"), "rot13") {
		shown := shortText(n)
		f.decoded(rot13(shown), shown)
	}
	if data {
		f.split(n)
	}
}

// mailto reads a link that opens a letter.
func (f *addressFinder) mailto(n *html.Node, href string) {
	quote := `<a href="` + href + `">` + linkText(n) + "</a>"
	raw := mailtoAddress(href)
	if address, ok := publishedAddress(raw); ok {
		f.add(address, quote, extractorMailto)
		return
	}
	for _, a := range scanAddresses(raw) { // "mailto:ada [at] lovelace [dot] dev"
		f.add(a.address, quote, extractorDeobfuscated)
	}
}

// decoded adds an address that was found by undoing a scramble; quote is the scrambled form.
func (f *addressFinder) decoded(s, quote string) {
	if address, ok := publishedAddress(s); ok {
		f.add(address, quote, extractorDeobfuscated)
		return
	}
	for _, a := range scanAddresses(s) {
		f.add(a.address, quote, extractorDeobfuscated)
	}
}

// cfemail undoes the CDN's scramble: hexadecimal bytes, each XOR the first.
func (f *addressFinder) cfemail(code, quote string) {
	raw, err := hex.DecodeString(strings.TrimSpace(code))
	if err != nil || len(raw) < 4 {
		return
	}
	for i := range raw[1:] {
		raw[i+1] ^= raw[0]
	}
	address, _, _ := strings.Cut(string(raw[1:]), "?")
	f.decoded(address, quote)
}

// dataAddress reads an address that an attribute holds whole: plain, written with "at", backwards, in ROT13 or in base64.
func (f *addressFinder) dataAddress(a html.Attribute) {
	quote := a.Key + `="` + a.Val + `"`
	forms := []string{a.Val, reverse(a.Val)}
	if raw, err := base64.StdEncoding.DecodeString(a.Val); err == nil {
		forms = append(forms, string(raw))
	}
	for _, s := range forms {
		if before := len(f.found); plausible(s) {
			if f.decoded(s, quote); len(f.found) > before {
				return
			}
		}
	}
	if strings.Contains(a.Val, "@") {
		f.decoded(rot13(a.Val), quote)
	}
}

// plausible tells a text that can be an address as it stands: its domain exists.
func plausible(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at < 0 || knownTLD(strings.ToLower(strings.TrimSpace(s[at+1:])))
}

// The names that the parts of a split address go by.
var (
	splitLocal  = strings.Fields("user username name local localpart local-part u login account mailbox part1 first before prefix email-user mail-user email-name mail-name email-local mail-local to n id")
	splitDomain = strings.Fields("domain host hostname d site website server part2 second after suffix-domain email-domain mail-domain email-host mail-host provider at")
	splitTLD    = strings.Fields("tld ext suffix t part3 third email-tld mail-tld zone")
)

// split puts together an address whose parts stand in several data- attributes, plain or backwards.
func (f *addressFinder) split(n *html.Node) {
	pick := func(names []string) (value, quote string) {
		for _, name := range names {
			if v := strings.TrimSpace(attr(n, "data-"+name)); v != "" {
				return v, "data-" + name + `="` + v + `"`
			}
		}
		return "", ""
	}
	domain, domainQuote := pick(splitDomain)
	if domain == "" {
		return
	}
	local, localQuote := pick(splitLocal)
	tld, tldQuote := pick(splitTLD)
	if local == "" || len(local)+len(domain)+len(tld) > 254 {
		return
	}
	local, domain, tld = strings.Trim(local, "@"), strings.Trim(domain, "@."), strings.Trim(tld, ".")
	whole := domain
	if tld != "" && !knownTLD(domain) {
		whole = domain + "." + tld
	}
	quote := strings.Join(strings.Fields(localQuote+" "+domainQuote+" "+tldQuote), " ")
	switch {
	case knownTLD(strings.ToLower(whole)):
		f.decoded(local+"@"+whole, quote)
	case knownTLD(strings.ToLower(reverse(whole))):
		f.decoded(reverse(local)+"@"+reverse(whole), quote)
	case knownTLD(strings.ToLower(rot13(whole))):
		f.decoded(rot13(local)+"@"+rot13(whole), quote)
	}
}

var rot13Mailto = regexp.MustCompile(`znvygb:[^'"\\\s<>?]+`)

// script looks for an address that a script writes: in ROT13, or in pieces.
func (f *addressFinder) script(n *html.Node) {
	if n.FirstChild == nil || jsonldType(attr(n, "type")) {
		return
	}
	source := n.FirstChild.Data
	if f.textSize += len(source); f.textSize > MaxBytes/4 {
		return // programs, not pages
	}
	if strings.Contains(source, "znvygb:") {
		for _, m := range rot13Mailto.FindAllString(source, 5) {
			f.decoded(rot13(m), m)
		}
	}
	if !strings.Contains(source, "@") && !strings.Contains(source, "fromCharCode(64)") {
		return
	}
	for rest := source; len(f.found) < maxPageEmails; {
		i := strings.IndexAny(rest, `"'`)
		if i < 0 {
			return
		}
		whole, pieces, used := joinPieces(rest[i:])
		// One piece alone hides nothing: it is data of a program, not an address for readers.
		if pieces > 1 && strings.Count(whole, "@") == 1 && len(whole) <= 254 && !strings.Contains(whole, "://") {
			f.decoded(whole, rest[i:i+used])
		}
		rest = rest[i+used:]
	}
}

// joinPieces reads quoted pieces that plus signs join, as scripts write what
// they want to hide, and answers the whole, the number of pieces and the length of their source.
func joinPieces(s string) (whole string, pieces, used int) {
	const fromCode = "String.fromCharCode(64)"
	var b strings.Builder
	for used < len(s) {
		switch c := s[used]; {
		case c == '"' || c == '\'':
			end := strings.IndexByte(s[used+1:], c)
			if end < 0 {
				return b.String(), pieces, len(s)
			}
			b.WriteString(s[used+1 : used+1+end])
			used += end + 2
		case strings.HasPrefix(s[used:], fromCode):
			b.WriteByte('@')
			used += len(fromCode)
		default:
			return b.String(), pieces, used
		}
		pieces++
		next := strings.TrimLeftFunc(s[used:], isSpace)
		if !strings.HasPrefix(next, "+") {
			return b.String(), pieces, used
		}
		next = strings.TrimLeftFunc(next[1:], isSpace)
		if next == "" || next[0] != '"' && next[0] != '\'' && !strings.HasPrefix(next, fromCode) {
			return b.String(), pieces, used
		}
		used = len(s) - len(next)
	}
	return b.String(), pieces, used
}

// styles notes the classes by which a style sheet turns text round or hides it.
func (f *addressFinder) styles(css string) {
	if f.textSize += len(css); f.textSize > MaxBytes/4 || !strings.Contains(css, "bidi-override") && !strings.Contains(css, "none") {
		return
	}
	for rule := range strings.SplitSeq(css, "}") {
		selectors, body, ok := strings.Cut(rule, "{")
		if !ok || len(body) > 1000 || len(selectors) > 500 {
			continue
		}
		body = strings.ToLower(strings.ReplaceAll(body, " ", ""))
		turned := strings.Contains(body, "bidi-override") && strings.Contains(body, "direction:rtl")
		hidden := strings.Contains(body, "display:none")
		if !turned && !hidden {
			continue
		}
		for selector := range strings.SplitSeq(selectors, ",") {
			// Only a selector of one class says this of every element with it.
			element, class, ok := strings.Cut(strings.TrimSpace(selector), ".")
			if !ok || class == "" || strings.ContainsAny(class, " .:>[#*+~") || strings.ContainsAny(element, " :>[#*+~") {
				continue
			}
			if turned {
				f.rtl[class] = true
			} else {
				f.hidden[class] = true
			}
		}
	}
}

// turned tells whether CSS or a bdo element shows an element's text backwards.
func (f *addressFinder) turned(n *html.Node) bool {
	if n.DataAtom == atom.Bdo && strings.EqualFold(attr(n, "dir"), "rtl") {
		return true
	}
	if style := attr(n, "style"); style != "" {
		style = strings.ToLower(strings.ReplaceAll(style, " ", ""))
		if strings.Contains(style, "bidi-override") && strings.Contains(style, "direction:rtl") {
			return true
		}
	}
	return hasClassIn(n, f.rtl)
}

// hides tells whether nobody sees an element: traps for harvesters are made so.
func (f *addressFinder) hides(n *html.Node) bool {
	if len(n.Attr) == 0 {
		return false
	}
	if _, hidden := lookupAttr(n, "hidden"); hidden {
		return true
	}
	style := strings.ToLower(strings.ReplaceAll(attr(n, "style"), " ", ""))
	return strings.Contains(style, "display:none") || strings.Contains(style, "visibility:hidden") ||
		// A style sheet hides menus as well, until they are opened; only pieces of a line are surely traps.
		!special[n.DataAtom] && n.DataAtom != atom.A && hasClassIn(n, f.hidden)
}

func hasClassIn(n *html.Node, classes map[string]bool) bool {
	if len(classes) == 0 {
		return false
	}
	for _, c := range classList(n) {
		if classes[c] {
			return true
		}
	}
	return false
}

func reverse(s string) string {
	runes := []rune(s)
	for i, j := 0, len(runes)-1; i < j; i, j = i+1, j-1 {
		runes[i], runes[j] = runes[j], runes[i]
	}
	return string(runes)
}

func rot13(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case 'A' <= r && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, s)
}
