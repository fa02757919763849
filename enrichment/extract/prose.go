package extract

import (
	"net/url"
	"strings"
	"time"
	"unicode"

	"codeberg.org/readeck/go-readability/v2"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	extractorText = "text/1"
	maxBio        = 2000
	// Readability weighs every paragraph against every ancestor; beyond this it costs more than a bio is worth.
	maxBioNodes = 4000
)

// textPerson finds a name on a page that has no data about people. The first
// heading must be a plain personal name that the title confirms, or introduce
// the person ("Hi, I'm Ada Lovelace"); or the page says who wrote it; or its
// title names whoever the site's frame names as well, in the link home or in the copyright line.
func (f *Facts) textPerson(t *tree, meta metaFacts, lines []string) (who PersonFacts, ok bool) {
	heading := ""
	walk(t.body, func(n *html.Node) bool {
		if heading == "" && n.Type == html.ElementNode && n.DataAtom == atom.H1 {
			heading = shortText(n)
		}
		return heading == "" && n.DataAtom != atom.Template
	})
	name, quote := introduced(heading), heading
	if plain := withoutTitles(heading); name == "" && personName(plain) && containsName(f.Title, plain) {
		name = plain
	}
	if author := meta["author"]; name == "" && personName(author.Text) && (containsName(f.Title, author.Text) || containsName(heading, author.Text) || f.framed(author.Text, lines)) {
		name, quote = author.Text, author.Snippet
	}
	if title := nameInTitle(f.Title); name == "" && title != "" && f.framed(title, lines) {
		name, quote = title, f.Title
	}
	if name == "" {
		return who, false
	}
	who.Names = []Value{{Text: name, Snippet: snippet(quote), Extractor: extractorText}}
	return who, true
}

// framed tells whether the frame of the site carries a name: the link to its front page, or the copyright line.
func (f *Facts) framed(name string, lines []string) bool {
	for _, l := range f.Links {
		if u := parseHTTP(l.URL); u != nil && l.SameSite && strings.Trim(u.Path, "/") == "" && sameName(l.Text, name) {
			return true
		}
	}
	for _, line := range lines {
		if len(line) < 200 && (strings.Contains(line, "©") || strings.Contains(strings.ToLower(line), "copyright")) && containsName(line, name) {
			return true
		}
	}
	return false
}

// introduced is the name in "Hi, I'm Ada Lovelace" and its kin; "" without one.
func introduced(heading string) string {
	s := strings.TrimRight(strings.NewReplacer("’", "'", "👋", "", "!", ",").Replace(heading), " .!,")
	lower := strings.ToLower(s)
	if len(lower) != len(s) {
		return ""
	}
	for _, opening := range []string{"i'm ", "i am ", "my name is ", "ich bin ", "mein name ist ", "je suis ", "je m'appelle ", "soy ", "me llamo ", "sono ", "ik ben "} {
		if i := strings.Index(lower, opening); i >= 0 && i <= 12 && (i == 0 || lower[i-1] == ' ') {
			name, _, _ := strings.Cut(s[i+len(opening):], ",")
			if name = strings.TrimSpace(name); personName(name) {
				return name
			}
		}
	}
	return ""
}

// withoutTitles takes academic and other titles off a name.
func withoutTitles(name string) string {
	name, _, _ = strings.Cut(name, ",")
	words := strings.Fields(name)
	isTitle := func(w string) bool { return titles[strings.ToLower(strings.ReplaceAll(w, ".", ""))] }
	for len(words) > 2 && isTitle(words[0]) {
		words = words[1:]
	}
	for len(words) > 2 && isTitle(words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

var titles = set("dr prof professor mr ms mrs mx ing dipl dipl-ing phd md msc bsc ma ba mba esq jr sr habil rer nat")

// personName tells whether a text looks like a personal name and nothing else: two to four capitalised words.
func personName(s string) bool {
	words := strings.Fields(s)
	if len(words) < 2 || len(words) > 5 || len(s) > 60 {
		return false
	}
	capital := 0
	for _, w := range words {
		first := []rune(w)[0]
		switch {
		case unicode.IsUpper(first):
			capital++
		case particles[w]:
		case !unicode.IsLower(first) && unicode.IsLetter(first): // a script without case
			capital++
		default:
			return false
		}
		for _, r := range w {
			if !unicode.IsLetter(r) && !unicode.IsMark(r) && r != '.' && r != '-' && r != '\'' && r != '’' {
				return false
			}
		}
		if notNames[strings.ToLower(strings.Trim(w, ".'’"))] {
			return false
		}
	}
	return capital >= 2
}

var (
	particles = set("van von de der den del della di da du la le ten ter bin ibn al el dos das do e y zu af av")
	notNames  = set(`the a an and or of for in on with at to my our your welcome home about contact blog site website page homepage
		portfolio curriculum vitae resume résumé cv research group lab laboratory team project projects software engineer engineering developer
		designer scientist professor department university institute school college company inc ltd gmbh llc news latest posts publications
		teaching services products solutions digital studio design web data science computer systems hello world personal official under
		construction not found error coming soon index work art photography photos music books writing essays notes people members staff`)
)

// containsName tells whether a title carries all words of a name in their order.
func containsName(title, name string) bool {
	return strings.Contains(" "+strings.Join(nameWords(title), " ")+" ", " "+strings.Join(nameWords(name), " ")+" ")
}

// nameInTitle is the part of "Ada Lovelace | Analyst" that is a name; "" without one.
func nameInTitle(title string) string {
	for part := range strings.FieldsFuncSeq(title, func(r rune) bool {
		return r == '|' || r == '·' || r == '–' || r == '—' || r == ':' || r == '•' || r == '('
	}) {
		for piece := range strings.SplitSeq(part, " - ") {
			if piece = withoutTitles(piece); personName(piece) {
				return piece
			}
		}
	}
	return ""
}

// bio is the main text of a page. It consumes the tree.
func bio(t *tree, nodes int, pageURL string) string {
	if nodes > maxBioNodes {
		return ""
	}
	u, err := url.Parse(pageURL)
	if err != nil {
		return ""
	}
	p := readability.NewParser()
	p.DisableJSONLD = true
	p.CharThresholds = 200
	article, err := p.ParseAndMutate(t.doc, u)
	if err != nil || article.Node == nil {
		return ""
	}
	return cut(text(article.Node), maxBio)
}

// parseDay reads the day of an ISO date; zero when there is none.
func parseDay(s string) time.Time {
	s = strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC()
	}
	if len(s) >= 10 {
		if t, err := time.Parse(time.DateOnly, s[:10]); err == nil {
			return t
		}
	}
	return time.Time{}
}
