package pipeline

import (
	"math"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// identifyForTest is a small stand-in for extract.Identify, which this package cannot import.
func identifyForTest(raw string) (Identifier, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return Identifier{}, false
	}
	kinds := map[string]string{"github.com": "github", "orcid.org": "orcid", "twitter.com": "twitter"}
	value := strings.Trim(u.Path, "/")
	if kind, ok := kinds[u.Host]; ok {
		if kind != "orcid" {
			value = strings.ToLower(value)
		}
		return Identifier{Kind: kind, Value: value, URL: raw}, true
	}
	return Identifier{Kind: "website", Value: raw, URL: raw}, true
}

func seedOf(in Input) Seed { return NormalizeInput(in, identifyForTest) }

func github(login string) Identifier {
	return Identifier{Kind: "github", Value: login, URL: "https://github.com/" + login}
}

func website(address string) Identifier {
	return Identifier{Kind: "website", Value: address, URL: address}
}

func TestNormalizeInput(t *testing.T) {
	t.Parallel()
	t.Run("turns links and addresses into identifiers, once each and in order", func(t *testing.T) {
		seed := seedOf(Input{
			Name:   "  Josiah   Carberry ",
			Links:  []string{"https://github.com/JCarberry", "nonsense", " https://carberry.example/ ", "https://github.com/jcarberry"},
			Emails: []string{"Josiah@Carberry.example", "not an address"},
		})
		want := []Identifier{
			{Kind: "github", Value: "jcarberry", URL: "https://github.com/JCarberry"}, website("https://carberry.example/"),
			{Kind: "email", Value: "josiah@carberry.example"},
		}
		if !reflect.DeepEqual(seed.Identifiers, want) || seed.Name != "Josiah Carberry" {
			t.Errorf("%q %+v", seed.Name, seed.Identifiers)
		}
	})
}

