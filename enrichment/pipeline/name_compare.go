package pipeline

import (
	"math"
	"slices"
	"strings"
)

// NameLevel says how far two names agree.
type NameLevel string

// The levels, strongest first.
const (
	NameExact    NameLevel = "exact"    // the same words after folding, in any order
	NameSpelling NameLevel = "spelling" // the same name in another romanisation
	NameNickname NameLevel = "nickname" // a short, pet or sister form of a given name
	NameInitial  NameLevel = "initial"  // a given name against its initial; an acronym
	NameClose    NameLevel = "close"    // small differences of writing, Jaro–Winkler ≥ 0.95
	NameNear     NameLevel = "near"     // larger ones, ≥ 0.88
	NameTokens   NameLevel = "tokens"   // one has further words: a middle name, a second surname
	NamePart     NameLevel = "part"     // one is a single word of the other
	NameNone     NameLevel = "none"
	NameMissing  NameLevel = "missing" // one is empty: says nothing
)

// NameComparison is what two names say about each other.
type NameComparison struct {
	Level NameLevel
	Score float64 // 0 to 1
	Same  bool    // Score reaches the decision threshold
	// Share is how many of all people bear this name by chance: given share × family share; 0 unless Same.
	Share float64
}

// sameScore is where two names count as one name.
const sameScore = 0.80

// SameName decides whether two names may be one name, of a person or of an
// organisation, and how sure that is (0 to 1). Order, case, script, titles,
// particles, initials, nicknames and missing middle names do not part names; a
// second given or family name that contradicts does.
func SameName(a, b string) (same bool, score float64) {
	c := CompareNames(a, b)
	return c.Same, c.Score
}

// CompareNames weighs two names as written. Organisations are recognised by
// their legal forms and generic words and compared by their own rules.
func CompareNames(a, b string) NameComparison {
	if strings.TrimSpace(a) == "" || strings.TrimSpace(b) == "" {
		return NameComparison{Level: NameMissing}
	}
	a, b = clipName(a), clipName(b)
	if looksOrganisation(a) || looksOrganisation(b) {
		return compareOrgs(min(a, b), max(a, b))
	}
	return ComparePeople(a, b)
}

// ComparePeople weighs two names that are known to be people's.
func ComparePeople(a, b string) NameComparison {
	a, b = clipName(a), clipName(b)
	a, b = min(a, b), max(a, b) // one order, so that ties between words cannot make the answer depend on it
	best := comparePeople(a, b)
	// A nickname in quotes stands for the given name too.
	for _, v := range nicknameVariants(a, b) {
		if c := comparePeople(v[0], v[1]); c.Score > best.Score {
			if c.Level == NameExact {
				c.Level = NameNickname
			}
			best = c
		}
	}
	return best
}

// clipName keeps the first 200 runes: what is longer is no name, and comparing takes time by the square of the words.
func clipName(s string) string {
	n := 0
	for i := range s {
		if n == 200 {
			return s[:i]
		}
		n++
	}
	return s
}

func nicknameVariants(a, b string) [][2]string {
	var out [][2]string
	na, nb := ParseName(a), ParseName(b)
	if na.Nickname != "" && na.Family != "" {
		out = append(out, [2]string{na.Nickname + " " + na.Family, b})
	}
	if nb.Nickname != "" && nb.Family != "" {
		out = append(out, [2]string{a, nb.Nickname + " " + nb.Family})
	}
	return out
}

func comparePeople(a, b string) NameComparison {
	ta, tb := tokens(a), tokens(b)
	if len(ta) == 0 || len(tb) == 0 {
		return NameComparison{Level: NameMissing}
	}
	c := compareTokens(mergeTokens(ta, tb), mergeTokens(tb, ta))
	if !c.Same && (sameKorean(ta, tb) || sameChinese(ta, tb)) {
		c = NameComparison{Level: NameSpelling, Score: 0.92, Same: true}
	}
	if generation(a) != "" && generation(b) != "" && generation(a) != generation(b) {
		c.Score = max(0, c.Score-0.25) // father and son
		c.Same = c.Score >= sameScore
		c.Level = NameNone
	}
	if c.Same {
		c.Share = min(nameShare(a), nameShare(b))
	}
	return c
}

