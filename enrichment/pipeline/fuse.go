package pipeline

// Fusing turns the claims of accepted records into one value per field.
//
//   - A claim is worth reliability × P(identity of its record) × freshness.
//   - A value is worth the noisy-or of its independent claims; claims of one origin count once, by the strongest.
//   - A value stands at Config.Accept or above, and never without evidence.
//   - An address stands only on evidence whose source lets it be used for contact.
//   - Nothing here depends on the order in which answers arrived.

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// volatile are the fields that age.
var volatile = map[string]bool{
	FieldCurrentRole: true, FieldCurrentCompany: true, FieldLocation: true, FieldHeadline: true, FieldEmails: true,
}

// NewFact makes a Fact, and is the only way in which this package makes one:
// a value without evidence cannot be said. first and rest are put strongest first.
func NewFact(name string, value any, confidence float64, first Evidence, rest ...Evidence) Fact {
	raw, err := json.Marshal(value)
	if err != nil {
		panic("a fact's value is not JSON: " + err.Error()) // strings, numbers and our own structs only
	}
	return Fact{
		Name: name, Value: raw, Confidence: rounded(confidence),
		Evidence: strongest(append([]Evidence{first}, rest...)), Conflicts: []FactConflict{},
	}
}

// fuser fuses what is known at one moment.
type fuser struct {
	cfg      Config
	order    map[string]int // of sources
	policies map[string]Policy
	known    Known
	checks   map[string]EmailCheck // by addressKey

	held map[string][]holding // by field
	// contested are values that their own contradiction kept from being accepted, with what contradicts them.
	contested []Fact
}

// holding is one claim with what it is worth.
type holding struct {
	claim      Claim
	source     int // its place in the order of sources
	sourceName string
	record     string
	origin     string
	heldAt     time.Time
	confidence float64
	evidence   Evidence
}

// value is what independent holdings say alike.
type value struct {
	key        string
	text       string // the spelling with most evidence
	holdings   []holding
	confidence float64
	newest     time.Time
	source     int
}

// candidate answers the fused candidate, not yet evaluated, with the positions
// behind its experience, or nil when no identity or no fact is accepted. Call it once for each fuser.
func (f *fuser) candidate() (*Candidate, []job) {
	if !slices.ContainsFunc(f.known.Matches, func(m IdentityMatch) bool { return m.Band == BandAccept }) {
		return nil, nil
	}
	c := &Candidate{
		ProfileID: f.known.Seed.ProfileID, Name: f.known.Seed.Name,
		Skills: []string{}, FitPoints: []string{}, RedFlags: []string{}, DetailedRationale: []RationaleItem{},
		Experience: []Experience{}, Emails: []Email{}, Links: []Link{}, Identity: []IdentityMatch{},
	}
	if fact, ok := f.single(c, FieldName, nameKey, sameName); ok {
		c.Name = fact
	}
	c.Headline = f.optional(c, FieldHeadline, Fold, nil)
	c.Location = f.optional(c, FieldLocation, placeKey, samePlace)
	c.CurrentCompany = f.optional(c, FieldCurrentCompany, organisationKey, nil)
	c.CurrentRole = f.optional(c, FieldCurrentRole, Fold, nil)
	f.links(c)
	f.skills(c)
	jobs := f.experience(c)
	f.emails(c)
	if len(c.AllFacts) == 0 {
		return nil, nil
	}
	for _, m := range f.known.Matches {
		if m.Band != BandReject {
			c.Identity = append(c.Identity, m)
		}
	}
	return c, jobs
}

// single takes the surviving value of a field that has one; the others stand beside it as conflicts.
func (f *fuser) single(c *Candidate, field string, key func(string) string, same func(a, b string) bool) (string, bool) {
	values := f.values(field, key)
	if same != nil {
		values = f.merged(values, same)
	}
	if len(values) == 0 {
		return "", false
	}
	slices.SortFunc(values, survival)
	winner, others := values[0], values[1:]
	confidence := winner.confidence
	if len(others) > 0 {
		confidence *= 1 - f.cfg.ConflictWeight*others[0].confidence
	}
	fact := winner.fact(field, winner.text, confidence)
	for _, o := range others {
		alike := o.fact(field, o.text, o.confidence)
		fact.Conflicts = append(fact.Conflicts, FactConflict{Value: alike.Value, Confidence: alike.Confidence, Evidence: alike.Evidence})
	}
	if fact.Confidence < f.cfg.Accept {
		if rounded(winner.confidence) >= f.cfg.Accept {
			f.contested = append(f.contested, fact)
		}
		return "", false
	}
	c.AllFacts = append(c.AllFacts, fact)
	return winner.text, true
}

func (f *fuser) optional(c *Candidate, field string, key func(string) string, same func(a, b string) bool) *string {
	if text, ok := f.single(c, field, key, same); ok {
		return &text
	}
	return nil
}

// accepted answers the values of a field with many, best first.
func (f *fuser) accepted(values []value) []value {
	values = slices.DeleteFunc(values, func(v value) bool { return rounded(v.confidence) < f.cfg.Accept })
	slices.SortFunc(values, survival)
	return values
}

func (f *fuser) skills(c *Candidate) {
	for _, v := range f.accepted(f.values(FieldSkills, skillKey)) {
		c.Skills = append(c.Skills, v.text)
		c.AllFacts = append(c.AllFacts, v.fact(FieldSkills, v.text, v.confidence))
	}
}

// survival orders values: highest confidence, then newest, then source order, then text. It is total.
func survival(a, b value) int {
	return cmp.Or(cmp.Compare(rounded(b.confidence), rounded(a.confidence)), b.newest.Compare(a.newest),
		cmp.Compare(a.source, b.source), strings.Compare(a.text, b.text), strings.Compare(a.key, b.key))
}

func (v value) fact(name string, of any, confidence float64) Fact {
	all := v.evidence()
	return NewFact(name, of, confidence, all[0], all[1:]...)
}

func (v value) evidence() []Evidence {
	all := make([]Evidence, 0, len(v.holdings))
	for _, h := range v.holdings {
		all = append(all, h.evidence)
	}
	return strongest(all)
}

// strongest puts evidence strongest first and says the same thing once.
func strongest(all []Evidence) []Evidence {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Evidence) int {
		return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), b.ObservedAt.Compare(a.ObservedAt), strings.Compare(a.Source, b.Source),
			strings.Compare(deref(a.URL), deref(b.URL)), strings.Compare(a.Extractor, b.Extractor), strings.Compare(deref(a.Excerpt), deref(b.Excerpt)))
	})
	seen := map[[4]string]bool{}
	return slices.DeleteFunc(all, func(e Evidence) bool {
		key := [4]string{e.Source, deref(e.URL), e.Extractor, deref(e.Excerpt)}
		again := seen[key]
		seen[key] = true
		return again
	})
}

// rounded keeps four digits: what is compared, shown and stored is the same number.
func rounded(confidence float64) float64 { return math.Round(confidence*1e4) / 1e4 }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
