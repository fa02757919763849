package pipeline

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// corpus answers where a public corpus lies, and skips the test when it is not present.
func linkageCorpus(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("ENRICHD_CORPORA")
	path := filepath.Join(root, filepath.FromSlash(name))
	if _, err := os.Stat(path); root == "" || err != nil {
		t.Skipf("public corpus %s is not present; set ENRICHD_CORPORA to the folder that holds it", name)
	}
	return path
}

// readCorpus reads a table and splits off the truth; the order is mixed, because a file may be sorted by it.
func readCorpus(t *testing.T, name string, truth func(Row) string, hidden ...string) (rows []Row, person []string) {
	t.Helper()
	f, err := os.Open(linkageCorpus(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.TrimLeadingSpace = true
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	n := len(lines) - 1
	for k := range n {
		line := lines[1+(k*677)%n]
		row := Row{}
		for i, column := range lines[0] {
			row[column] = strings.TrimSpace(line[i])
		}
		person = append(person, truth(row))
		for _, h := range hidden {
			delete(row, h)
		}
		rows = append(rows, row)
	}
	return rows, person
}

// truePairs counts the pairs of rows with one person.
func truePairs(person []string) int {
	count := map[string]int{}
	for _, p := range person {
		count[p]++
	}
	n := 0
	for _, c := range count {
		n += c * (c - 1) / 2
	}
	return n
}

func scorePairs(pairs []Pair, person []string) (p, r, f float64) {
	var b binary
	for _, x := range pairs {
		b.add(true, person[x.A] == person[x.B])
	}
	b.fn = truePairs(person) - b.tp
	return b.score()
}

func TestLinkFebrl(t *testing.T) {
	t.Parallel()
	rows, person := readCorpus(t, "linkage/febrl1.csv", func(r Row) string { return strings.Split(r["rec_id"], "-")[1] }, "rec_id")
	if len(rows) != 1000 || truePairs(person) != 500 {
		t.Fatalf("%d rows, %d true pairs: the copy is not whole", len(rows), truePairs(person))
	}
	for _, c := range []struct {
		name   string
		fields []string
		bar    float64
	}{
		{"finds the same people by all fields", []string{"given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state", "date_of_birth", "soc_sec_id"}, 1},
		{"finds the same people without birth date and number", []string{"given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state"}, 1},
		{"finds the same people by name and place only", []string{"given_name", "surname", "suburb", "postcode", "state"}, 0.990},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			p, r, f := scorePairs(Linker{Fields: FieldsNamed(c.fields...)}.Pairs(rows), person)
			t.Logf("febrl1, %d fields: P %.4f R %.4f F1 %.4f in %v", len(c.fields), p, r, f, time.Since(start).Round(time.Millisecond))
			if f < c.bar {
				t.Errorf("F1 %.4f is below %.4f", f, c.bar)
			}
		})
	}
}

func TestLinkSplink(t *testing.T) {
	t.Parallel()
	rows, person := readCorpus(t, "linkage/splink_fake_1000.csv", func(r Row) string { return r["cluster"] }, "cluster", "unique_id")
	if len(rows) != 1000 || truePairs(person) != 2975 {
		t.Fatalf("%d rows, %d true pairs: the copy is not whole", len(rows), truePairs(person))
	}
	linker := Linker{Fields: FieldsNamed("first_name", "surname", "dob", "city", "email")}
	t.Run("finds the same people in much damaged records", func(t *testing.T) {
		p, r, f := scorePairs(linker.Pairs(rows), person)
		t.Logf("splink_fake_1000: P %.4f R %.4f F1 %.4f", p, r, f)
		if f < 0.930 {
			t.Errorf("F1 %.4f is below 0.930", f)
		}
	})
	t.Run("prints how far its probabilities can be believed", func(t *testing.T) {
		var said, true_, count [10]float64
		brier, n := 0.0, 0.0
		scored := linker.Scored(rows)
		raw := []Pair{}
		for _, p := range scored {
			truth := 0.0
			if person[p.A] == person[p.B] {
				truth = 1
			}
			bin := min(9, int(p.Probability*10))
			said[bin] += p.Probability
			true_[bin] += truth
			count[bin]++
			brier += (p.Probability - truth) * (p.Probability - truth)
			n++
			if p.Probability >= sameAt {
				raw = append(raw, p)
			}
		}
		for b := range count {
			t.Logf("said %.1f–%.1f: %7.0f pairs, mean %.3f, true %.3f", float64(b)/10, float64(b+1)/10, count[b], said[b]/math.Max(1, count[b]), true_[b]/math.Max(1, count[b]))
		}
		p, r, f := scorePairs(raw, person)
		t.Logf("Brier %.6f over %.0f pairs; pairs alone, ungrouped: P %.4f R %.4f F1 %.4f", brier/n, n, p, r, f)
	})
}
