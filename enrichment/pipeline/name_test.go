package pipeline

import (
	"bufio"
	"os"
	"strings"
	"testing"

	edlib "github.com/hbollon/go-edlib"
)

type namePair struct {
	person bool
	same   bool
	a, b   string
}

func readNamePairs(t *testing.T, file string) []namePair {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []namePair
	for lines := bufio.NewScanner(f); lines.Scan(); {
		p := strings.Split(lines.Text(), "|")
		if len(p) == 4 {
			out = append(out, namePair{p[0] == "person", p[1] == "same", p[2], p[3]})
		}
	}
	return out
}

// binary counts decisions against the truth.
type binary struct{ tp, fp, fn, tn int }

func (b *binary) add(said, truth bool) {
	switch {
	case said && truth:
		b.tp++
	case said:
		b.fp++
	case truth:
		b.fn++
	default:
		b.tn++
	}
}

func (b binary) score() (precision, recall, f1 float64) {
	precision = float64(b.tp) / float64(max(1, b.tp+b.fp))
	recall = float64(b.tp) / float64(max(1, b.tp+b.fn))
	return precision, recall, 2 * precision * recall / max(1e-9, precision+recall)
}

func TestSameName(t *testing.T) {
	t.Parallel()
	t.Run("tells one name from two, on the pairs that the rules were made with", func(t *testing.T) {
		weighPairs(t, "name_pairs.txt", 300, 0.95)
	})
	t.Run("tells one name from two, on pairs written afterwards", func(t *testing.T) {
		weighPairs(t, "name_pairs_held.txt", 180, 0.80)
	})
}

// weighPairs prints the scores on a file of pairs and asks for an F1 and a precision.
func weighPairs(t *testing.T, file string, atLeast int, bar float64) {
	pairs := readNamePairs(t, file)
	if len(pairs) < atLeast {
		t.Fatalf("only %d pairs were read", len(pairs))
	}
	var all, people, plain binary
	for _, p := range pairs {
		same, score := SameName(p.a, p.b)
		if back, _ := SameName(p.b, p.a); same != back {
			t.Errorf("%q and %q: the answer depends on their order", p.a, p.b)
		}
		if same != p.same {
			t.Logf("same=%v said %v (%.2f, %s): %q and %q", p.same, same, score, CompareNames(p.a, p.b).Level, p.a, p.b)
		}
		all.add(same, p.same)
		if p.person {
			people.add(same, p.same)
		}
		plain.add(JaroWinkler(Fold(p.a), Fold(p.b)) >= 0.9, p.same)
	}
	p, r, f := all.score()
	pp, pr, pf := people.score()
	_, _, jw := plain.score()
	t.Logf("%d pairs: P %.3f R %.3f F1 %.3f; people P %.3f R %.3f F1 %.3f; plain Jaro–Winkler F1 %.3f", len(pairs), p, r, f, pp, pr, pf, jw)
	if f < bar || p < bar {
		t.Errorf("F1 %.3f and P %.3f, and both should reach %.2f", f, p, bar)
	}
}

func TestJaroWinkler(t *testing.T) {
	t.Parallel()
	t.Run("agrees with another implementation", func(t *testing.T) {
		for _, p := range readNamePairs(t, "name_pairs.txt") {
			a, b := Fold(p.a), Fold(p.b)
			// go-edlib counts half a swap where Winkler rounds down, so that it is lower by at most a sixth of a letter.
			if want := float64(edlib.JaroSimilarity(a, b)); Jaro(a, b) < want-0.001 || Jaro(a, b) > want+0.06 {
				t.Errorf("Jaro(%q, %q) = %.4f, go-edlib %.4f", a, b, Jaro(a, b), want)
			}
			if want := edlib.OSADamerauLevenshteinDistance(a, b); EditDistance(a, b) != want {
				t.Errorf("EditDistance(%q, %q) = %d, go-edlib %d", a, b, EditDistance(a, b), want)
			}
		}
	})
}

func TestParseName(t *testing.T) {
	t.Parallel()
	t.Run("takes names apart", func(t *testing.T) {
		for written, want := range map[string]Name{
			"Josiah Carberry":                   {Given: "Josiah", Family: "Carberry"},
			"Dr. Josiah Stinkney Carberry, PhD": {Title: "Dr.", Given: "Josiah", Middle: "Stinkney", Family: "Carberry", Suffix: "PhD"},
			"Carberry, Josiah S.":               {Given: "Josiah", Middle: "S.", Family: "Carberry"},
			"Vincent van Gogh":                  {Given: "Vincent", Family: "van Gogh"},
			"Maria de la Cruz":                  {Given: "Maria", Family: "de la Cruz"},
			"José Ortega y Gasset":              {Given: "José", Family: "Ortega y Gasset"},
			"DUPONT Jean":                       {Given: "Jean", Family: "DUPONT"},
			"Jean DUPONT":                       {Given: "Jean", Family: "DUPONT"},
			"William \"Bill\" Gates III":        {Given: "William", Family: "Gates", Nickname: "Bill", Suffix: "III"},
			"Robert (Bob) Dole":                 {Given: "Robert", Family: "Dole", Nickname: "Bob"},
			"Martin Luther King Jr.":            {Given: "Martin", Middle: "Luther", Family: "King", Suffix: "Jr."},
			"习近平":                               {Given: "近平", Family: "习"},
			"欧阳修":                               {Given: "修", Family: "欧阳"},
			"김정은":                               {Given: "정은", Family: "김"},
			"Madonna":                           {Given: "Madonna"},
			"Jack Ma":                           {Given: "Jack", Family: "Ma"},
			"Sir Isaac Newton":                  {Title: "Sir", Given: "Isaac", Family: "Newton"},
			"Mary Smith-Jones":                  {Given: "Mary", Family: "Smith-Jones"},
			"":                                  {},
		} {
			if got := ParseName(written); got != want {
				t.Errorf("%q: %+v", written, got)
			}
		}
		if got := ParseName("Cruz, Juan de la"); got.Family != "de la Cruz" {
			t.Errorf("particles behind the given name: %+v", got)
		}
	})
}

func FuzzSameName(f *testing.F) {
	f.Add("Josiah Carberry", "J. Carberry")
	f.Add("ООО «Звезда»", "欧阳修")
	f.Add(", () \"\"", "Abd al-")
	f.Fuzz(func(t *testing.T, a, b string) {
		same, score := SameName(a, b)
		back, again := SameName(b, a)
		if same != back || score < 0 || score > 1 || score-again > 1e-9 || again-score > 1e-9 {
			t.Errorf("%v %v, and the other way round %v %v", same, score, back, again)
		}
	})
}
