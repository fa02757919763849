package pipeline

import "slices"

// grouped joins scored pairs to groups of one person's records and answers
// every pair inside a group, in order.
//
// Groups grow from the surest pair on. Two groups join when their mean weight
// over all pairs between them speaks for it, so that one doubtful pair cannot
// chain two people together, and a poor record may lean on several good ones.
func (t *table) grouped(pairs []Pair) []Pair {
	group := make([]int, len(t.cells))
	members := make([][]int, len(t.cells))
	for i := range group {
		group[i], members[i] = i, []int{i}
	}
	known := map[[2]int]float64{}
	bits := func(a, b int) float64 {
		key := [2]int{min(a, b), max(a, b)}
		v, ok := known[key]
		if !ok {
			v = t.bits(key[0], key[1])
			known[key] = v
		}
		return v
	}
	for _, p := range pairs {
		if p.Probability < sameAt {
			break
		}
		a, b := group[p.A], group[p.B]
		if a == b {
			continue
		}
		sum := 0.0
		for _, x := range members[a] {
			for _, y := range members[b] {
				sum += min(bits(x, y), surestBits)
			}
		}
		if sum/float64(len(members[a])*len(members[b])) < 0 {
			continue
		}
		if len(members[a]) < len(members[b]) {
			a, b = b, a
		}
		for _, y := range members[b] {
			group[y] = a
		}
		members[a], members[b] = append(members[a], members[b]...), nil
	}
	out := []Pair{}
	for _, m := range members {
		slices.Sort(m)
		for i, a := range m {
			for _, b := range m[i+1:] {
				v := bits(a, b)
				out = append(out, Pair{A: a, B: b, Bits: v, Probability: probabilityOf(v)})
			}
		}
	}
	sortPairs(out)
	return out
}

// surestBits bounds what one pair may say for a whole group.
const surestBits = 20
