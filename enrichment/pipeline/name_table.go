package pipeline

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

// The tables are our own compilation of common knowledge about names. They
// serve comparing only; a name that is absent is treated as rare, not as wrong.
//
//go:embed data/nicknames.txt
var nicknamesText string

//go:embed data/variants.txt
var variantsText string

//go:embed data/surnames.txt
var surnamesText string

//go:embed data/given.txt
var givenText string

// names holds the name tables in the form that comparing needs.
type names struct {
	nickname map[string]map[string]bool // word → words that the same person may be called
	full     map[string]bool            // the first words of the nickname groups
	variant  map[string]map[string]bool // spellings of one family name
	surname  map[string]float64         // share of people who bear it
	given    map[string]float64
}

var nameTables = sync.OnceValue(func() names {
	return names{
		nickname: groups(nicknamesText, true),
		full:     firstWords(nicknamesText),
		variant:  groups(variantsText, false),
		surname:  tiers(surnamesText),
		given:    tiers(givenText),
	}
})

// groups reads one group of words a line. With hub, the first word meets every
// other and the others meet each other only through sharing it in that line:
// "bob" and "rob" are both Robert, so they meet too, but only inside one line.
func groups(text string, hub bool) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	add := func(a, b string) {
		if out[a] == nil {
			out[a] = map[string]bool{}
		}
		out[a][b] = true
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		for i, w := range words {
			words[i] = strings.ReplaceAll(Fold(w), " ", "")
		}
		for i := range words {
			for j := range words {
				if i != j && (!hub || i == 0 || j == 0) {
					add(words[i], words[j])
				}
			}
		}
	}
	return out
}

// firstWords answers the first word of each line.
func firstWords(text string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		if first, _, ok := strings.Cut(line, " "); ok && first != "#" {
			out[Fold(first)] = true
		}
	}
	return out
}

// tiers reads lines of a rate per 100,000 followed by the words that have it.
// A word that stands in two tiers keeps the higher.
func tiers(text string) map[string]float64 {
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		rate, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			continue
		}
		for _, w := range words[1:] {
			w = Fold(w)
			out[w] = max(out[w], rate/100_000)
		}
	}
	return out
}

// The shares given to names that the tables do not hold.
const (
	rareSurname = 1.0 / 40_000
	rareGiven   = 1.0 / 2_000
)

// surnameShare answers how many of all people bear a folded family name.
func surnameShare(word string) float64 {
	if share, ok := nameTables().surname[word]; ok {
		return share
	}
	return rareSurname
}

// givenShare answers how many of all people bear a folded given name, by its commonest full form.
func givenShare(word string) float64 {
	t := nameTables()
	share, ok := t.given[word]
	if !ok {
		share = rareGiven
	}
	return share
}

// isGiven says whether a folded word is a given name that the tables know.
func isGiven(word string) bool {
	t := nameTables()
	if _, ok := t.given[word]; ok {
		return true
	}
	_, ok := t.nickname[word]
	return ok
}

// sameGiven says whether two folded words may be the given name of one person:
// one is a short, pet or sister form of the other.
func sameGiven(a, b string) bool { return nameTables().nickname[a][b] }

// sharesGiven says that two short forms have one full form, as Bob and Rob have
// Robert. Full names are no short forms, or Jane and John would meet in Jan.
func sharesGiven(a, b string) bool {
	t := nameTables()
	if t.full[a] || t.full[b] {
		return false
	}
	for full := range t.nickname[a] {
		if t.full[full] && t.nickname[full][b] {
			return true
		}
	}
	return false
}
