package pipeline

import "math"

// identityModel names the version of the weights below; it is stored with every explanation.
const identityModel = "identity-1"

// identityPrior are the log2 odds that a record which reached us is the person, before anything is compared: 1 in 1,000.
const identityPrior = -9.97

// The bands.
const (
	acceptAt = 0.95
	reviewAt = 0.70
)

// The attributes, in the order of an explanation.
const (
	attrName       = "name"
	attrORCID      = "orcid"
	attrEmail      = "email"
	attrSeedLink   = "seed link" // the caller's own link points at this record
	attrLink       = "link"      // between this record and one already taken to be the person
	attrAccount    = "account"   // the record names an account or page that the caller gave
	attrWebsite    = "website"
	attrEmployer   = "employer"
	attrCoAuthors  = "co-authors"
	attrRepository = "repositories"
	attrLocation   = "location"
	attrHandle     = "handle"
	attrNamesakes  = "namesakes" // others of the name met in one source
)

// levelMissing says that one side is silent: no evidence in either direction.
const levelMissing = "missing"

// odds are how often a level occurs among records of the person (m) and among records of others (u).
type odds struct{ m, u float64 }

// identityOdds is the one table of weights: attribute, level. Names are
// weighed by nameOdds, because how much a name tells depends on how rare it is.
var identityOdds = map[string]map[string]odds{
	attrORCID:    {"equal": {0.98, 0.0000075}},
	attrEmail:    {"equal": {0.80, 0.0001}, "role": {0.20, 0.02}},
	attrSeedLink: {"exact": {0.85, 0.00005}},
	// The record and one of the person's name each other: nobody can fake both ends.
	// One end alone is the person's own word when the accepted record names this one, and a claim when it is the other way round.
	attrLink:       {"proven": {0.60, 0.00015}, "named": {0.55, 0.0015}, "names": {0.50, 0.0156}},
	attrAccount:    {"equal": {0.60, 0.0008}},
	attrWebsite:    {"page": {0.50, 0.0005}, "domain": {0.50, 0.001}},
	attrEmployer:   {"ror": {0.55, 0.008}, "domain": {0.55, 0.008}, "name": {0.50, 0.011}, "close": {0.10, 0.006}, "none": {0.29, 0.95}},
	attrCoAuthors:  {"two": {0.50, 0.0078}, "one": {0.25, 0.031}},
	attrRepository: {"two": {0.50, 0.0078}, "one": {0.25, 0.031}},
	attrLocation:   {"city": {0.40, 0.05}, "region": {0.15, 0.04}, "country": {0.24, 0.08}, "other city": {0.21, 0.30}, "different": {0.12, 0.50}},
	attrHandle:     {"equal": {0.40, 0.10}, "of the name": {0.30, 0.25}},
}

// nameWidth says how many times as many strangers' names reach a level as reach an exact agreement.
var nameWidth = map[NameLevel]float64{
	NameExact: 1, NameSpelling: 1.5, NameNickname: 2, NameTokens: 1.7, NameClose: 3, NameInitial: 8, NameNear: 8,
}

// nameLimit keeps the rarest name from carrying an identity alone: with the prior it stays at the foot of review.
const nameLimit = 11.2

// nameConflict is the weight of another name. It outweighs any single link, which may be wrong or somebody else's.
var nameConflict = odds{0.002, 0.98}

// nameLogOdds weighs an agreement of names. A record often reaches us because
// it was searched for by that name, so that chance agreement is far commoner
// than in the population: the share counts by its root.
func nameLogOdds(level NameLevel, share float64) float64 {
	width, ok := nameWidth[level]
	if !ok {
		return 0
	}
	u := math.Sqrt(max(share, 1e-12)) * width
	return max(0.5, min(nameLimit-math.Log2(width), math.Log2(0.75/u)))
}

// namesakeLogOdds takes back some of a name's weight when one source shows
// several people of that name: it is commoner than the tables know.
func namesakeLogOdds(people int) float64 {
	if people < 2 {
		return 0
	}
	return max(-3, -math.Log2(float64(people+1)/2))
}

func (o odds) log2() float64 { return math.Log2(o.m / o.u) }

// probabilityOf turns log2 odds into a probability.
func probabilityOf(bits float64) float64 { return 1 / (1 + math.Exp2(-bits)) }

// fourDecimals keeps four decimals, so that an explanation recomputes to what it says and reads well.
func fourDecimals(x float64) float64 { return math.Round(x*10_000) / 10_000 }
