package pipeline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// forge makes people and damages their records, always in the same way for one seed.
type forge struct {
	rng      *rand.Rand
	given    []string
	surnames []string
	streets  []string
	suburbs  []string
}

func newForge(seed uint64) *forge {
	f := &forge{rng: rand.New(rand.NewPCG(seed, 7))}
	for name := range nameTables().given {
		f.given = append(f.given, name)
	}
	for name := range nameTables().surname {
		f.surnames = append(f.surnames, name)
	}
	slices.Sort(f.given)
	slices.Sort(f.surnames)
	for range 1200 {
		f.streets = append(f.streets, f.word()+" "+f.pick([]string{"street", "place", "close", "crescent", "avenue", "circuit", "road", "court"}))
	}
	for range 700 {
		f.suburbs = append(f.suburbs, f.word()+f.pick([]string{"", "", " park", " north", " hills", "ton", "ville"}))
	}
	return f
}

func (f *forge) pick(from []string) string { return from[f.rng.IntN(len(from))] }

// skewed picks the front of a list far oftener than its end, as names are spread.
func (f *forge) skewed(from []string) string {
	x := f.rng.Float64()
	return from[int(x*x*x*float64(len(from)))]
}

func (f *forge) word() string {
	var b strings.Builder
	for range 2 + f.rng.IntN(2) {
		b.WriteString(f.pick([]string{"b", "br", "c", "ch", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "th", "w", "wh"}))
		b.WriteString(f.pick([]string{"a", "e", "i", "o", "u", "ea", "oo", "ar", "er", "in", "an", "ol"}))
	}
	return b.String()
}

func (f *forge) person() Row {
	return Row{
		"given_name": f.skewed(f.given), "surname": f.skewed(f.surnames),
		"street_number": fmt.Sprint(1 + int(float64(250)*f.rng.Float64()*f.rng.Float64())), "address_1": f.pick(f.streets),
		"address_2": f.maybe(0.6, f.word()+" "+f.word()), "suburb": f.skewed(f.suburbs), "postcode": fmt.Sprint(2000 + int(1500*f.rng.Float64()*f.rng.Float64())),
		"state": f.pick([]string{"nsw", "nsw", "nsw", "vic", "vic", "qld", "qld", "wa", "sa", "tas", "act"}),
	}
}

func (f *forge) maybe(p float64, s string) string {
	if f.rng.Float64() < p {
		return s
	}
	return ""
}

// slip makes one typing error.
func (f *forge) slip(s string) string {
	if len(s) < 2 {
		return s
	}
	i := f.rng.IntN(len(s) - 1)
	switch f.rng.IntN(4) {
	case 0:
		return s[:i] + s[i+1:]
	case 1:
		return s[:i] + string(s[i+1]) + string(s[i]) + s[i+2:]
	case 2:
		return s[:i] + string(rune('a'+f.rng.IntN(26))) + s[i:]
	}
	return s[:i] + string(rune('a'+f.rng.IntN(26))) + s[i+1:]
}

// damaged answers a copy with one to six mistakes.
func (f *forge) damaged(r Row) Row {
	out := Row{}
	for k, v := range r {
		out[k] = v
	}
	columns := []string{"given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state"}
	for range 1 + f.rng.IntN(6) {
		c := f.pick(columns)
		switch x := f.rng.Float64(); {
		case x < 0.55 && (c == "postcode" || c == "street_number"):
			out[c] = strings.Map(func(d rune) rune {
				if f.rng.IntN(4) == 0 {
					return rune('0' + f.rng.IntN(10))
				}
				return d
			}, out[c])
		case x < 0.55:
			out[c] = f.slip(out[c])
		case x < 0.75:
			out[c] = ""
		case x < 0.82:
			out["given_name"], out["surname"] = out["surname"], out["given_name"]
		case x < 0.88:
			out["address_1"], out["address_2"] = out["address_2"], out["address_1"]
		default:
			out[c] = f.person()[c]
		}
	}
	return out
}

func TestLinkAtScale(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("ten thousand rows are left out of a short run")
	}
	f := newForge(11)
	var originals, copies []Row
	truth := map[int]int{}
	for range 5000 {
		originals = append(originals, f.person())
	}
	for i, k := range f.rng.Perm(5000) {
		copies = append(copies, f.damaged(originals[k]))
		truth[k] = i
	}
	linker := Linker{Fields: FieldsNamed("given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state")}
	t.Run("links 5,000 people with their 5,000 damaged copies", func(t *testing.T) {
		start := time.Now()
		var b binary
		for _, p := range linker.Link(originals, copies) {
			b.add(true, truth[p.A] == p.B)
		}
		b.fn = 5000 - b.tp
		p, r, score := b.score()
		t.Logf("5,000 × 5,000, reduced fields: P %.4f R %.4f F1 %.4f in %v", p, r, score, time.Since(start).Round(time.Millisecond))
		if score < 0.96 {
			t.Errorf("F1 %.4f is below 0.96", score)
		}
	})
	t.Run("finds the same pairs when all stand in one table", func(t *testing.T) {
		start := time.Now()
		person := make([]string, 10000)
		for k, i := range truth {
			person[k], person[5000+i] = fmt.Sprint(k), fmt.Sprint(k)
		}
		p, r, score := scorePairs(linker.Pairs(append(slices.Clone(originals), copies...)), person)
		t.Logf("10,000 in one table, reduced fields: P %.4f R %.4f F1 %.4f in %v", p, r, score, time.Since(start).Round(time.Millisecond))
		if score < 0.95 || p < 0.97 {
			t.Errorf("F1 %.4f, P %.4f", score, p)
		}
	})
}

func TestSameWork(t *testing.T) {
	t.Parallel()
	t.Run("knows a work by its title and authors", func(t *testing.T) {
		for _, c := range []struct {
			titleA, authorsA, titleB, authorsB string
			same                               bool
		}{
			{"The Entity-Relationship Model: Toward a Unified View of Data", "Peter P. Chen", "The entity relationship model toward a unified view of data", "Chen, P.", true},
			{"Mining Association Rules between Sets of Items", "R. Agrawal, T. Imielinski, A. Swami", "Mining association rules between sets of items", "Rakesh Agrawal, Tomasz Imieliński, Arun Swami", true},
			{"Query Processing in Sensor Networks", "J. Gehrke, S. Madden", "Query Optimization in Sensor Networks", "J. Gehrke, S. Madden", false},
			{"Editorial", "", "Editorial", "", false},
			{"Editorial", "A. Smith", "Editorial", "B. Jones", false},
			{"Principles of Everything, Part I", "A. Smith", "Principles of Everything, Part II", "A. Smith", false},
			{"A Survey of Data Streams", "A. Smith", "A Survey of Data Streams", "C. Miller, D. Jones", false},
			{"Efficient Joins", "Ann Lee, Bo Ek", "Efficient Joins.", "Lee, A.; Ek, B.", true},
			{"Finding Frequent Items in Data Streams: a Survey", "Ann Lee", "Finding Frequent Items in Data Streams", "A. Lee", true},
		} {
			if same, score := SameWork(c.titleA, c.authorsA, c.titleB, c.authorsB); same != c.same {
				t.Errorf("%q by %q and %q by %q: same=%v (%.2f)", c.titleA, c.authorsA, c.titleB, c.authorsB, same, score)
			}
		}
	})
}
