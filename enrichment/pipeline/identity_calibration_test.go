package pipeline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// soul is an invented person with everything that sources could know of them.
type soul struct {
	given, middle, family string
	employers             []string
	place                 string
	handle                string
	site, orcid, email    string
	coAuthors             []string
	repositories          []string
}

// census invents people; some share a name, as people do.
type census struct {
	rng           *rand.Rand
	given, family []string
	companies     []string
	places        []string
	serial        int
}

func newCensus(seed uint64) *census {
	c := &census{rng: rand.New(rand.NewPCG(seed, 1))}
	for n := range nameTables().given {
		if len(n) > 3 {
			c.given = append(c.given, n)
		}
	}
	for n := range nameTables().surname {
		c.family = append(c.family, n)
	}
	slices.Sort(c.given)
	slices.Sort(c.family)
	f := newForge(seed)
	for range 1500 {
		c.companies = append(c.companies, strings.ToUpper(f.word()[:1])+f.word()+f.pick([]string{" Inc.", " GmbH", " Labs", " University", " Ltd", ""}))
	}
	for place := range placeTable().city {
		c.places = append(c.places, place+", "+placeTable().city[place])
	}
	slices.Sort(c.places)
	return c
}

func (c *census) chance(p float64) bool { return c.rng.Float64() < p }

func (c *census) born(given, family string) soul {
	c.serial++
	s := soul{
		given: given, family: family, middle: c.one(c.given), place: c.one(c.places),
		handle: fmt.Sprintf("%s%s%d", given[:1], family, c.serial), coAuthors: c.people(4), repositories: []string{fmt.Sprint("tool-", c.serial), fmt.Sprint("lib-", c.serial)},
		site: fmt.Sprintf("https://%s%d.example/", family, c.serial), orcid: fmt.Sprintf("0000-0002-%04d-%04d", c.serial/10000, c.serial%10000),
		email: fmt.Sprintf("%s@%s%d.example", given, family, c.serial),
	}
	for range 1 + c.rng.IntN(3) {
		s.employers = append(s.employers, c.one(c.companies))
	}
	if c.chance(0.3) {
		s.handle = fmt.Sprintf("%s%d", c.one(c.places)[:4], c.serial)
	}
	return s
}

func (c *census) one(from []string) string { return from[c.rng.IntN(len(from))] }

func (c *census) people(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = c.one(c.given) + " " + c.one(c.family)
	}
	return out
}

// written writes a person's name as one source would.
func (c *census) written(s soul) string {
	given := s.given
	if c.chance(0.1) {
		for nick := range nameTables().nickname[given] {
			if !nameTables().full[nick] && (given == s.given || nick < given) {
				given = nick
			}
		}
	}
	switch x := c.rng.Float64(); {
	case x < 0.1:
		return s.family + ", " + given
	case x < 0.2:
		return given + " " + s.middle + " " + s.family
	case x < 0.27:
		return given[:1] + ". " + s.family
	case x < 0.32:
		return given + " " + s.middle[:1] + ". " + s.family
	}
	return given + " " + s.family
}

// records are what the sources hold about a person.
func (c *census) records(s soul) []Record {
	var out []Record
	some := func(p float64, list []string) []string {
		if !c.chance(p) {
			return nil
		}
		return list[:1+c.rng.IntN(len(list))]
	}
	employers := func(p float64) (e []Employer) {
		for _, name := range some(p, s.employers) {
			e = append(e, Employer{Name: name})
		}
		return e
	}
	if c.chance(0.8) {
		r := Record{Source: "github", ID: s.handle, URL: "https://github.com/" + s.handle, Kind: Person, Employers: employers(0.4), Locations: some(0.5, []string{s.place}), Repositories: s.repositories}
		if c.chance(0.85) {
			r.Names = []string{c.written(s)}
		}
		if c.chance(0.4) {
			r.Identifiers = append(r.Identifiers, website(s.site))
		}
		out = append(out, r)
	}
	if c.chance(0.5) {
		r := Record{Source: "site", ID: s.site, URL: s.site, Group: "site:" + s.site, Kind: Person, Names: []string{c.written(s)}, Employers: employers(0.5), Locations: some(0.4, []string{s.place})}
		if c.chance(0.7) {
			r.Identifiers = append(r.Identifiers, github(s.handle))
		}
		if c.chance(0.3) {
			r.Identifiers = append(r.Identifiers, Identifier{Kind: "email", Value: s.email})
		}
		out = append(out, r)
	}
	if c.chance(0.5) {
		r := Record{Source: "openalex", ID: fmt.Sprint("A", s.orcid), Kind: Person, Names: []string{c.written(s)}, Employers: employers(0.8), CoAuthors: s.coAuthors}
		if c.chance(0.5) {
			r.Identifiers = append(r.Identifiers, Identifier{Kind: "orcid", Value: s.orcid})
		}
		out = append(out, r)
	}
	if c.chance(0.3) {
		out = append(out, Record{Source: "dblp", ID: "pid" + s.orcid, Kind: Person, Names: []string{c.written(s)}, Employers: employers(0.4), CoAuthors: s.coAuthors[:2]})
	}
	return out
}

