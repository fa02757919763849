package pipeline

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// month is the mean Gregorian month.
const month = time.Duration(30.436875 * 24 * float64(time.Hour))

// holdings weighs the claims of accepted records, once for all fields.
func (f *fuser) holdings(field string) []holding {
	if f.held != nil {
		return f.held[field]
	}
	f.held = map[string][]holding{}
	for i, rec := range f.known.Records {
		if f.known.Matches[i].Band != BandAccept {
			continue
		}
		for _, c := range completed(rec) {
			if h, ok := f.weigh(rec, c, f.known.Matches[i].Probability); ok {
				f.held[c.Field] = append(f.held[c.Field], h)
			}
		}
	}
	f.joinOrigins()
	for _, held := range f.held {
		slices.SortFunc(held, func(a, b holding) int {
			return cmp.Or(cmp.Compare(a.source, b.source), strings.Compare(a.record, b.record), strings.Compare(deref(a.evidence.URL), deref(b.evidence.URL)),
				strings.Compare(a.claim.Text, b.claim.Text), strings.Compare(a.evidence.Extractor, b.evidence.Extractor),
				strings.Compare(deref(a.evidence.Excerpt), deref(b.evidence.Excerpt)), a.heldAt.Compare(b.heldAt))
		})
	}
	return f.held[field]
}

// weigh says what one claim is worth. It leaves out empty values, addresses
// that may not be used for contact, and LinkedIn links that the person did not publish.
func (f *fuser) weigh(rec Record, c Claim, identity float64) (holding, bool) {
	policy := f.policies[rec.Source]
	c.Text = strings.TrimSpace(c.Text)
	if c.Text == "" {
		return holding{}, false
	}
	ev := c.Evidence
	ev.Source = rec.Source
	ev.RunID = f.known.RunID
	ev.ContactEligible = ev.ContactEligible && policy.ContactEligible && !rec.NoContact
	if c.Field == FieldEmails && !ev.ContactEligible {
		return holding{}, false
	}
	if c.Link != nil && c.Link.Kind == "linkedin" && rec.Source != "site" {
		return holding{}, false
	}
	if ev.Licence == nil && policy.Licence != "" {
		ev.Licence = &policy.Licence
	}
	at := c.HeldAt
	if at.IsZero() {
		at = ev.ObservedAt
	}
	worth := f.reliability(rec.Source, c.Field) * identity * f.freshness(c.Field, at)
	ev.Confidence = rounded(worth)
	return holding{
		claim: c, source: f.order[rec.Source], sourceName: rec.Source, record: rec.ID, origin: originOf(rec, policy),
		heldAt: at, confidence: worth, evidence: ev,
	}, true
}

func (f *fuser) reliability(source, field string) float64 {
	if r, ok := f.cfg.Reliability[source+"."+field]; ok {
		return r
	}
	if r, ok := f.cfg.Reliability[source]; ok {
		return r
	}
	return f.policies[source].Reliability
}

// freshness is what is left of a volatile field's worth since the day it held.
func (f *fuser) freshness(field string, at time.Time) float64 {
	if !volatile[field] || at.IsZero() {
		return 1
	}
	months := max(float64(f.known.Now.Sub(at))/float64(month), 0)
	return math.Pow(1-f.cfg.MonthlyLoss, months)
}

func originOf(rec Record, p Policy) string {
	switch {
	case p.Origin != "":
		return "origin:" + p.Origin
	case rec.Group != "":
		return rec.Group
	}
	return "source:" + rec.Source
}

// joinOrigins makes one origin of those that rest on the same address: what
// cites another claim's page is no second voice.
func (f *fuser) joinOrigins() {
	parent := map[string]string{}
	root := func(o string) string {
		for parent[o] != "" {
			o = parent[o]
		}
		return o
	}
	byURL := map[string]string{}
	for _, held := range f.held {
		for _, h := range held {
			u := deref(h.evidence.URL)
			if u == "" {
				continue
			}
			first, ok := byURL[u]
			if !ok {
				byURL[u] = h.origin
				continue
			}
			if a, b := root(first), root(h.origin); a != b {
				parent[max(a, b)] = min(a, b)
			}
		}
	}
	for field, held := range f.held {
		for i := range held {
			f.held[field][i].origin = root(held[i].origin)
		}
	}
}

