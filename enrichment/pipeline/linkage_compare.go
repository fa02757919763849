package pipeline

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// cell is one value with the keys that it is compared by.
type cell struct {
	text    string   // folded, without blanks inside for codes
	keys    []string // coarse keys: records that share one are worth comparing
	local   string   // the part of an e-mail address before the @
	sorted  string   // its letters in order: a scrambled word keeps them
	token   nameToken
	words   []string
	letters uint64 // which letters and digits it has: two words with d slips differ in at most 2d of them
	date    time.Time
	list    []string // keys of the people in a list of authors
}

func newCell(kind FieldKind, value string) cell {
	c := cell{text: Fold(value)}
	if c.text == "" {
		return c
	}
	switch kind {
	case KindGiven, KindFamily:
		c.text = strings.ReplaceAll(c.text, " ", "")
		c.token = newToken(c.text, len(c.text) == 1)
		c.token.particle = false
		c.keys = []string{c.token.frame, firstLetters(c.text, 3)}
	case KindDate:
		c.text = digitsOf(c.text)
		for _, layout := range []string{"20060102", "02012006"} {
			if d, err := time.Parse(layout, c.text); err == nil {
				c.date = d
				break
			}
		}
		c.keys = dateKeys(c.text)
	case KindEmail:
		c.text = strings.ToLower(strings.TrimSpace(value))
		c.local, _, _ = strings.Cut(c.text, "@")
		c.keys = []string{c.local, firstLetters(c.text, 5)}
	case KindPostcode, KindID, KindNumber, KindYear:
		c.text = strings.ReplaceAll(c.text, " ", "")
		c.keys = []string{c.text}
	case KindTitle:
		c.words = strings.Fields(c.text)
		c.keys = titleKeys(c.words)
	case KindAuthors:
		for _, a := range splitAuthors(value) {
			if k := authorKey(a); k != "" {
				c.list = append(c.list, k)
			}
		}
		slices.Sort(c.list)
		c.keys = c.list[:min(2, len(c.list))]
	default:
		c.words = strings.Fields(c.text)
		c.text = strings.Join(c.words, "")
		c.keys = []string{consonants(spelling(c.text)), firstLetters(c.text, 4)}
	}
	if n := len(c.keys); n == 2 && c.keys[0] == c.keys[1] {
		c.keys = c.keys[:1]
	}
	letters := []byte(c.text)
	for _, l := range letters {
		c.letters |= 1 << (l & 63)
	}
	slices.Sort(letters)
	c.sorted = string(letters)
	return c
}

func firstLetters(s string, n int) string { return s[:min(n, len(s))] }

// dateKeys are year with month, and month with day: one slip spoils only one of them.
func dateKeys(digits string) []string {
	if len(digits) != 8 {
		return []string{digits}
	}
	return []string{digits[:6], "d" + digits[4:]}
}

