package pipeline

import (
	"slices"
	"strings"
)

// SameWork decides whether two titles with their authors are one work, and how
// sure that is (0 to 1). Authors may be given as "A. Einstein, Nathan Rosen",
// "Einstein, A.; Rosen, N." or "A. Einstein and N. Rosen", in any completeness; an empty list says nothing.
func SameWork(titleA, authorsA, titleB, authorsB string) (same bool, score float64) {
	title := titleLikeness(titleA, titleB)
	authors, known := authorLikeness(authorsA, authorsB)
	switch {
	case !known && telling(titleA) && telling(titleB):
		score = title
	case !known:
		score = 0.7 * title
	case authors == 0:
		score = 0.5 * title // another's work of the same title
	default:
		score = title - 0.15*(1-authors)
	}
	return score >= sameWorkScore, max(0, score)
}

// sameWorkScore is where two works count as one.
const sameWorkScore = 0.75

// telling says whether a title can be known by itself: "Editorial" and "Book review" stand over many works.
func telling(title string) bool { return len(strings.Fields(Fold(title))) > 3 }

// titleLikeness compares two titles word by word. A different number parts two
// titles; a missing subtitle does not.
func titleLikeness(a, b string) float64 {
	wa, wb := titleWordsOf(a), titleWordsOf(b)
	if len(wa) == 0 || len(wb) == 0 {
		return 0
	}
	ca, cb := strings.Join(wa, ""), strings.Join(wb, "")
	if ca == cb {
		return 1
	}
	if !slices.Equal(ordinals(wa), ordinals(wb)) {
		return 0.4
	}
	written := 1 - float64(editBytes(ca, cb))/float64(max(len(ca), len(cb)))
	common, used := 0.0, make([]bool, len(wb))
	for _, x := range wa {
		for j, y := range wb {
			if !used[j] && (x == y || min(len(x), len(y)) > 4 && editBytes(x, y) <= 1) {
				used[j] = true
				common++
				break
			}
		}
	}
	out := common / (float64(len(wa)+len(wb)) - common)
	if shorter := min(len(wa), len(wb)); shorter >= 4 && (strings.HasPrefix(ca, cb) || strings.HasPrefix(cb, ca)) {
		out = max(out, 0.85)
	}
	if written > 0.85 {
		out = max(out, written)
	}
	return out
}

// titleWordsOf answers the folded words of a title without articles and prepositions.
func titleWordsOf(title string) []string {
	var out []string
	for _, w := range strings.Fields(Fold(title)) {
		switch w {
		case "a", "an", "the", "of", "and", "in", "on", "for", "to", "with", "by", "s":
			continue
		}
		out = append(out, w)
	}
	return out
}

// ordinals answers the words that number a work: "Part II", "2", "1999".
func ordinals(words []string) []string {
	var out []string
	for _, w := range words {
		switch {
		case isNumber(w), w == "i", w == "ii", w == "iii", w == "iv", w == "v":
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return out
}

// authorLikeness answers the share of the shorter list's people that the other
// list holds; false when one is empty.
func authorLikeness(a, b string) (float64, bool) {
	la, lb := authorNames(a), authorNames(b)
	if len(la) == 0 || len(lb) == 0 {
		return 0, false
	}
	if len(la) > len(lb) {
		la, lb = lb, la
	}
	used, common := make([]bool, len(lb)), 0
	for _, x := range la {
		for j, y := range lb {
			if !used[j] && sameAuthor(x, y) {
				used[j] = true
				common++
				break
			}
		}
	}
	return float64(common) / float64(len(la)), true
}

func authorNames(list string) []string {
	var out []string
	for _, a := range splitAuthors(list) {
		if a = strings.TrimSpace(a); a != "" && Fold(a) != "et al" {
			out = append(out, a)
		}
	}
	return out
}

// sameAuthor compares two authors of one title: the title has narrowed the
// choice, so that initials suffice.
func sameAuthor(a, b string) bool {
	if k := authorKey(a); k != "" && k == authorKey(b) {
		return true
	}
	c := ComparePeople(a, b)
	return c.Same || c.Level == NamePart && c.Score > 0.6
}