func TestMatch(t *testing.T) {
	t.Parallel()
	carberry := Input{Name: "Josiah Carberry", CurrentCompany: "Brown University", Location: "Providence, RI, USA"}
	linked := carberry
	linked.Links = []string{"https://github.com/jcarberry", "https://carberry.example", "https://orcid.org/0000-0002-1825-0097"}
	linked.Emails = []string{"josiah@carberry.example", "info@brown.example"}
	person := func(change func(*Record)) Record {
		r := Record{Source: "github", ID: "someone", URL: "https://github.com/someone", Kind: Person, Names: []string{"Josiah Carberry"}}
		change(&r)
		return r
	}
	for _, c := range []struct {
		name string
		in   Input
		r    Record
		want Band
	}{
		{"never accepts a name alone, however rare", carberry, person(func(*Record) {}), BandReview},
		{"rejects a common name alone", Input{Name: "John Smith"}, person(func(r *Record) { r.Names = []string{"John Smith"} }), BandReject},
		{"rejects a namesake with another employer in another country", carberry, person(func(r *Record) {
			r.Employers, r.Locations = []Employer{{Name: "Acme Mining Ltd"}}, []string{"Perth, Australia"}
		}), BandReject},
		{"accepts a rare name with the same employer", carberry, person(func(r *Record) { r.Employers = []Employer{{Name: "Brown Univ."}} }), BandAccept},
		{"keeps a common name with the same employer for review", Input{Name: "John Smith", CurrentCompany: "Acme"}, person(func(r *Record) {
			r.Names, r.Employers = []string{"John Smith"}, []Employer{{Name: "ACME Inc."}}
		}), BandReview},
		{"accepts a common name with the same employer and city", Input{Name: "John Smith", CurrentCompany: "Acme", Location: "Leeds, UK"}, person(func(r *Record) {
			r.Names, r.Employers, r.Locations = []string{"John Smith"}, []Employer{{Name: "ACME Inc."}}, []string{"Leeds"}
		}), BandAccept},
		{"accepts the caller's own link with an agreeing name", linked, person(func(r *Record) { r.ID, r.URL = "jcarberry", "https://github.com/jcarberry" }), BandAccept},
		{"accepts the caller's own link under a nickname", Input{Name: "William Gates", Links: []string{"https://github.com/bg"}}, person(func(r *Record) {
			r.ID, r.URL, r.Names = "bg", "https://github.com/bg", []string{"Bill Gates"}
		}), BandAccept},
		{"accepts the caller's own link when only the login spells the name", linked, person(func(r *Record) {
			r.ID, r.URL, r.Names = "jcarberry", "https://github.com/jcarberry", nil
		}), BandAccept},
		{"does not accept the caller's link when the page shows another name", linked, person(func(r *Record) {
			r.ID, r.URL, r.Names = "jcarberry", "https://github.com/jcarberry", []string{"Maria Lopez"}
		}), BandReject},
		{"does not accept another name even with the employer and the address", linked, person(func(r *Record) {
			r.ID, r.URL, r.Names = "jcarberry", "https://github.com/jcarberry", []string{"Jane Carberry"}
			r.Employers, r.Identifiers = []Employer{{Name: "Brown University"}}, []Identifier{{Kind: "email", Value: "josiah@carberry.example"}}
		}), BandReview},
		{"reviews the caller's link when the page names nobody", linked, person(func(r *Record) {
			r.ID, r.URL, r.Names, r.Source = "https://carberry.example/", "https://carberry.example/", nil, "site"
		}), BandReview},
		{"accepts the same ORCID iD", linked, person(func(r *Record) { r.Identifiers = []Identifier{{Kind: "orcid", Value: "0000-0002-1825-0097"}} }), BandAccept},
		{"vetoes another ORCID iD", linked, person(func(r *Record) {
			r.Identifiers = []Identifier{{Kind: "orcid", Value: "0000-0001-5109-3700"}, github("jcarberry"), website("https://carberry.example")}
		}), BandReject},
		{"accepts a shared address", linked, person(func(r *Record) { r.Identifiers = []Identifier{{Kind: "email", Value: "josiah@carberry.example"}} }), BandAccept},
		{"takes no office address for the person", Input{Name: "John Smith", Emails: []string{"info@brown.example"}}, person(func(r *Record) {
			r.Names, r.Identifiers = []string{"John Smith"}, []Identifier{{Kind: "email", Value: "info@brown.example"}}
		}), BandReject},
		{"accepts a record that names the caller's website", linked, person(func(r *Record) { r.Identifiers = []Identifier{website("https://www.carberry.example/about")} }), BandAccept},
		{"takes no shared host for a website", Input{Name: "John Smith", Links: []string{"https://medium.com/@a"}}, person(func(r *Record) {
			r.Names, r.Identifiers = []string{"John Smith"}, []Identifier{website("https://medium.com/@b")}
		}), BandReject},
		{"takes two sites on one machine for two", Input{Name: "Josiah Carberry", Links: []string{"http://127.0.0.1:4001/"}}, person(func(r *Record) {
			r.Identifiers = []Identifier{website("http://127.0.0.1:4002/")}
		}), BandReview},
		{"vetoes an organisation", linked, person(func(r *Record) { r.ID, r.URL, r.Kind = "jcarberry", "https://github.com/jcarberry", Organisation }), BandReject},
		{"vetoes the dead", linked, person(func(r *Record) { r.ID, r.URL, r.DiedYear = "jcarberry", "https://github.com/jcarberry", 1929 }), BandReject},
		{"vetoes an employment that ends before it begins", linked, person(func(r *Record) {
			r.ID, r.URL = "jcarberry", "https://github.com/jcarberry"
			r.Claims = []Claim{{Field: FieldExperience, Pos: &Position{StartYear: 2015, EndYear: 2012}}}
		}), BandReject},
		{"takes no relative for the person", carberry, person(func(r *Record) {
			r.Names, r.Employers, r.Locations = []string{"Abigail Carberry"}, []Employer{{Name: "Brown University"}}, []string{"Providence"}
		}), BandReject},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Match(seedOf(c.in), c.r)
			if m.Band != c.want {
				t.Errorf("%s at %.4f: %+v, vetoes %v", m.Band, m.Probability, m.Weights, m.Vetoes)
			}
			checkExplanation(t, m)
		})
	}
}

