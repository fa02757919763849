package pipeline

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode"
)

//go:embed data/orgforms.txt
var orgFormsText string

//go:embed data/orgwords.txt
var orgWordsText string

//go:embed data/countries.txt
var countriesText string

// orgForm is one spelling of a legal form, as a sequence of folded words.
type orgForm struct {
	words []string
	class string
}

// orgTables holds legal forms (longest first) and the generic words with their canonical spelling.
type orgTables struct {
	forms []orgForm
	word  map[string]string
	// country holds words for countries under the first of their line; structure the generic words that name a shape, not a trade.
	country   map[string]string
	structure map[string]bool
}

var orgTable = sync.OnceValue(func() orgTables {
	t := orgTables{
		word: map[string]string{}, country: map[string]string{},
		structure: words("group holding company companies concern enterprise pmc general global world worldwide team section"),
	}
	for line := range strings.Lines(countriesText) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "#" {
			for _, w := range f {
				t.country[w] = f[0]
			}
		}
	}
	for line := range strings.Lines(orgFormsText) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		for _, spelled := range f[1:] {
			t.forms = append(t.forms, orgForm{words: strings.Split(spelled, "_"), class: f[0]})
		}
	}
	slices.SortStableFunc(t.forms, func(a, b orgForm) int { return len(b.words) - len(a.words) })
	for line := range strings.Lines(orgWordsText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		left, canonical, translated := strings.Cut(strings.TrimSpace(line), " = ")
		for _, w := range strings.Fields(left) {
			t.word[w] = w
			if translated {
				t.word[w] = canonical
			}
		}
	}
	return t
})

// orgName is an organisation's name taken apart for comparing.
type orgName struct {
	tokens  []nameToken // without legal forms; generic words in their canonical spelling
	forms   []string    // classes of legal forms met
	generic []bool      // per token: says little about which organisation it is
	known   int         // how many words or forms mark an organisation
	compact string      // all words but the legal form, joined
	// initials are the first letters of all telling words, with the legal form's and without.
	initials, shortInitials string
}

// parseOrg takes an organisation's name apart. Legal forms count anywhere
// behind the first word, and at the front in the East European habit (OOO, PT).
func parseOrg(name string) orgName {
	t := orgTable()
	fields := strings.Fields(Fold(name))
	var out orgName
	var rest []string
	for i := 0; i < len(fields); {
		if form, ok := formAt(t.forms, fields, i); ok && (len(form.words) < len(fields)) {
			out.forms = append(out.forms, form.class)
			i += len(form.words)
			continue
		}
		rest = append(rest, fields[i])
		i++
	}
	if len(rest) == 0 {
		rest = fields
	}
	out.known = len(out.forms)
	for _, w := range joinLetters(rest) {
		switch w {
		case "the", "of", "and", "for", "de", "la", "du", "des", "di", "und", "y", "et", "i", "der", "die", "das", "del", "in", "on", "imeni", "al", "el", "ol", "a", "an", "no", "nr":
			continue
		}
		canonical, generic := t.word[w]
		if generic {
			out.known++
			w = canonical
		} else if country, ok := t.country[w]; ok {
			w = country
		}
		out.tokens = append(out.tokens, newToken(w, false))
		out.generic = append(out.generic, generic)
	}
	out.compact = strings.Join(rest, "")
	out.initials, out.shortInitials = initialsOf(fields), initialsOf(rest)
	return out
}

func initialsOf(in []string) string {
	var b strings.Builder
	for _, w := range in {
		switch w {
		case "the", "of", "and", "for", "de", "du", "des", "di":
		default:
			b.WriteByte(w[0])
		}
	}
	return b.String()
}

// formAt answers the longest legal form that begins at fields[i].
func formAt(forms []orgForm, fields []string, i int) (orgForm, bool) {
	for _, f := range forms {
		if len(f.words) <= len(fields)-i && slices.Equal(f.words, fields[i:i+len(f.words)]) {
			return f, true
		}
	}
	return orgForm{}, false
}

// joinLetters joins runs of single letters, so that "I B M" is "ibm".
func joinLetters(in []string) []string {
	var out []string
	run := ""
	for _, w := range append(slices.Clone(in), "") {
		if len(w) == 1 && !unicode.IsDigit(rune(w[0])) {
			run += w
			continue
		}
		if run != "" {
			out = append(out, run)
			run = ""
		}
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}

// looksOrganisation says whether a name is an organisation's rather than a person's.
func looksOrganisation(name string) bool {
	o := parseOrg(name)
	if len(o.forms) > 0 && len(strings.Fields(name)) > 1 {
		// Two- and three-letter forms are also names ("Ag", "Se", "Ao"): they count in capitals, or with a word that says more.
		if o.known > len(o.forms) {
			return true
		}
		for _, f := range strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == '"' }) {
			plain := strings.Trim(f, ".()")
			key := strings.ReplaceAll(Fold(plain), " ", "")
			if len(key) > 3 || plain == strings.ToUpper(plain) || key == "inc" || key == "ltd" || key == "llc" || key == "plc" {
				if _, ok := formAt(orgTable().forms, strings.Fields(Fold(plain)), 0); ok {
					return true
				}
			}
		}
		return strings.Contains(name, "o.o")
	}
	strong := 0
	for i, g := range o.generic {
		if g && len(o.tokens[i].text) > 2 && !isGiven(o.tokens[i].text) && surnameShare(o.tokens[i].text) == rareSurname {
			strong++
		}
	}
	for _, t := range o.tokens {
		if len(t.text) > 6 && strings.HasSuffix(t.text, "bank") {
			strong++
		}
	}
	return strong > 0 || strings.ContainsAny(name, "0123456789&") || strings.Contains(strings.ToLower(name), " of ")
}

