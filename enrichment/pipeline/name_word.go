package pipeline

import (
	"math"
	"strings"
)

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
	if ka, kb := len(a.key), len(b.key); min(ka, kb) > 2 && shorter > 4 {
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
		return 0.70 // Marx and Mark: short names are near each other without a slip
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
