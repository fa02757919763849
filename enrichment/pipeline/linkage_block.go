package pipeline

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// allPairs is the number of rows up to which every pair is compared.
const allPairs = 300

// crowded is the size from which a block is left out: what so many share tells
// nothing, and two records of one person share more.
const crowded = 100

// candidates answers the pairs worth comparing: all in a small table, else
// those that agree, coarsely, in any two fields, or in one that tells much.
func (t *table) candidates(wanted func(a, b int) bool) [][2]int {
	n := len(t.cells)
	var out [][2]int
	if n <= allPairs {
		for a := range n {
			for b := a + 1; b < n; b++ {
				if wanted(a, b) {
					out = append(out, [2]int{a, b})
				}
			}
		}
		return out
	}
	b := blocks{table: t, seen: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
	for i := range t.fields {
		b.one(i, wanted)
		for j := i + 1; j < len(t.fields); j++ {
			b.two(i, j, wanted)
		}
	}
	for id := range b.seen {
		out = append(out, [2]int{int(id >> 32), int(id & 0xFFFFFFFF)})
	}
	slices.SortFunc(out, func(p, q [2]int) int { return cmp.Or(cmp.Compare(p[0], q[0]), cmp.Compare(p[1], q[1])) })
	return out
}

// blocks gathers pairs that share a key, one kind of key at a time.
type blocks struct {
	table *table
	seen  map[uint64]struct{}
	seed  maphash.Seed
}

// one blocks by a single field, where it tells enough.
func (b *blocks) one(i int, wanted func(a, b int) bool) {
	switch b.table.fields[i].Kind {
	case KindNumber, KindPostcode, KindRegion, KindYear:
		return
	}
	block := map[uint64][]int{}
	for r, row := range b.table.cells {
		for _, k := range row[i].keys {
			b.put(block, k, "", r)
		}
		for _, k := range row[i].list {
			b.put(block, k, "", r)
		}
	}
	b.gather(block, wanted)
}

// two blocks by a pair of fields; neighbours that swap their values meet too.
func (b *blocks) two(i, j int, wanted func(a, b int) bool) {
	t := b.table
	swap := i == t.given && j == t.family || i == t.lines[0] && j == t.lines[1]
	block := map[uint64][]int{}
	for r, row := range t.cells {
		for _, k := range row[i].keys {
			for _, l := range row[j].keys {
				if swap && l < k {
					b.put(block, l, k, r)
				} else {
					b.put(block, k, l, r)
				}
			}
		}
	}
	b.gather(block, wanted)
}

func (b *blocks) put(block map[uint64][]int, k, l string, row int) {
	var h maphash.Hash
	h.SetSeed(b.seed)
	h.WriteString(k)
	h.WriteByte(0)
	h.WriteString(l)
	key := h.Sum64()
	block[key] = append(block[key], row)
}

func (b *blocks) gather(block map[uint64][]int, wanted func(a, b int) bool) {
	for _, rows := range block {
		if len(rows) < 2 || len(rows) > crowded {
			continue
		}
		for x, r := range rows {
			for _, s := range rows[x+1:] {
				lo, hi := min(r, s), max(r, s)
				if lo != hi && wanted(lo, hi) {
					b.seen[uint64(lo)<<32|uint64(hi)] = struct{}{}
				}
			}
		}
	}
}