// StripCompany answers an organisation's name without legal forms, folded: the key that employers are compared by.
func StripCompany(name string) string {
	o := parseOrg(name)
	parts := make([]string, len(o.tokens))
	for i, t := range o.tokens {
		parts[i] = t.text
	}
	return strings.Join(parts, " ")
}

// compareOrgs weighs two organisation names.
func compareOrgs(a, b string) NameComparison {
	oa, ob := parseOrg(a), parseOrg(b)
	out := NameComparison{Level: NameNone}
	if len(oa.tokens) == 0 || len(ob.tokens) == 0 {
		return out
	}
	// What tells the legal forms apart is a matter of the register, not of the name: a small deduction when both state one.
	form := 0.0
	if len(oa.forms) > 0 && len(ob.forms) > 0 && !slices.ContainsFunc(oa.forms, func(f string) bool { return slices.Contains(ob.forms, f) }) {
		form = 0.08
	}
	if oa.compact == ob.compact || StripCompany(a) == StripCompany(b) {
		return NameComparison{Level: NameExact, Score: 1 - form, Same: true}
	}
	ta, tb := mergeTokens(oa.tokens, ob.tokens), mergeTokens(ob.tokens, oa.tokens)
	if acronym(oa, ob) || acronym(ob, oa) {
		return NameComparison{Level: NameInitial, Score: 0.84 - form, Same: form == 0}
	}
	pairs := align(ta, tb, termSimilarity)
	weight := wordWeight
	var all, agreed, leftA, leftB, worst float64
	worst = 1
	usedA, usedB := map[int]bool{}, map[int]bool{}
	for _, p := range pairs {
		usedA[p.i], usedB[p.j] = true, true
		w := (weight(ta[p.i]) + weight(tb[p.j])) / 2
		all += w
		agreed += w * p.sim
		worst = min(worst, 1-(1-p.sim)*min(1, w+0.3))
	}
	distinct := 0
	for i, t := range ta {
		if !usedA[i] {
			leftA += weight(t)
			distinct += distinction(t)
		}
	}
	for j, t := range tb {
		if !usedB[j] {
			leftB += weight(t)
			distinct += distinction(t)
		}
	}
	if all == 0 {
		return out
	}
	score := (0.5*agreed/all + 0.5*worst) - form
	// A word on one side only may have been left out; words on both sides say two different things.
	one, both := max(leftA, leftB)-min(leftA, leftB), min(leftA, leftB)
	score -= 0.22 * one / (all + one)
	score -= 0.9 * both / (all + both)
	if len(oa.forms) > 0 && len(ob.forms) > 0 && one > 0.3 {
		score -= 0.15 // two full names in a register: "Siemens AG" and "Siemens Energy AG"
	}
	if all < 0.8 && leftA+leftB > 0.3 {
		score -= 0.2 // only generic words agree
	}
	if countryIn(ta, usedA) && countryIn(tb, usedB) {
		score -= 0.25 // the same office of two countries
	}
	// A word of its own on one side is oftener another organisation than an omission.
	score -= min(0.5, 0.24*float64(distinct))
	out.Score = max(0, min(1, score))
	out.Same = out.Score >= sameScore
	switch {
	case out.Same && leftA+leftB > 0:
		out.Level = NameTokens
	case out.Same:
		out.Level = NameClose
	}
	return out
}

// acronym says whether short is one word made of the first letters of long's words.
func acronym(short, long orgName) bool {
	if len(short.tokens) != 1 || len(short.tokens[0].text) < 3 {
		return false
	}
	return short.tokens[0].text == long.initials || short.tokens[0].text == long.shortInitials
}

// wordWeight says how much a word of an organisation's name tells.
func wordWeight(t nameToken) float64 {
	switch table := orgTable(); {
	case table.structure[t.text]:
		return 0.12
	case table.word[t.text] != "" || table.country[t.text] != "":
		return 0.35
	case isNumber(t.text):
		return 0.8
	}
	return 1
}

// termSimilarity compares two words of organisations' names: as names, and without the plural.
func termSimilarity(a, b nameToken) (float64, NameLevel) {
	if a.text != b.text && min(len(a.text), len(b.text)) > 3 && strings.TrimSuffix(a.text, "s") == strings.TrimSuffix(b.text, "s") {
		return 0.97, NameSpelling
	}
	return wordSimilarity(a, b)
}

// countryIn says that a country stands among the words without a partner.
func countryIn(in []nameToken, used map[int]bool) bool {
	for i, t := range in {
		if !used[i] && orgTable().country[t.text] != "" {
			return true
		}
	}
	return false
}

// distinction answers 1 for a word that names something of its own.
func distinction(t nameToken) int {
	if wordWeight(t) > 0.5 && !t.particle {
		return 1
	}
	return 0
}

func isNumber(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }) < 0
}