// generation answers which of a family's namesakes a name says it is.
func generation(name string) string {
	s := strings.Fields(Fold(ParseName(name).Suffix))
	for _, w := range s {
		switch w {
		case "jr", "junior", "ii":
			return "2"
		case "sr", "senior":
			return "1"
		case "iii":
			return "3"
		case "iv":
			return "4"
		}
	}
	return ""
}

// nameShare estimates how many people bear a name, from its given and family name.
func nameShare(name string) float64 {
	n := ParseName(name)
	family := rareSurname
	for i, w := range strings.Fields(Fold(n.Family)) {
		if particleWords[w] {
			continue
		}
		if s := surnameShare(w); i == 0 || s > family {
			family = max(family, s)
		}
	}
	given := rareGiven
	for _, w := range strings.Fields(Fold(n.Given)) {
		if len(w) == 1 {
			given = 1.0 / 15 // an initial fits many
			break
		}
		given = max(given, givenShare(w))
	}
	return family * given
}

// compareTokens decides on aligned words.
func compareTokens(a, b []nameToken) NameComparison {
	pairs := align(a, b, wordSimilarity)
	out := NameComparison{Level: NameNone}
	var all, agreed, full, patronyms float64
	worst := 1.0
	usedA, usedB := make([]bool, len(a)), make([]bool, len(b))
	kinds := map[NameLevel]int{}
	for _, p := range pairs {
		usedA[p.i], usedB[p.j] = true, true
		w := tokenWeight(a[p.i], b[p.j])
		all += w
		agreed += w * p.sim
		kinds[p.kind]++
		if !a[p.i].particle {
			worst = min(worst, p.sim)
		}
		if w >= 1 {
			full++
		}
	}
	leftA, leftB := left(a, usedA), left(b, usedB)
	if all == 0 {
		return out
	}
	score := 0.5*agreed/all + 0.5*worst
	one := max(len(leftA), len(leftB)) - min(len(leftA), len(leftB))
	longer := leftA
	if len(leftB) > len(leftA) {
		longer = leftB
	}
	for _, t := range longer {
		if isPatronym(t.text) {
			patronyms++
		}
	}
	switch {
	case len(leftA) > 0 && len(leftB) > 0:
		// Each side has a word that the other contradicts.
		score -= 0.45 * float64(min(len(leftA), len(leftB))) / (all + float64(min(len(leftA), len(leftB)))) * 2
		out.Score = max(0, score)
		out.Same = false
		if out.Score >= sameScore {
			out.Score = sameScore - 0.01
		}
		return out
	case one > 0:
		if full < 1.5 { // a single word in common with a longer name
			if len(a) > 1 && len(b) > 1 && kinds[NameInitial] > 0 && full >= 1 {
				score -= 0.04 * float64(one)
			} else {
				out.Level, out.Score = NamePart, min(score*0.7, 0.7)
				return out
			}
		} else {
			score -= 0.03*(float64(one)-patronyms) + 0.005*patronyms
			if one >= 3 {
				score -= 0.03 * float64(one-2)
			}
		}
	}
	if full < 0.5 { // initials only
		score = min(score, 0.6)
	}
	out.Score = max(0, min(1, score))
	out.Same = out.Score >= sameScore
	out.Level = levelOf(out, kinds, one, joined(a), joined(b))
	return out
}

func levelOf(c NameComparison, kinds map[NameLevel]int, extra int, a, b string) NameLevel {
	jw := max(JaroWinkler(a, b), c.Score)
	switch {
	case !c.Same && jw < 0.88:
		return NameNone
	case !c.Same:
		return NameNone
	case kinds[NameInitial] > 0:
		return NameInitial
	case kinds[NameNear] > 0:
		if jw >= 0.95 {
			return NameClose
		}
		return NameNear
	case extra > 0:
		return NameTokens
	case kinds[NameNickname] > 0:
		return NameNickname
	case kinds[NameSpelling] > 0:
		return NameSpelling
	}
	return NameExact
}