// completed adds to a record's claims what one of them implies: a current
// position names role and company, and a current role is a position.
func completed(rec Record) []Claim {
	claims := slices.Clone(rec.Claims)
	has := func(field string) bool {
		return slices.ContainsFunc(rec.Claims, func(c Claim) bool { return c.Field == field })
	}
	current := func(c Claim) bool { return c.Field == FieldExperience && c.Pos != nil && c.Pos.Current }
	role, company := has(FieldCurrentRole), has(FieldCurrentCompany)
	for _, c := range rec.Claims {
		if !current(c) {
			continue
		}
		if !role && c.Pos.Role != "" {
			claims = append(claims, Claim{Field: FieldCurrentRole, Text: c.Pos.Role, HeldAt: c.HeldAt, Evidence: c.Evidence})
			role = true
		}
		if !company && c.Pos.Company != "" {
			claims = append(claims, Claim{Field: FieldCurrentCompany, Text: c.Pos.Company, HeldAt: c.HeldAt, Evidence: c.Evidence})
			company = true
		}
	}
	if slices.ContainsFunc(rec.Claims, current) {
		return claims
	}
	for _, c := range rec.Claims {
		if c.Field != FieldCurrentRole {
			continue
		}
		pos := &Position{Role: c.Text, Current: true}
		for _, at := range rec.Claims {
			if at.Field == FieldCurrentCompany {
				pos.Company = at.Text
				break
			}
		}
		return append(claims, Claim{Field: FieldExperience, Text: positionText(*pos), Pos: pos, HeldAt: c.HeldAt, Evidence: c.Evidence})
	}
	return claims
}

// values groups a field's holdings by key; empty keys are left out.
func (f *fuser) values(field string, key func(string) string) []value {
	var values []value
	at := map[string]int{}
	for _, h := range f.holdings(field) {
		k := key(h.claim.Text)
		if k == "" {
			continue
		}
		i, ok := at[k]
		if !ok {
			i = len(values)
			at[k] = i
			values = append(values, value{key: k})
		}
		values[i].holdings = append(values[i].holdings, h)
	}
	for i := range values {
		values[i].settle()
	}
	return values
}

// merged joins values that say the same at different length, longest first, so that the result does not depend on order.
func (f *fuser) merged(values []value, same func(a, b string) bool) []value {
	slices.SortFunc(values, func(a, b value) int {
		return cmp.Or(cmp.Compare(len(b.key), len(a.key)), strings.Compare(a.key, b.key))
	})
	var out []value
next:
	for _, v := range values {
		for i := range out {
			if same(out[i].key, v.key) {
				out[i].holdings = append(out[i].holdings, v.holdings...)
				continue next
			}
		}
		out = append(out, v)
	}
	for i := range out {
		out[i].settle()
	}
	return out
}

// settle computes confidence, spelling and age from the holdings.
func (v *value) settle() {
	best := map[string]float64{} // by origin
	weight := map[string]float64{}
	v.source = math.MaxInt
	for _, h := range v.holdings {
		best[h.origin] = max(best[h.origin], h.confidence)
		weight[h.claim.Text] += h.confidence
		v.source = min(v.source, h.source)
		if h.heldAt.After(v.newest) {
			v.newest = h.heldAt
		}
	}
	origins := make([]string, 0, len(best))
	for o := range best {
		origins = append(origins, o)
	}
	slices.Sort(origins)
	doubt := 1.0
	for _, o := range origins {
		doubt *= 1 - best[o]
	}
	v.confidence = 1 - doubt
	spellings := make([]string, 0, len(weight))
	for s := range weight {
		spellings = append(spellings, s)
	}
	slices.SortFunc(spellings, func(a, b string) int {
		return cmp.Or(cmp.Compare(rounded(weight[b]), rounded(weight[a])), cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	v.text = spellings[0]
}