// checkExplanation recomputes the probability from the explanation.
func checkExplanation(t *testing.T, m IdentityMatch) {
	t.Helper()
	bits := m.Prior
	for _, w := range m.Weights {
		bits += w.Log2
	}
	want := 1 / (1 + math.Exp2(-bits))
	if len(m.Vetoes) > 0 {
		want = 0
	}
	if math.Abs(want-m.Probability) > 0.0001 {
		t.Errorf("%s:%s says %.4f, and its weights say %.4f", m.Source, m.Record, m.Probability, want)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	site := Record{Source: "site", ID: "https://ann.example/", URL: "https://ann.example/", Group: "site:ann.example", Kind: Person, Names: []string{"Ann Lee"}, Identifiers: []Identifier{github("ax1")}}
	account := Record{Source: "github", ID: "ax1", URL: "https://github.com/ax1", Kind: Person, Names: []string{"Ann Lee"}, Identifiers: []Identifier{website("https://ann.example")}}
	stranger := Record{Source: "github", ID: "annlee", URL: "https://github.com/annlee", Kind: Person, Names: []string{"Ann Lee"}, Locations: []string{"Sydney, Australia"}, Employers: []Employer{{Name: "Bank of Sydney"}}}
	in := Input{Name: "Ann Lee", Location: "Berlin, Germany", Links: []string{"https://ann.example"}}
	bands := func(in Input, records ...Record) map[string]Band {
		out := map[string]Band{}
		for _, m := range Decide(Known{Seed: seedOf(in), Records: records}) {
			out[m.Source+":"+m.Record] = m.Band
			checkExplanation(t, m)
		}
		return out
	}
	t.Run("proves an account by the caller's site, which links back, and rejects the namesake", func(t *testing.T) {
		got := bands(in, stranger, account, site)
		if got["github:ax1"] != BandAccept || got["site:https://ann.example/"] != BandAccept || got["github:annlee"] != BandReject {
			t.Errorf("%v", got)
		}
	})
	t.Run("lets a page that names nobody hold one end of a proof, but gives it no band", func(t *testing.T) {
		plain := site
		plain.Kind, plain.Names = Unclear, nil
		got := bands(in, account, plain)
		if got["github:ax1"] != BandAccept || got["site:https://ann.example/"] == BandAccept {
			t.Errorf("%v", got)
		}
	})
	t.Run("sends two accepts of one source to review", func(t *testing.T) {
		in := Input{Name: "Josiah Carberry", CurrentCompany: "Brown University"}
		a := Record{Source: "openalex", ID: "A1", Kind: Person, Names: []string{"Josiah Carberry"}, Employers: []Employer{{Name: "Brown University"}}}
		b := a
		b.ID = "A2"
		if got := bands(in, a, b); got["openalex:A1"] != BandReview || got["openalex:A2"] != BandReview {
			t.Errorf("%v", got)
		}
		in.Links = []string{"https://orcid.org/0000-0002-1825-0097"}
		b.Identifiers = []Identifier{{Kind: "orcid", Value: "0000-0002-1825-0097"}}
		if got := bands(in, a, b); got["openalex:A1"] != BandReview || got["openalex:A2"] != BandAccept {
			t.Errorf("with a decisive attribute: %v", got)
		}
	})
	t.Run("takes several pages of one site for one person's", func(t *testing.T) {
		about := site
		about.ID, about.URL = "https://ann.example/about", "https://ann.example/about"
		got := bands(in, site, about, account)
		if got["site:https://ann.example/"] != BandAccept || got["site:https://ann.example/about"] != BandAccept {
			t.Errorf("%v", got)
		}
	})
	t.Run("lets what is accepted support what is not: employer and co-authors", func(t *testing.T) {
		in := Input{Name: "Josiah Carberry", Links: []string{"https://orcid.org/0000-0002-1825-0097"}}
		orcid := Record{
			Source: "orcid", ID: "0000-0002-1825-0097", URL: "https://orcid.org/0000-0002-1825-0097", Kind: Person, Names: []string{"Josiah Carberry"},
			Employers: []Employer{{Name: "Brown University", ROR: "05gq02987"}}, CoAuthors: []string{"Ann Lee", "Bo Ek"},
		}
		author := Record{Source: "dblp", ID: "c/JC", Kind: Person, Names: []string{"J. Carberry"}, CoAuthors: []string{"A. Lee", "B. Ek"}, Employers: []Employer{{ROR: "05gq02987"}}}
		if got := bands(in, author); got["dblp:c/JC"] == BandAccept {
			t.Errorf("alone: %v", got)
		}
		if got := bands(in, author, orcid); got["dblp:c/JC"] != BandAccept {
			t.Errorf("with the ORCID record: %v", got)
		}
	})
	t.Run("decides the same in any order", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		records := []Record{site, account, stranger}
		for k := range 12 {
			r := stranger
			r.ID, r.Source = string(rune('a'+k)), []string{"github", "openalex", "site"}[k%3]
			r.Identifiers = []Identifier{github("ax1"), website("https://ann.example/x")}[k%2 : k%2+1]
			records = append(records, r)
		}
		want := bands(in, records...)
		for range 20 {
			rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
			if got := bands(in, records...); !reflect.DeepEqual(got, want) {
				t.Fatalf("%v and %v", got, want)
			}
		}
	})
}
