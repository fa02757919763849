package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// nameToken is one word of a name with the keys it is compared by.
type nameToken struct {
	text      string // folded
	key       string // spelling key
	frame     string // consonants of the key
	initial   bool   // stands for a name by its first letters
	particle  bool   // van, bin, de: its absence says nothing
	vowelless bool   // from a script written without vowels
}

func newToken(folded string, initial bool) nameToken {
	key := spelling(folded)
	return nameToken{text: folded, key: key, frame: consonants(key), initial: initial, particle: particleWords[folded]}
}

// tokens answers the words of a person's name that comparing uses: without
// titles and suffixes, with particles marked, in the order they were written.
func tokens(name string) []nameToken {
	rest, _ := takeNickname(name)
	var raw []string
	for _, segment := range splitComma(rest) {
		if len(raw) > 0 && allWords(segment, suffixWords) {
			continue
		}
		raw = append(raw, segment...)
	}
	if len(raw) == 1 {
		if family, given, ok := splitEastAsian(raw[0]); ok {
			raw = []string{family, given}
		}
	}
	raw, _ = takeTitle(raw)
	raw, _ = takeSuffix(raw, "")
	var out []nameToken
	for _, word := range raw {
		initial := isInitial(word)
		vowelless := strings.ContainsFunc(word, func(r rune) bool {
			return unicode.Is(unicode.Arabic, r) || unicode.Is(unicode.Hebrew, r) || unicode.Is(unicode.Devanagari, r)
		})
		for _, part := range strings.Fields(Fold(word)) {
			t := newToken(part, initial || len(part) == 1)
			t.vowelless = vowelless
			out = append(out, t)
		}
	}
	out = joinServant(out)
	// A particle in front is a name ("Al Gore", "Van Morrison") unless another particle follows ("De la Cruz").
	if len(out) > 1 && out[0].particle && !out[1].particle && len(out) == 2 {
		out[0].particle = false
	}
	return out
}

// joinServant joins "abd" with the name it serves: Abd al-Rahman, Abdul Rahman.
func joinServant(in []nameToken) []nameToken {
	var out []nameToken
	for i := 0; i < len(in); i++ {
		t := in[i]
		if i+1 < len(in) && isServant(t.text) {
			j := i + 1
			if j+1 < len(in) && in[j].particle {
				j++
			}
			joined := newToken("abd"+strings.TrimPrefix(in[j].text, "al"), false)
			joined.vowelless = t.vowelless
			out = append(out, joined)
			i = j
			continue
		}
		out = append(out, t)
	}
	return out
}

func isServant(w string) bool {
	switch w {
	case "abd", "abdul", "abdel", "abdal", "abdol", "abdoul", "abdur", "abdus", "abdil", "bd", "abdu":
		return true
	}
	return false
}

// mergeTokens joins neighbours of in that other writes as one word: "Jin Ping"
// against "Jinping", "De La Cruz" against "Delacruz".
func mergeTokens(in, other []nameToken) []nameToken {
	var out []nameToken
	for i := 0; i < len(in); i++ {
		merged := false
		for span := min(3, len(in)-i); span > 1 && !merged; span-- {
			text := ""
			ok := true
			for _, t := range in[i : i+span] {
				text += t.text
				ok = ok && !t.initial
			}
			if !ok || len(text) < 4 {
				continue
			}
			joined := newToken(text, false)
			joined.particle = false
			for _, o := range other {
				if o.text == text || (!o.initial && len(o.text) > 4 && o.key == joined.key) ||
					nameTables().variant[text][o.text] ||
					(len(text) > 7 && !anyShort(in[i:i+span]) && EditDistance(text, o.text) == 1) {
					out = append(out, joined)
					i += span - 1
					merged = true
					break
				}
			}
		}
		if !merged {
			out = append(out, in[i])
		}
	}
	return out
}

// anyShort says that one of the words is a single letter or a number, which a near match must not swallow.
func anyShort(in []nameToken) bool {
	return slices.ContainsFunc(in, func(t nameToken) bool { return len(t.text) < 2 || isNumber(t.text) })
}

// pair is two words taken to be the same part of a name.
type pair struct {
	i, j int
	sim  float64
	kind NameLevel
}

// leastAlike is the similarity below which two words are different words.
const leastAlike = 0.7

// align pairs the words of two names, best first; among equals the nearest by
// position. A word pairs once, and only with one at least leastAlike.
func align(a, b []nameToken, similar func(a, b nameToken) (float64, NameLevel)) []pair {
	var all []pair
	for i := range a {
		for j := range b {
			if sim, kind := similar(a[i], b[j]); sim >= leastAlike {
				all = append(all, pair{i, j, sim, kind})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y pair) int {
		return cmp.Or(cmp.Compare(y.sim, x.sim), cmp.Compare(apart(x), apart(y)), cmp.Compare(x.i, y.i))
	})
	usedA, usedB := make([]bool, len(a)), make([]bool, len(b))
	var out []pair
	for _, p := range all {
		if !usedA[p.i] && !usedB[p.j] {
			usedA[p.i], usedB[p.j] = true, true
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(x, y pair) int { return cmp.Compare(x.i, y.i) })
	return out
}

func apart(p pair) int { return max(p.i-p.j, p.j-p.i) }