func joined(in []nameToken) string {
	words := make([]string, len(in))
	for i, t := range in {
		words[i] = t.text
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// left answers the words that found no partner and whose absence says something.
func left(in []nameToken, used []bool) []nameToken {
	var out []nameToken
	for i, t := range in {
		if !used[i] && !t.particle {
			out = append(out, t)
		}
	}
	return out
}

func tokenWeight(a, b nameToken) float64 {
	switch {
	case a.particle && b.particle:
		return 0.1
	case a.initial || b.initial:
		return 0.4
	}
	return 1
}

// isPatronym says whether a folded word is an East Slavic father's name, which is often left out.
func isPatronym(w string) bool {
	for _, end := range []string{"ovich", "evich", "ovych", "evych", "yovych", "ovna", "evna", "ivna", "ichna", "ovitch", "evitch", "ovic", "ilich", "ilyich"} {
		if len(w) > len(end)+2 && strings.HasSuffix(w, end) {
			return true
		}
	}
	return false
}

// wordSimilarity says how alike two words of a name are, and in what way.
func wordSimilarity(a, b nameToken) (float64, NameLevel) {
	switch {
	case a.text == b.text:
		if a.initial != b.initial {
			return 0.8, NameInitial
		}
		return 1, NameExact
	case a.initial || b.initial:
		if (len(a.text) <= 2 || len(b.text) <= 2) && (strings.HasPrefix(a.text, b.text) || strings.HasPrefix(b.text, a.text)) {
			return 0.82, NameInitial
		}
		return 0, NameNone
	case a.particle != b.particle && (len(a.text) < 3 || len(b.text) < 3):
		return 0, NameNone
	case isNumber(a.text) || isNumber(b.text):
		return 0, NameNone
	case nameTables().variant[a.text][b.text]:
		return 0.93, NameSpelling
	case sameGiven(a.text, b.text):
		return 0.94, NameNickname
	case sharesGiven(a.text, b.text):
		return 0.86, NameNickname
	case a.vowelless != b.vowelless:
		return frameSimilarity(a, b), NameSpelling
	case otherSex(a.text, b.text):
		return 0.6, NameNone
	case a.key == b.key && len(a.key) > 1 && !distinctNames(a.text, b.text):
		return 0.96, NameSpelling
	case a.key == b.key && len(a.key) > 3:
		return 0.8, NameSpelling
	}
	sim := writtenSimilarity(a, b)
	if distinctNames(a.text, b.text) {
		return min(sim, 0.6), NameNone
	}
	return sim, NameNear
}

// distinctNames says whether two different words are both well known names, so
// that a likeness of letters is no sign: Maria and Mario, Martin and Marvin.
func distinctNames(a, b string) bool {
	t := nameTables()
	known := func(w string) bool { _, s := t.surname[w]; return s || isGiven(w) }
	return known(a) && known(b)
}

// otherSex says whether one word is a known given name and the other its
// counterpart for the other sex: Eric and Erica, Michel and Michelle.
func otherSex(a, b string) bool {
	short, long := a, b
	if len(short) > len(long) {
		short, long = long, short
	}
	if !isGiven(short) || len(short) < 4 {
		return false
	}
	if ending, ok := strings.CutPrefix(long, short); ok {
		switch ending {
		case "a", "e", "ia", "ina", "ine", "ette", "etta", "ella", "le", "ne", "te", "elle":
			return true
		}
	}
	return strings.HasSuffix(short, "o") && long == short[:len(short)-1]+"a"
}

// frameSimilarity compares a word of a script without vowels with one that has them.
func frameSimilarity(a, b nameToken) float64 {
	soft := strings.NewReplacer("v", "", "h", "", "a", "")
	fa, fb := soft.Replace(a.frame), soft.Replace(b.frame)
	switch {
	case a.frame == b.frame:
		return 0.95
	case fa == fb && len(fa) > 1:
		return 0.9
	case len(fa) > 3 && EditDistance(fa, fb) == 1:
		return 0.8
	}
	return 0
}

// writtenSimilarity compares two words by their letters and sounds.
func writtenSimilarity(a, b nameToken) float64 {
	la, lb := len(a.text), len(b.text)
	shorter, longer := min(la, lb), max(la, lb)
	sim := editSimilarity(EditDistance(a.text, b.text), longer)
	if ka, kb := len(a.key), len(b.key); min(ka, kb) > 2 {
		sim = max(sim, editSimilarity(EditDistance(a.key, b.key), max(ka, kb))-0.02)
	}
	if a.frame == b.frame && len(a.frame) > 1 && shorter > 2 {
		// The same consonants: only vowels differ, as romanisations do.
		if len(a.frame) > 2 && shorter > 4 {
			sim = max(sim, 0.86)
		} else {
			sim = max(sim, 0.76)
		}
	}
	if shorter > 5 && len(a.frame) > 3 && throaty.Replace(a.frame) == throaty.Replace(b.frame) {
		sim = max(sim, 0.8)
	}
	if article(a.text) == article(b.text) || spelling(article(a.text)) == spelling(article(b.text)) {
		sim = max(sim, 0.9)
	}
	if genderless(a.text) == genderless(b.text) && shorter > 4 {
		sim = max(sim, 0.85)
	}
	// A letter at the end is oftener another name than a slip: Wilde and Wilder.
	if longer-shorter == 1 && a.key != b.key && (strings.HasPrefix(a.text, b.text) || strings.HasPrefix(b.text, a.text)) {
		long := a.text
		if lb > la {
			long = b.text
		}
		if !strings.ContainsRune("aeiouyh", rune(long[longer-1])) {
			sim = min(sim, 0.69)
		}
		return sim
	}
	// A short form written by cutting: Alexand, Fern, when long enough to be telling.
	if shorter >= 4 && (strings.HasPrefix(a.text, b.text) || strings.HasPrefix(b.text, a.text)) {
		sim = max(sim, 0.72)
	}
	if a.text[0] != b.text[0] && a.key[:1] != b.key[:1] {
		sim -= 0.06
	}
	return max(0, sim)
}

// throaty brings together the letters that scripts write for sounds between k,
// g and h: Khodorkovsky is Chodorkowski, Hryhorii is Grigorii.
var throaty = strings.NewReplacer("k", "h", "g", "h", "c", "h")

// editSimilarity turns a number of differing letters into a likeness, more lenient with long words.
func editSimilarity(distance, length int) float64 {
	switch {
	case distance == 0:
		return 1
	case length <= 3:
		return 0.5
	case distance == 1 && length == 4:
		return 0.76
	case distance == 1:
		return min(0.94, 0.80+0.015*float64(length))
	}
	return max(0, 1-math.Pow(float64(distance)/float64(length), 0.9)*1.15)
}

// article leaves out the Arabic article written together with its name.
func article(w string) string {
	for _, p := range []string{"abd", "al", "el", "ul"} {
		if len(w) > 5 && strings.HasPrefix(w, p) {
			return w[len(p):]
		}
	}
	return w
}

// genderless leaves out the ending that Slavic, Baltic and Greek family names change by the bearer's sex.
func genderless(w string) string {
	for _, s := range []struct{ end, to string }{
		{"skaia", "sk"}, {"skaya", "sk"}, {"ska", "sk"}, {"skii", "sk"}, {"skiy", "sk"}, {"skyi", "sk"}, {"sky", "sk"}, {"ski", "sk"},
		{"tskaya", "tsk"}, {"ova", "ov"}, {"eva", "ev"}, {"ina", "in"}, {"opoulou", "opoulos"}, {"idou", "idis"},
	} {
		if strings.HasSuffix(w, s.end) {
			return strings.TrimSuffix(w, s.end) + s.to
		}
	}
	return w
}
