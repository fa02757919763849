package pipeline

import (
	"slices"
	"strings"
)

// nameKey compares names word by word, without case, accents and marks.
func nameKey(name string) string { return Fold(name) }

// sameName says whether the shorter of two folded names is the longer one with
// words left out or written as initials: "j carberry" and "josiah s carberry".
// The last word must agree whole, so that two given names never merge.
func sameName(long, short string) bool {
	l, s := strings.Fields(long), strings.Fields(short)
	if len(l) < len(s) {
		l, s = s, l
	}
	if len(s) < 2 || l[len(l)-1] != s[len(s)-1] || !sameWord(l[0], s[0]) {
		return false
	}
	at := 0
	for _, w := range s {
		for at < len(l) && !sameWord(l[at], w) {
			at++
		}
		if at == len(l) {
			return false
		}
		at++
	}
	return true
}

func sameWord(a, b string) bool {
	return a == b || len(a) == 1 && strings.HasPrefix(b, a) || len(b) == 1 && strings.HasPrefix(a, b)
}

// placeKey compares places as written, but for case and blanks; samePlace sees through the rest.
func placeKey(place string) string { return strings.ToLower(tidy(place)) }

// samePlace says whether two places are one at different length, or name the
// same city: "Berlin" and "Berlin, Germany", "Munich" and "München, DE".
func samePlace(long, short string) bool {
	l, s := strings.Fields(Fold(long)), strings.Fields(Fold(short))
	if len(l) < len(s) {
		l, s = s, l
	}
	for _, w := range s {
		if !slices.Contains(l, w) {
			return compareLocations(long, short) == "city"
		}
	}
	return len(s) > 0
}

// organisationKey compares companies without case, marks and legal form: "ACME, Inc." and "Acme".
func organisationKey(company string) string { return StripCompany(company) }