// titleKeys are the longest words of a title, which are the telling ones.
func titleKeys(words []string) []string {
	sorted := slices.Clone(words)
	slices.SortFunc(sorted, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	sorted = sorted[:min(3, len(sorted))]
	keys := make([]string, 0, 3)
	for i, a := range sorted {
		for _, b := range sorted[i+1:] {
			keys = append(keys, min(a, b)+" "+max(a, b))
		}
	}
	if len(keys) == 0 {
		return sorted
	}
	return keys
}

// splitAuthors takes a list of people apart: by semicolons or "and", or by
// commas where these do not stand between family and given names.
func splitAuthors(value string) []string {
	value = strings.NewReplacer(" and ", ";", " & ", ";", "|", ";").Replace(value)
	if strings.Contains(value, ";") {
		return strings.Split(value, ";")
	}
	parts := strings.Split(value, ",")
	for _, p := range parts {
		if len(strings.Fields(p)) < 2 {
			return []string{value} // "Carberry, Josiah"
		}
	}
	return parts
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// level is how far two values agree: 0 equal, then weaker; the last is disagreement.
type level int

// missingLevel says that one side is silent.
const missingLevel level = -1

// m holds, per kind, how often each level occurs among records of one person,
// both values being present. It allows for typing errors, swaps and moves.
var linkM = map[FieldKind][]float64{
	//            equal, variant, near, far, none
	KindGiven:    {0.74, 0.06, 0.12, 0.03, 0.05},
	KindFamily:   {0.74, 0.05, 0.13, 0.03, 0.05},
	KindNumber:   {0.84, 0.06, 0.10},
	KindAddress:  {0.80, 0.08, 0.05, 0.07},
	KindPlace:    {0.80, 0.13, 0.03, 0.04},
	KindPostcode: {0.84, 0.10, 0.06},
	KindRegion:   {0.90, 0.04, 0.06},
	//            equal, one slip, within a month or so, within a year, same day and month or year, none
	KindDate:    {0.70, 0.12, 0.08, 0.05, 0.02, 0.03},
	KindID:      {0.88, 0.08, 0.04},
	KindEmail:   {0.76, 0.16, 0.03, 0.05},
	KindTitle:   {0.70, 0.15, 0.12, 0.03},
	KindAuthors: {0.50, 0.30, 0.15, 0.05},
	KindYear:    {0.80, 0.15, 0.05},
	KindText:    {0.70, 0.15, 0.05, 0.10},
}

// compareCells answers how far two values of one kind agree.
func compareCells(kind FieldKind, a, b *cell) level {
	if a.text == "" || b.text == "" {
		return missingLevel
	}
	if a.text == b.text {
		return 0
	}
	none := level(len(linkM[kind]) - 1)
	if far := bits.OnesCount64(a.letters ^ b.letters); far > 6 && far*2 > max(len(a.text), len(b.text)) && len(a.list) == 0 && kind != KindTitle && kind != KindDate &&
		(kind != KindGiven && kind != KindFamily || !a.token.initial && !b.token.initial && !sameGiven(a.text, b.text)) {
		return none // more than three slips in a short word
	}
	switch kind {
	case KindGiven, KindFamily:
		return compareNameCells(a, b)
	case KindNumber, KindYear:
		if len(a.text)+len(b.text) > 2 && editBytes(a.text, b.text) == 1 {
			return 1
		}
		return none
	case KindPostcode, KindID:
		if editBytes(a.text, b.text) == 1 || a.sorted == b.sorted {
			return 1
		}
		return none
	case KindRegion:
		if editBytes(a.text, b.text) == 1 || a.sorted == b.sorted {
			return 1
		}
		return none
	case KindDate:
		return compareDates(a, b)
	case KindEmail:
		return compareEmails(a, b)
	case KindAuthors:
		return compareAuthors(a, b)
	case KindTitle:
		return compareTitles(a, b)
	}
	return compareWords(a, b)
}

func compareNameCells(a, b *cell) level {
	if a.token.initial || b.token.initial {
		if a.text[0] == b.text[0] {
			return 3
		}
		return 4
	}
	if a.token.key == b.token.key || sameGiven(a.text, b.text) || nameTables().variant[a.text][b.text] {
		return 1
	}
	d, longer := editBytes(a.text, b.text), max(len(a.text), len(b.text))
	switch {
	case d == 1 && longer > 3, d == 2 && longer > 6, a.sorted == b.sorted:
		return 2
	case jaroWinklerBytes(a.text, b.text) >= 0.92:
		return 2
	case d == 2 && longer > 4, d == 3 && longer > 8, d == 1, jaroWinklerBytes(a.text, b.text) >= 0.86, jaroWinklerBytes(a.sorted, b.sorted) >= 0.95 && longer > 4:
		return 3
	}
	return 4
}

func compareDates(a, b *cell) level {
	d := editBytes(a.text, b.text)
	switch {
	case d == 1 || a.sorted == b.sorted && d <= 2:
		return 1
	case !a.date.IsZero() && !b.date.IsZero():
		days := a.date.Sub(b.date).Hours() / 24
		switch days = max(days, -days); {
		case days <= 100:
			return 2
		case days <= 370:
			return 3
		case a.date.Month() == b.date.Month() && a.date.Day() == b.date.Day():
			return 4
		}
	case d == 2:
		return 3
	}
	if d == 2 {
		return 4
	}
	return 5
}

func compareEmails(a, b *cell) level {
	d := editBytes(a.text, b.text)
	longer := max(len(a.text), len(b.text))
	switch {
	case d <= 2+longer/10, a.sorted == b.sorted:
		return 1
	case a.local == b.local && a.local != "", d*3 < longer, jaroWinklerBytes(a.sorted, b.sorted) > 0.97:
		return 2
	}
	return 3
}

// compareWords compares streets, places and other short texts.
func compareWords(a, b *cell) level {
	d, longer := editBytes(a.text, b.text), max(len(a.text), len(b.text))
	switch {
	case d == 1 && longer > 3, d*6 <= longer, a.sorted == b.sorted:
		return 1
	case d*3 <= longer, jaroWinklerBytes(a.text, b.text) >= 0.92, jaroWinklerBytes(a.sorted, b.sorted) >= 0.95 && longer > 4:
		return 2
	}
	return 3
}

func compareTitles(a, b *cell) level {
	inA := map[string]bool{}
	for _, w := range a.words {
		inA[w] = true
	}
	common := 0
	for _, w := range b.words {
		if inA[w] {
			common++
		}
	}
	union := len(a.words) + len(b.words) - common
	share := float64(common) / float64(max(1, union))
	shorter := float64(common) / float64(max(1, min(len(a.words), len(b.words))))
	switch {
	case share >= 0.8, editBytes(a.text, b.text)*8 <= max(len(a.text), len(b.text)):
		return 1
	case share >= 0.5, shorter >= 0.9 && min(len(a.words), len(b.words)) >= 3:
		return 2
	}
	return 3
}

func compareAuthors(a, b *cell) level {
	if len(a.list) == 0 || len(b.list) == 0 {
		return missingLevel
	}
	common := 0
	for _, x := range a.list {
		if slices.Contains(b.list, x) {
			common++
		}
	}
	switch share := float64(common) / float64(max(len(a.list), len(b.list))); {
	case share == 1:
		return 0
	case share >= 0.5:
		return 1
	case common > 0:
		return 2
	}
	return 3
}
