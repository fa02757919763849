package pipeline

import (
	"slices"
	"strconv"
	"strings"
)

// Match weighs one record against the seed alone: Fellegi–Sunter, attribute by
// attribute, with vetoes and bands. Decide weighs it with the other records too.
//
// A record is accepted when its probability reaches 0.95, its name does not
// contradict, and two independent attributes agree or one decisive does. A name alone never accepts.
func Match(seed Seed, r Record) IdentityMatch { return match(seed, r, surroundings{}).IdentityMatch }

// weighed is a match with what the rules between records need to know.
type weighed struct {
	IdentityMatch
	// decisive says that a proof, an identifier of the person or the caller's own link carries the match.
	decisive bool
}

// anchor is a record taken to be the person, against which others are weighed.
type anchor struct {
	record Record
	// links says that only its links may be used: a page of the caller's that names nobody.
	linksOnly bool
}

// surroundings are what the other records of a profile tell about one.
type surroundings struct {
	anchors   []anchor
	namesakes int // the most people of the seed's name that one source shows
}

// match weighs a record against the seed and the anchors.
func match(seed Seed, r Record, around surroundings) weighed {
	w := weighing{seed: seed, record: r, surroundings: around}
	w.run()
	out := weighed{IdentityMatch: IdentityMatch{
		Source: r.Source, Record: r.ID, Prior: identityPrior, Weights: w.weights, Vetoes: vetoes(seed, r), Model: identityModel, Band: BandReject,
	}, decisive: w.decisive}
	if out.Weights == nil {
		out.Weights = []IdentityWeight{}
	}
	if len(out.Vetoes) > 0 {
		return out
	}
	bits := identityPrior
	for _, x := range out.Weights {
		bits += x.Log2
	}
	p := probabilityOf(bits)
	out.Probability = fourDecimals(p)
	switch {
	case p >= acceptAt && !w.conflict && r.Kind == Person && (w.agreeing >= 2 || w.sole):
		out.Band = BandAccept
	case p >= reviewAt:
		out.Band = BandReview
	}
	return out
}

