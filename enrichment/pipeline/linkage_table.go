package pipeline

import (
	"cmp"
	"math"
	"slices"
)

// table holds rows ready for comparing, with what is counted on them.
type table struct {
	fields []Field
	cells  [][]cell             // by row, then field
	count  []map[string]float64 // by field: how many rows have a value
	filled []float64            // by field: how many rows have any
	chance [][]float64          // by field and level: how often unrelated rows reach it
	prior  float64              // log2 odds
	given  int                  // index of the given name, -1 without
	family int
	lines  [2]int // indexes of two address lines, -1 without
}

func newTable(fields []Field, rows []Row, prior float64) *table {
	t := &table{fields: fields, prior: prior, given: -1, family: -1, lines: [2]int{-1, -1}}
	for i, f := range fields {
		switch {
		case f.Kind == KindGiven && t.given < 0:
			t.given = i
		case f.Kind == KindFamily && t.family < 0:
			t.family = i
		case f.Kind == KindAddress && t.lines[0] < 0:
			t.lines[0] = i
		case f.Kind == KindAddress && t.lines[1] < 0:
			t.lines[1] = i
		}
	}
	t.cells = make([][]cell, len(rows))
	t.count, t.filled = make([]map[string]float64, len(fields)), make([]float64, len(fields))
	for i := range fields {
		t.count[i] = map[string]float64{}
	}
	for r, row := range rows {
		t.cells[r] = make([]cell, len(fields))
		for i, f := range fields {
			c := newCell(f.Kind, row[f.Name])
			t.cells[r][i] = c
			if c.text != "" {
				t.count[i][c.text]++
				t.filled[i]++
			}
		}
	}
	t.countChance()
	return t
}

// chancePairs is how many pairs of rows are looked at to count chance agreement.
const chancePairs = 60_000

// countChance counts the levels among pairs of rows picked evenly over the
// table: nearly all of them are of different people. Half an agreement is added, so that none is impossible.
func (t *table) countChance() {
	n := len(t.cells)
	t.chance = make([][]float64, len(t.fields))
	for i, f := range t.fields {
		t.chance[i] = make([]float64, len(linkM[f.Kind]))
		for k := range t.chance[i] {
			t.chance[i][k] = 0.5
		}
	}
	if n < 2 {
		return
	}
	state := uint64(0x9E3779B97F4A7C15)
	next := func() int { // a fixed sequence: the same rows give the same weights
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		return int(state % uint64(n))
	}
	for range min(chancePairs, n*n) {
		a, b := next(), next()
		if a == b {
			continue
		}
		for i, f := range t.fields {
			if l := compareCells(f.Kind, &t.cells[a][i], &t.cells[b][i]); l >= 0 {
				t.chance[i][l]++
			}
		}
	}
	for i := range t.chance {
		sum := 0.0
		for _, c := range t.chance[i] {
			sum += c
		}
		for k := range t.chance[i] {
			t.chance[i][k] /= sum
		}
	}
}

// weigh answers the log2 weight of a field's agreement between two cells.
func (t *table) weigh(i int, a, b *cell) float64 {
	kind := t.fields[i].Kind
	l := compareCells(kind, a, b)
	if l == missingLevel {
		return 0
	}
	m, u := linkM[kind][l], t.chance[i][l]
	if l == 0 && a.text != "" && a.text == b.text {
		switch kind {
		case KindID, KindEmail:
			// Meant to be one person's: their frequency counts copies, not namesakes.
			u = min(u, 1/t.filled[i])
		default:
			u = max(t.count[i][a.text], t.count[i][b.text], 1) / t.filled[i]
		}
	}
	return math.Log2(m / max(u, 1e-7))
}

// swapped is how often two neighbouring values stand in each other's place, in log2.
const swapped = -3.5

// bits answers the log2 odds that two rows are one person's.
func (t *table) bits(a, b int) float64 {
	x, y := t.cells[a], t.cells[b]
	sum := t.prior
	skip := [4]int{-1, -1, -1, -1}
	if t.given >= 0 && t.family >= 0 {
		sum += t.crossed(t.given, t.family, x, y)
		skip[0], skip[1] = t.given, t.family
	}
	if t.lines[1] >= 0 {
		sum += t.crossed(t.lines[0], t.lines[1], x, y)
		skip[2], skip[3] = t.lines[0], t.lines[1]
	}
	for i := range t.fields {
		if i != skip[0] && i != skip[1] && i != skip[2] && i != skip[3] {
			sum += t.weigh(i, &x[i], &y[i])
		}
	}
	return sum
}

// crossed weighs two fields straight and swapped, and answers the better.
func (t *table) crossed(i, j int, x, y []cell) float64 {
	straight := t.weigh(i, &x[i], &y[i]) + t.weigh(j, &x[j], &y[j])
	if x[i].text == "" && x[j].text == "" || y[i].text == "" && y[j].text == "" {
		return straight
	}
	cross := swapped + t.weigh(i, &x[i], &y[j]) + t.weigh(j, &x[j], &y[i])
	return max(straight, cross)
}

// scored weighs candidate pairs and answers them best first. possible is how
// many pairs there are in all, compared or not.
//
// The prior begins at one partner a row and is then counted: the share of pairs
// that are one person's, as the weights themselves see it. A table in which
// people stand five times over needs less proof than one in which they stand twice.
func (t *table) scored(candidates [][2]int, possible float64) []Pair {
	out := make([]Pair, 0, len(candidates))
	for _, c := range candidates {
		out = append(out, Pair{A: c[0], B: c[1], Bits: t.bits(c[0], c[1]) - t.prior})
	}
	for range priorRounds {
		expected := 0.5
		for _, p := range out {
			expected += probabilityOf(p.Bits + t.prior)
		}
		t.prior = math.Log2(expected / max(1, possible-expected))
	}
	for i := range out {
		out[i].Bits += t.prior
		out[i].Probability = probabilityOf(out[i].Bits)
	}
	slices.SortFunc(out, func(p, q Pair) int {
		return cmp.Or(cmp.Compare(q.Bits, p.Bits), cmp.Compare(p.A, q.A), cmp.Compare(p.B, q.B))
	})
	return out
}

// priorRounds is enough for the count of the prior to settle.
const priorRounds = 8
