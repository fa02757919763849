package pipeline

import (
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
