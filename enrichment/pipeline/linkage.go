package pipeline

import (
	"cmp"
	"math"
	"slices"
)

// Row is one person's record in a table: field name → value. Empty is unknown, which is neither agreement nor disagreement.
type Row map[string]string

// FieldKind says how the values of a field are compared.
type FieldKind string

// The kinds of fields.
const (
	KindGiven    FieldKind = "given"    // given name; nicknames and swaps with the family name count
	KindFamily   FieldKind = "family"   // family name
	KindNumber   FieldKind = "number"   // house number
	KindAddress  FieldKind = "address"  // street, building; lines may be swapped
	KindPlace    FieldKind = "place"    // town, suburb, city
	KindPostcode FieldKind = "postcode" // postal code
	KindRegion   FieldKind = "region"   // state, province, country
	KindDate     FieldKind = "date"     // date of birth, any order of digits
	KindID       FieldKind = "id"       // a number meant to be one person's
	KindEmail    FieldKind = "email"    // e-mail address
	KindTitle    FieldKind = "title"    // title of a work
	KindAuthors  FieldKind = "authors"  // list of people
	KindYear     FieldKind = "year"     // year of a work
	KindText     FieldKind = "text"     // anything else
)

// Field is one column that records are compared by.
type Field struct {
	Name string
	Kind FieldKind
}

// Pair is two records and how sure it is that they are one person's. A < B
// where both are of one table; in Link, A counts in the first and B in the second.
type Pair struct {
	A, B        int
	Bits        float64 // log2 odds, prior included
	Probability float64
}

// Linker finds the records of one table, or of two, that are the same person's.
// Weights follow Fellegi and Sunter: m is fixed per kind of field, u is
// counted on the rows themselves (agreement by chance, by the value's own
// frequency), and the prior is one partner among all rows. Nothing is trained
// and no truth is needed.
type Linker struct {
	Fields []Field
}

// sameAt is the probability from which two records count as the same.
const sameAt = 0.5

// Scored answers every compared pair of rows with its probability, best first;
// pairs that share nothing are not compared.
func (l Linker) Scored(rows []Row) []Pair {
	t := newTable(l.Fields, rows, math.Log2(1/float64(max(2, len(rows)))))
	return t.scored(t.candidates(func(a, b int) bool { return true }), pairsOf(len(rows)))
}

// Pairs answers the pairs of rows that are the same person's: scored pairs
// joined to groups, and every pair inside a group.
func (l Linker) Pairs(rows []Row) []Pair {
	t := newTable(l.Fields, rows, math.Log2(1/float64(max(2, len(rows)))))
	return t.grouped(t.scored(t.candidates(func(a, b int) bool { return true }), pairsOf(len(rows))))
}

func pairsOf(n int) float64 { return float64(n) * float64(n-1) / 2 }

// Link answers the pairs of a row of one table and a row of another that are
// the same person's. Each table is taken to hold a person once, so that a row has at most one partner.
func (l Linker) Link(a, b []Row) []Pair {
	rows := append(slices.Clone(a), b...)
	t := newTable(l.Fields, rows, math.Log2(1/float64(max(2, max(len(a), len(b))))))
	pairs := t.scored(t.candidates(func(x, y int) bool { return (x < len(a)) != (y < len(a)) }), float64(len(a))*float64(len(b)))
	used := map[int]bool{}
	out := []Pair{}
	for _, p := range pairs {
		// The partner is known to be unique, so that a weak pair without a rival is still the likeliest.
		if p.Bits < lonelyBits || used[p.A] || used[p.B] {
			continue
		}
		used[p.A], used[p.B] = true, true
		out = append(out, Pair{A: p.A, B: p.B - len(a), Bits: p.Bits, Probability: p.Probability})
	}
	sortPairs(out)
	return out
}

// lonelyBits is the weight from which a pair counts where rows have at most one partner.
const lonelyBits = -2

func sortPairs(pairs []Pair) {
	slices.SortFunc(pairs, func(x, y Pair) int { return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B)) })
}

// FieldsNamed answers the fields of a table by the usual names of its columns;
// a column with an unknown name is compared as text.
func FieldsNamed(columns ...string) []Field {
	out := make([]Field, len(columns))
	for i, c := range columns {
		out[i] = Field{Name: c, Kind: kindOf(c)}
	}
	return out
}

func kindOf(column string) FieldKind {
	switch Fold(column) {
	case "given name", "first name", "given", "firstname", "forename":
		return KindGiven
	case "surname", "family name", "last name", "family", "lastname":
		return KindFamily
	case "street number", "house number", "number":
		return KindNumber
	case "street", "address", "address 1", "address 2", "address1", "address2":
		return KindAddress
	case "suburb", "city", "town", "place":
		return KindPlace
	case "postcode", "zip", "zip code", "postal code":
		return KindPostcode
	case "state", "country", "region", "county", "province":
		return KindRegion
	case "dob", "date of birth", "birth date", "born":
		return KindDate
	case "soc sec", "soc sec id", "ssn", "national id", "id":
		return KindID
	case "email", "e mail", "mail":
		return KindEmail
	case "title", "work", "paper":
		return KindTitle
	case "authors", "author":
		return KindAuthors
	case "year", "published":
		return KindYear
	}
	return KindText
}