// seed is what a caller imported about a person: not all, not always right.
func (c *census) seed(s, other soul) Seed {
	in := Input{Name: c.written(s)}
	if c.chance(0.75) {
		in.CurrentCompany = s.employers[0]
	}
	if c.chance(0.1) {
		in.CurrentCompany = c.one(c.companies)
	}
	if c.chance(0.6) {
		in.Location = s.place
	}
	owner := s
	if c.chance(0.04) {
		owner = other // a wrong link
	}
	for _, l := range []struct {
		p    float64
		link string
	}{{0.3, "https://github.com/" + owner.handle}, {0.3, owner.site}, {0.15, "https://orcid.org/" + s.orcid}} {
		if c.chance(l.p) {
			in.Links = append(in.Links, l.link)
		}
	}
	if c.chance(0.3) {
		in.Emails = []string{s.email}
	}
	return seedOf(in)
}

func TestIdentityCalibration(t *testing.T) {
	t.Parallel()
	t.Run("accepts hardly a namesake among people with decoys", func(t *testing.T) {
		c := newCensus(2)
		var accepted, reviewed binary
		var said, truth, count [10]float64
		brier, n := 0.0, 0.0
		for range 1500 {
			s := c.born(c.one(c.given), c.one(c.family))
			var records []Record
			mine := map[string]bool{}
			for _, r := range c.records(s) {
				mine[r.Source+r.ID] = true
				records = append(records, r)
			}
			var decoys []soul
			for range 3 { // namesakes, of whom a few work or live where the person does
				d := c.born(s.given, s.family)
				if c.chance(0.02) {
					d.employers[0] = s.employers[0]
				}
				if c.chance(0.1) {
					d.place = s.place
				}
				decoys = append(decoys, d)
			}
			relative := c.born(c.one(c.given), s.family)
			relative.place = s.place
			other := c.born(c.one(c.given), c.one(c.family))
			decoys = append(decoys, relative, other)
			for _, d := range decoys {
				records = append(records, c.records(d)...)
			}
			// A wrong link leads to somebody of another name, seldom to a namesake.
			wrong := other
			if c.chance(0.15) {
				wrong = decoys[0]
			}
			for _, m := range Decide(Known{Seed: c.seed(s, wrong), Records: records}) {
				is := mine[m.Source+m.Record]
				accepted.add(m.Band == BandAccept, is)
				reviewed.add(m.Band != BandReject, is)
				one := 0.0
				if is {
					one = 1
				}
				bin := min(9, int(m.Probability*10))
				said[bin], truth[bin], count[bin] = said[bin]+m.Probability, truth[bin]+one, count[bin]+1
				brier += (m.Probability - one) * (m.Probability - one)
				n++
			}
		}
		for b := range count {
			t.Logf("said %.1f–%.1f: %6.0f records, mean %.3f, true %.3f", float64(b)/10, float64(b+1)/10, count[b], said[b]/math.Max(1, count[b]), truth[b]/math.Max(1, count[b]))
		}
		p, r, _ := accepted.score()
		_, rr, _ := reviewed.score()
		t.Logf("%s: accept precision %.4f, recall %.4f; recall with review %.4f; Brier %.4f over %.0f records", identityModel, p, r, rr, brier/n, n)
		if p < 0.98 {
			t.Errorf("precision at the accept band is %.4f", p)
		}
		if r < 0.35 {
			t.Errorf("recall at the accept band is %.4f", r)
		}
	})
}