// vetoes answers why a record cannot be the person, whatever else agrees.
func vetoes(seed Seed, r Record) []string {
	out := slices.Clone(r.Vetoes)
	if out == nil {
		out = []string{}
	}
	switch r.Kind {
	case Organisation:
		out = append(out, "organisation account")
	case Bot:
		out = append(out, "bot account")
	}
	if r.DiedYear > 0 {
		out = append(out, "has died")
	}
	mine, theirs := valuesOf(seed.Identifiers, "orcid"), valuesOf(namedBy(r), "orcid")
	if len(mine) > 0 && len(theirs) > 0 && !intersects(mine, theirs) {
		out = append(out, "different ORCID iD")
	}
	for _, c := range r.Claims {
		if c.Pos == nil || c.Pos.StartYear == 0 {
			continue
		}
		if p := c.Pos; p.EndYear > 0 && (p.EndYear < p.StartYear || (p.EndYear == p.StartYear && p.EndMonth > 0 && p.EndMonth < p.StartMonth)) {
			out = append(out, "employment ends before it begins")
		}
		if r.BornYear > 0 && c.Pos.StartYear < r.BornYear+10 {
			out = append(out, "work before the age of ten")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// weighing is one comparison under way.
type weighing struct {
	surroundings
	seed   Seed
	record Record

	weights  []IdentityWeight
	agreeing int  // independent attributes that agree
	sole     bool // one attribute that suffices by itself agrees
	decisive bool
	conflict bool // the record plainly has another name
	pointed  bool // the caller's link points here
}

// run compares attribute by attribute, in the order of the explanation.
func (w *weighing) run() {
	w.name()
	w.identifiers()
	w.links()
	w.employer()
	w.overlaps()
	w.location()
	w.handle()
}

// add notes a level of the table; agrees says that it counts towards the two independent attributes.
func (w *weighing) add(attribute, level, seed, found string, agrees bool) {
	o, ok := identityOdds[attribute][level]
	if !ok {
		return
	}
	w.note(attribute, level, seed, found, o.log2(), agrees)
}

func (w *weighing) note(attribute, level, seed, found string, bits float64, agrees bool) {
	x := IdentityWeight{Attribute: attribute, Level: level, Log2: fourDecimals(bits)}
	if seed != "" {
		x.Seed = &seed
	}
	if found != "" {
		x.Found = &found
	}
	w.weights = append(w.weights, x)
	if agrees {
		w.agreeing++
	}
}

// name takes the best agreement among the record's names.
func (w *weighing) name() {
	best := NameComparison{Level: NameMissing}
	found := ""
	for _, n := range w.record.Names {
		c := w.compareName(n)
		if c.Level == NameMissing {
			continue
		}
		if best.Level == NameMissing || rank(c) > rank(best) {
			best, found = c, n
		}
	}
	switch {
	case best.Level == NameMissing:
		if bits := handleOfName(w.seed.Name, handleOf(w.record)); bits > 0 {
			w.note(attrName, "handle", w.seed.Name, handleOf(w.record), bits, true)
		}
	case best.Level == NamePart:
		w.note(attrName, string(NamePart), w.seed.Name, found, 0, false)
	case best.Same && best.Level != NameNone:
		w.note(attrName, string(best.Level), w.seed.Name, found, nameLogOdds(best.Level, best.Share), true)
		if bits := namesakeLogOdds(w.namesakes); bits < 0 {
			w.note(attrNamesakes, strconv.Itoa(w.namesakes), "", "", bits, false)
		}
	default:
		w.conflict = true
		w.note(attrName, string(NameNone), w.seed.Name, found, nameConflict.log2(), false)
	}
}

// rank orders comparisons by how much they speak for one person.
func rank(c NameComparison) float64 {
	switch {
	case c.Same && c.Level != NameNone:
		return 10 + nameLogOdds(c.Level, c.Share)
	case c.Level == NamePart:
		return 5
	}
	return c.Score
}

// compareName compares one of the record's names; a display name that is only a handle says nothing.
func (w *weighing) compareName(n string) NameComparison {
	if w.seed.Name == "" || Fold(n) == "" {
		return NameComparison{Level: NameMissing}
	}
	c := ComparePeople(w.seed.Name, n)
	if c.Same || c.Level == NamePart {
		return c
	}
	folded := strings.ReplaceAll(Fold(n), " ", "")
	single := !strings.ContainsAny(strings.TrimSpace(n), " ") && len(tokens(n)) <= 1
	if folded == strings.ReplaceAll(Fold(handleOf(w.record)), " ", "") || strings.ContainsAny(n, "0123456789_@") || (single && n == strings.ToLower(n)) {
		return NameComparison{Level: NameMissing}
	}
	return c
}

// identifiers compares what names a person uniquely: iDs, addresses, the caller's own links.
func (w *weighing) identifiers() {
	named := namedBy(w.record)
	mine := valuesOf(w.seed.Identifiers, "orcid")
	for _, v := range valuesOf(named, "orcid") {
		if slices.Contains(mine, v) {
			w.add(attrORCID, "equal", v, v, true)
			w.sole, w.decisive = true, true
			w.pointed = w.pointed || w.record.Source == "orcid"
			break
		}
	}
	for _, v := range valuesOf(w.seed.Identifiers, "email") {
		if slices.Contains(valuesOf(named, "email"), v) || hashes(v, w.record) {
			if roleAddress(v) {
				w.add(attrEmail, "role", v, v, false)
			} else {
				w.add(attrEmail, "equal", v, v, true)
				w.decisive = true
			}
			break
		}
	}
	for _, id := range w.seed.Identifiers {
		if !w.pointed && id.Kind != "email" && points(id, w.record) {
			w.add(attrSeedLink, "exact", id.Value, w.record.ID, true)
			w.pointed, w.decisive = true, true
		}
	}
	for _, id := range w.seed.Identifiers {
		if accountKind(id.Kind) && !points(id, w.record) && id.Kind != "orcid" && contains(named, id) {
			w.add(attrAccount, "equal", id.Value, id.Value, true)
			break
		}
	}
	w.website(named)
}

// website compares the pages that the seed and the record call their own.
func (w *weighing) website(named []Identifier) {
	for _, s := range w.seed.Identifiers {
		sp, ok := sitePlace(s)
		if !ok || points(s, w.record) {
			continue
		}
		for _, f := range named {
			fp, ok := sitePlace(f)
			if !ok {
				continue
			}
			if sp.page() == fp.page() {
				w.add(attrWebsite, "page", s.Value, f.Value, true)
				return
			}
			if !sp.shared && sp.domain == fp.domain && !institutional(sp.domain) && !w.isEmployerDomain(sp.domain) {
				w.add(attrWebsite, "domain", s.Value, f.Value, true)
				return
			}
		}
	}
}

// isEmployerDomain says that a domain is a company's of either side, so that many people have pages under it.
func (w *weighing) isEmployerDomain(domain string) bool {
	for _, e := range w.record.Employers {
		if e.Domain == domain {
			return true
		}
	}
	label, _, _ := strings.Cut(domain, ".")
	company := strings.ReplaceAll(StripCompany(seedCompany(w.seed)), " ", "")
	return company != "" && company == strings.ReplaceAll(Fold(label), " ", "")
}

// links looks for bonds with records already taken to be the person; the strongest counts, once.
func (w *weighing) links() {
	best, with := 0, ""
	for _, a := range w.anchors {
		if same(a.record, w.record) {
			continue
		}
		level := 0
		there, back := claimsPage(w.record, a.record), claimsPage(a.record, w.record)
		switch {
		case there && back:
			level = 3
		case back && !a.linksOnly:
			level = 2
		case there && !w.countedAlready(a.record):
			level = 1
		}
		if level > best {
			best, with = level, a.record.Source+":"+a.record.ID
		}
	}
	switch best {
	case 3:
		w.add(attrLink, "proven", with, w.record.URL, true)
		w.decisive = true
	case 2:
		w.add(attrLink, "named", with, w.record.URL, true)
	case 1:
		w.add(attrLink, "names", with, w.record.URL, true)
	}
}

// countedAlready says that naming this anchor has been weighed as naming one of the caller's links.
func (w *weighing) countedAlready(a Record) bool {
	return slices.ContainsFunc(w.seed.Identifiers, func(id Identifier) bool { return points(id, a) })
}
