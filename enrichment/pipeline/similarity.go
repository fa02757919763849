package pipeline

// Jaro answers the Jaro similarity of two strings, 0 to 1, compared rune by
// rune (not byte by byte, so that one accented letter is one difference).
// Two empty strings are equal; an empty string is like nothing else.
func Jaro(a, b string) float64 { return jaro([]rune(a), []rune(b)) }

// JaroWinkler answers Jaro raised by a common prefix of up to four runes
// (Winkler 1990: scale 0.1, only from a Jaro of 0.7).
func JaroWinkler(a, b string) float64 {
	ra, rb := []rune(a), []rune(b)
	j := jaro(ra, rb)
	if j < 0.7 {
		return j
	}
	p := 0
	for p < 4 && p < len(ra) && p < len(rb) && ra[p] == rb[p] {
		p++
	}
	return j + float64(p)*0.1*(1-j)
}

func jaro(a, b []rune) float64 {
	if len(a) == 0 || len(b) == 0 {
		if len(a) == len(b) {
			return 1
		}
		return 0
	}
	window := max(max(len(a), len(b))/2-1, 0)
	usedA, usedB := make([]bool, len(a)), make([]bool, len(b))
	matches := 0
	for i, r := range a {
		for j := max(0, i-window); j <= min(len(b)-1, i+window); j++ {
			if !usedB[j] && b[j] == r {
				usedA[i], usedB[j] = true, true
				matches++
				break
			}
		}
	}
	if matches == 0 {
		return 0
	}
	transposed, j := 0, 0
	for i, r := range a {
		if !usedA[i] {
			continue
		}
		for !usedB[j] {
			j++
		}
		if r != b[j] {
			transposed++
		}
		j++
	}
	m := float64(matches)
	return (m/float64(len(a)) + m/float64(len(b)) + (m-float64(transposed/2))/m) / 3
}

// longestFast is the length up to which the table code compares bytes without allocating.
const longestFast = 64

// jaroWinklerBytes is JaroWinkler for folded words, which are ASCII: without
// allocating, because linkage compares millions of them.
func jaroWinklerBytes(a, b string) float64 {
	if len(a) > longestFast || len(b) > longestFast || len(a) == 0 || len(b) == 0 {
		return JaroWinkler(a, b)
	}
	window := max(max(len(a), len(b))/2-1, 0)
	var usedA, usedB uint64
	matches := 0
	for i := range len(a) {
		for j := max(0, i-window); j <= min(len(b)-1, i+window); j++ {
			if usedB&(1<<j) == 0 && b[j] == a[i] {
				usedA |= 1 << i
				usedB |= 1 << j
				matches++
				break
			}
		}
	}
	if matches == 0 {
		return 0
	}
	transposed, j := 0, 0
	for i := range len(a) {
		if usedA&(1<<i) == 0 {
			continue
		}
		for usedB&(1<<j) == 0 {
			j++
		}
		if a[i] != b[j] {
			transposed++
		}
		j++
	}
	m := float64(matches)
	out := (m/float64(len(a)) + m/float64(len(b)) + (m-float64(transposed/2))/m) / 3
	if out < 0.7 {
		return out
	}
	p := 0
	for p < 4 && p < len(a) && p < len(b) && a[p] == b[p] {
		p++
	}
	return out + float64(p)*0.1*(1-out)
}

// editBytes is EditDistance for folded words, without allocating.
func editBytes(a, b string) int {
	if a == b {
		return 0
	}
	if len(a) >= longestFast || len(b) >= longestFast {
		return EditDistance(a, b)
	}
	var rows [3][longestFast + 1]int
	two, one, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}

// EditDistance answers how many insertions, deletions, substitutions and
// swaps of neighbours turn a into b (optimal string alignment), in runes.
func EditDistance(a, b string) int {
	if a == b {
		return 0
	}
	ra, rb := []rune(a), []rune(b)
	two, one := make([]int, len(rb)+1), make([]int, len(rb)+1)
	for j := range one {
		one[j] = j
	}
	row := make([]int, len(rb)+1)
	for i := 1; i <= len(ra); i++ {
		row[0] = i
		for j := 1; j <= len(rb); j++ {
			cost := 1
			if ra[i-1] == rb[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && ra[i-1] == rb[j-2] && ra[i-2] == rb[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(rb)]
}
