package extract

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

const home = "https://ada.example/"

func page(body string) *Facts {
	return Page(Document{URL: home, ContentType: "text/html; charset=utf-8", Body: []byte(body)})
}

func texts(values []Value) []string {
	out := []string{}
	for _, v := range values {
		out = append(out, v.Text)
	}
	return out
}

func wantTexts(t *testing.T, what string, got []Value, want ...string) {
	t.Helper()
	if !slices.Equal(texts(got), want) {
		t.Errorf("%s: got %q, want %q", what, texts(got), want)
	}
}

const adaLD = `{"@context":"https://schema.org","@type":"ProfilePage","dateModified":"2024-05-01","mainEntity":{
	"@type":["Person"],"@id":"#me","name":"Ada Lovelace","jobTitle":"Analyst","email":"mailto:ada@lovelace.dev",
	"worksFor":{"@type":"Organization","name":"Engine Ltd","url":"https://engine.example/"},
	"alumniOf":[{"@type":"CollegeOrUniversity","name":"University of London","sameAs":"https://ror.org/04cw6st05"}],
	"sameAs":["https://github.com/ada","https://orcid.org/0000-0002-1825-0097"],
	"knowsAbout":["Mathematics",{"@type":"Thing","name":"Go"},"https://www.wikidata.org/wiki/Q1"],
	"address":{"@type":"PostalAddress","addressLocality":"London","addressCountry":{"@type":"Country","name":"UK"}}}}`

func TestJSONLD(t *testing.T) {
	t.Parallel()
	script := func(s string) string { return `<script type="application/ld+json">` + s + "</script>" }
	check := func(t *testing.T, f *Facts) {
		t.Helper()
		if f.Kind != pipeline.Person {
			t.Fatalf("kind %q", f.Kind)
		}
		p := f.Person
		wantTexts(t, "names", p.Names, "Ada Lovelace")
		wantTexts(t, "roles", p.Roles, "Analyst")
		wantTexts(t, "companies", p.Companies, "Engine Ltd")
		wantTexts(t, "locations", p.Locations, "London, UK")
		wantTexts(t, "emails", p.Emails, "ada@lovelace.dev")
		wantTexts(t, "skills", p.Skills, "Mathematics", "Go")
		wantTexts(t, "links", p.Links, "https://github.com/ada", "https://orcid.org/0000-0002-1825-0097")
		if len(p.Employers) != 2 || p.Employers[0].Domain != "engine.example" || p.Employers[1].ROR != "04cw6st05" {
			t.Errorf("employers %+v", p.Employers)
		}
		if len(p.Positions) != 1 || p.Positions[0].Value.Text != "Analyst at Engine Ltd" || !p.Positions[0].Current {
			t.Errorf("positions %+v", p.Positions)
		}
	}
	for name, s := range map[string]string{
		"plain":                         script(adaLD),
		"inside an HTML comment":        script("<!--\n" + adaLD + "\n-->"),
		"inside CDATA with comments":    script("//<![CDATA[\n" + adaLD + "\n//]]>"),
		"with block and line comments":  script("/* data: { */ // and \"more\"\n" + strings.Replace(adaLD, `"jobTitle"`, `/* job */ "jobTitle"`, 1)),
		"with trailing commas":          script(strings.NewReplacer(`"Go"}`, `"Go",}`, `}}}}`, `},},},}`, `}}}`, `},},}`).Replace(adaLD)),
		"with raw control characters":   script(strings.Replace(adaLD, "Ada Lovelace", "Ada\x01\nLovelace", 1)),
		"with a semicolon":              script(adaLD + ";"),
		"after a broken and empty one":  script(`{"@type":"Person","name":`) + script("") + script("not json") + script(adaLD),
		"in a graph with a reference":   script(`{"@graph":[{"@type":"WebPage","mainEntity":{"@id":"#me"}},` + strings.TrimSuffix(adaLD[strings.Index(adaLD, `{`+"\n\t"):], "}") + `]}`),
		"with prefixed names":           script(strings.NewReplacer(`"name"`, `"schema:name"`, `"Person"`, `"http://schema.org/Person"`, `"mainEntity"`, `"https://schema.org/mainEntity"`).Replace(adaLD)),
		"with entities for quotes":      script(strings.ReplaceAll(adaLD, `"`, "&quot;")),
		"in a list":                     script("[" + adaLD + "]"),
		"with a byte order mark":        script("\ufeff" + adaLD),
		"with type and charset in caps": `<SCRIPT TYPE="Application/LD+JSON; charset=utf-8">` + adaLD + "</SCRIPT>",
	} {
		t.Run("reads a person "+name, func(t *testing.T) {
			t.Parallel()
			check(t, page("<html><head>"+s+"</head><body><p>Hello</p></body></html>"))
		})
	}
	t.Run("keeps what a cut-off script said", func(t *testing.T) {
		t.Parallel()
		f := page(script(adaLD[:strings.Index(adaLD, `"worksFor"`)]))
		wantTexts(t, "names", f.Person.Names, "Ada Lovelace")
		wantTexts(t, "roles", f.Person.Roles, "Analyst")
	})
	t.Run("notes since when the page says so", func(t *testing.T) {
		t.Parallel()
		f := page(script(adaLD))
		if want := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC); !f.Person.Roles[0].HeldAt.Equal(want) {
			t.Errorf("held at %v", f.Person.Roles[0].HeldAt)
		}
		if s := f.Person.Roles[0].Snippet; s != `"jobTitle":"Analyst"` {
			t.Errorf("snippet %q", s)
		}
	})
	t.Run("reads roles with their dates, and sees impossible ones", func(t *testing.T) {
		t.Parallel()
		f := page(script(`{"@type":"Person","name":"Ada Lovelace","worksFor":[
			{"@type":"OrganizationRole","roleName":"Analyst","startDate":"2020-02","worksFor":{"@type":"Organization","name":"Engine Ltd"}},
			{"@type":"OrganizationRole","roleName":"Clerk","startDate":"2019","endDate":"2018-01-01","worksFor":{"name":"Bank"}}]}`))
		wantTexts(t, "companies", f.Person.Companies, "Engine Ltd")
		r := f.Record(Provenance{Source: "site"})
		if !slices.Equal(r.Vetoes, []string{"employment ends before it begins"}) {
			t.Errorf("vetoes %q", r.Vetoes)
		}
		if p := f.Person.Positions[0]; p.StartYear != 2020 || p.StartMonth != 2 || !p.Current || p.Role != "Analyst" {
			t.Errorf("position %+v", p)
		}
	})
}

func TestWhosePage(t *testing.T) {
	t.Parallel()
	card := func(name, link string) string {
		return `<div class="h-card"><a class="p-name u-url" href="` + link + `">` + name + `</a><a class="u-email" href="mailto:` + strings.ToLower(strings.Fields(name)[0]) + `@team.dev">@</a></div>`
	}
	for _, c := range []struct {
		name, html string
		kind       pipeline.RecordKind
		want       []string
	}{
		{"one card alone", card("Ada Lovelace", "/a"), pipeline.Person, []string{"Ada Lovelace"}},
		{"the card of the page's own address among three", card("Ada Lovelace", "/") + card("Bob Babbage", "/b") + card("Cy Clerk", "/c"), pipeline.Person, []string{"Ada Lovelace"}},
		{"the card that is rel=me", `<a rel="me" href="https://ada.social.example/x">me</a>` + card("Ada Lovelace", "https://ada.social.example/x") + card("Bob Babbage", "/b"), pipeline.Person, []string{"Ada Lovelace"}},
		{"three cards", card("Ada Lovelace", "/a") + card("Bob Babbage", "/b") + card("Cy Clerk", "/c"), pipeline.Unclear, nil},
		{"three people of one script", `<script type="application/ld+json">[{"@type":"Person","name":"A B"},{"@type":"Person","name":"C D"},{"@type":"Person","name":"E F"}]</script>`, pipeline.Unclear, nil},
		{"three employees of an organisation", `<h1>Our Team</h1><script type="application/ld+json">{"@type":"Organization","name":"X","employee":[{"@type":"Person","name":"A B"},{"@type":"Person","name":"C D"},{"@type":"Person","name":"E F"}]}</script>`, pipeline.Unclear, nil},
		{"script and card of the same person", `<script type="application/ld+json">{"@type":"Person","name":"Ada K. Lovelace"}</script>` + card("Ada Lovelace", "/a"), pipeline.Person, []string{"Ada K. Lovelace", "Ada Lovelace"}},
		{"a person and the authors of quotes", `<div class="h-card"><b class="p-name">Ada Lovelace</b></div><div class="h-entry"><i class="p-author h-card">Bob Babbage</i></div>`, pipeline.Person, []string{"Ada Lovelace"}},
		{"nobody", `<p>Hello</p>`, pipeline.Unclear, nil},
		{"an organisation", `<script type="application/ld+json">{"@type":"Organization","name":"X","url":"https://ada.example"}</script>`, pipeline.Organisation, nil},
		{"a title and heading that agree", `<title>Ada Lovelace – Analyst</title><h1>Ada Lovelace</h1>`, pipeline.Person, []string{"Ada Lovelace"}},
		{"a heading that introduces", `<title>My site</title><h1>Hi, I’m Ada Lovelace!</h1>`, pipeline.Person, []string{"Ada Lovelace"}},
		{"a heading that is no name", `<title>Software Engineering Blog</title><h1>Software Engineering</h1>`, pipeline.Unclear, nil},
		{"a title that the copyright line confirms", `<title>Contact – Ada Lovelace</title><h1>Contact</h1><footer>© 2024 Ada Lovelace</footer>`, pipeline.Person, []string{"Ada Lovelace"}},
		{"a title that nothing confirms", `<title>Ada Lovelace | The News</title><h1>Who was she?</h1>`, pipeline.Unclear, nil},
		{"the person of a blog beside the login that published", `<script type="application/ld+json">{"@graph":[{"@type":"WebPage","about":{"@id":"#p"},"author":{"@id":"#u"}},{"@type":["Person","Organization"],"@id":"#p","name":"Ada Lovelace"},{"@type":"Person","@id":"#u","name":"admin"}]}</script>`, pipeline.Person, []string{"Ada Lovelace"}},
		{"the card of a company", `<div class="h-card"><b class="p-name">Engine Ltd.</b></div>`, pipeline.Unclear, nil},
		{"an Open Graph profile", `<meta property="og:type" content="profile"><meta property="profile:first_name" content="Ada"><meta name="profile:last_name" content="Lovelace">`, pipeline.Person, []string{"Ada Lovelace"}},
		{"an Open Graph website", `<meta property="og:type" content="website"><meta property="og:title" content="Ada Lovelace">`, pipeline.Unclear, nil},
		{"microdata", `<div itemscope itemtype="https://schema.org/Person"><span itemprop="name">Ada Lovelace</span></div>`, pipeline.Person, []string{"Ada Lovelace"}},
		{"RDFa", `<div vocab="http://schema.org/" typeof="Person"><span property="name">Ada Lovelace</span></div>`, pipeline.Person, []string{"Ada Lovelace"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := page(c.html)
			if f.Kind != c.kind {
				t.Errorf("kind %q, want %q", f.Kind, c.kind)
			}
			wantTexts(t, "names", f.Person.Names, c.want...)
			if c.kind == pipeline.Unclear && len(f.Record(Provenance{}).Claims) > 0 {
				t.Error("a page of nobody in particular made claims")
			}
		})
	}
	t.Run("a title that the link home confirms", func(t *testing.T) {
		t.Parallel()
		f := Page(Document{URL: home + "contact", Body: []byte(`<title>Contact | Ada Lovelace</title><a href="/">Ada Lovelace</a><h1>Contact</h1><a href="mailto:ada@lovelace.dev">mail</a>`)})
		wantTexts(t, "names", f.Person.Names, "Ada Lovelace")
		wantTexts(t, "emails", f.Person.Emails, "ada@lovelace.dev")
	})
	t.Run("keeps other people's addresses apart", func(t *testing.T) {
		t.Parallel()
		f := page(card("Ada Lovelace", "/") + card("Bob Babbage", "/b") + card("Cy Clerk", "/c") + card("Di Dee", "/d"))
		wantTexts(t, "emails", f.Person.Emails, "ada@team.dev")
		f = page(card("Ada Lovelace", "/") + card("Bob Babbage", "/b") + `<script type="application/ld+json">{"@type":"Organization","name":"Engine","sameAs":"https://github.com/engine"}</script><a href="https://github.com/engine">GitHub</a>`)
		wantTexts(t, "emails", f.Person.Emails, "ada@team.dev")
		wantTexts(t, "links", f.Person.Links, "https://ada.example/")
	})
}

func TestMarkupSyntaxes(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, f *Facts) {
		t.Helper()
		p := f.Person
		wantTexts(t, "names", p.Names, "Ada Lovelace")
		wantTexts(t, "roles", p.Roles, "Analyst")
		wantTexts(t, "companies", p.Companies, "Engine Ltd")
		wantTexts(t, "locations", p.Locations, "London, UK")
		wantTexts(t, "emails", p.Emails, "ada@lovelace.dev")
		wantTexts(t, "links", p.Links, "https://github.com/ada")
	}
	t.Run("microdata, with a reference", func(t *testing.T) {
		t.Parallel()
		check(t, page(`<div itemscope itemtype="http://schema.org/Person" itemref="more"><h1 itemprop="name"><a href="/">Ada Lovelace</a></h1>
			<span itemprop="jobTitle">Analyst</span> at <span itemprop="worksFor" itemscope itemtype="http://schema.org/Organization"><a itemprop="name" href="https://engine.example">Engine Ltd</a></span>
			<a itemprop="email" href="mailto:ada@lovelace.dev">write</a></div>
			<div id="more"><a itemprop="sameAs" href="https://github.com/ada">code</a>
			<p itemprop="address" itemscope itemtype="http://schema.org/PostalAddress"><meta itemprop="addressCountry" content="UK"><span itemprop="addressLocality">London</span></p></div>`))
	})
	t.Run("RDFa Lite", func(t *testing.T) {
		t.Parallel()
		check(t, page(`<div vocab="https://schema.org/" typeof="Person" resource="#me"><h1 property="name">Ada Lovelace</h1>
			<span property="jobTitle">Analyst</span> at <span property="worksFor" typeof="Organization"><span property="name">Engine Ltd</span></span>
			<a property="email" href="mailto:ada@lovelace.dev">write</a><link property="sameAs" href="https://github.com/ada">
			<p property="address" typeof="PostalAddress"><span property="addressLocality">London</span> <span property="addressCountry">UK</span></p></div>`))
	})
	t.Run("an h-card", func(t *testing.T) {
		t.Parallel()
		check(t, page(`<div class="h-card"><h1 class="p-name">Ada Lovelace</h1><span class="p-job-title">Analyst</span> <span class="p-org">Engine Ltd</span>
			<a class="u-email" href="mailto:ada@lovelace.dev">write</a><a class="u-url" href="https://github.com/ada">code</a>
			<p class="p-adr h-adr"><b class="p-locality">London</b> <b class="p-country-name">UK</b></p></div>`))
	})
	t.Run("an old vcard", func(t *testing.T) {
		t.Parallel()
		check(t, page(`<div class="vcard"><h1 class="fn">Ada Lovelace</h1><span class="title">Analyst</span> <span class="org">Engine Ltd</span>
			<a class="email" href="mailto:ada@lovelace.dev">write</a><a class="url" href="https://github.com/ada">code</a>
			<p class="adr"><b class="locality">London</b> <b class="country-name">UK</b></p></div>`))
	})
	t.Run("an h-resume", func(t *testing.T) {
		t.Parallel()
		f := page(`<div class="h-resume"><p class="p-name">Ada Lovelace</p><p class="p-summary">Wrote the first program.</p>
			<div class="p-experience h-event h-card"><b class="p-job-title">Analyst</b> <a class="p-name p-org u-url" href="https://engine.example/">Engine Ltd</a>
			<time class="dt-start" datetime="2019-03-01">x</time></div>
			<div class="p-experience h-event"><b class="p-name">Clerk</b> <i class="p-location h-card">Bank</i><time class="dt-start" datetime="2015">x</time><time class="dt-end" datetime="2018-12">x</time></div>
			<p><span class="p-skill">Go</span>, <span class="p-skill">SQL</span></p></div>`)
		wantTexts(t, "names", f.Person.Names, "Ada Lovelace")
		wantTexts(t, "skills", f.Person.Skills, "Go", "SQL")
		wantTexts(t, "headlines", f.Person.Headlines, "Wrote the first program.")
		wantTexts(t, "companies", f.Person.Companies, "Engine Ltd")
		if p := f.Person.Positions; len(p) != 2 || p[0].Value.Text != "Analyst at Engine Ltd" || p[1].Value.Text != "Clerk at Bank" || p[1].EndMonth != 12 {
			t.Errorf("positions %+v", p)
		}
	})
}

func TestJSONResume(t *testing.T) {
	t.Parallel()
	f := Page(Document{URL: "https://ada.example/resume.json", ContentType: "application/json", Body: []byte(`{
		"basics":{"name":"Ada Lovelace","label":"Analyst","email":"ada@lovelace.dev","phone":7,"url":"https://ada.example","summary":["wrong"],
			"location":{"city":"London","countryCode":"UK","address":{}},"profiles":[{"network":"GitHub","username":"ada"},"wrong",{"network":"Twitter","url":"https://twitter.com/ada"}]},
		"work":[{"name":"Engine Ltd","position":"Analyst","startDate":"2019-03-01","highlights":["First program",3]},{"company":"Bank","position":"Clerk","startDate":"2015","endDate":"2018"},17],
		"education":[{"institution":"University of London"},null],"skills":[{"name":"Web","keywords":["Go","SQL"]},"Maths",{"name":{}}],"meta":{"x":1}}`)})
	if f.Kind != pipeline.Person {
		t.Fatalf("kind %q", f.Kind)
	}
	p := f.Person
	wantTexts(t, "names", p.Names, "Ada Lovelace")
	wantTexts(t, "headlines", p.Headlines, "Analyst")
	wantTexts(t, "locations", p.Locations, "London, UK")
	wantTexts(t, "emails", p.Emails, "ada@lovelace.dev")
	wantTexts(t, "links", p.Links, "https://ada.example/", "https://github.com/ada", "https://x.com/ada")
	wantTexts(t, "skills", p.Skills, "Web", "Go", "SQL", "Maths")
	wantTexts(t, "companies", p.Companies, "Engine Ltd")
	if len(p.Positions) != 2 || len(p.Employers) != 3 || !slices.Equal(p.Positions[0].Highlights, []string{"First program", "3"}) {
		t.Errorf("positions %+v employers %+v", p.Positions, p.Employers)
	}
}

func TestOptOut(t *testing.T) {
	t.Parallel()
	body := `<script type="application/ld+json">` + adaLD + `</script><a href="/about">About</a>`
	for _, c := range []struct{ name, head, header, tdm, want string }{
		{"nothing", "", "", "", ""},
		{"noindex", `<meta name="robots" content="NOINDEX, follow">`, "", "", "noindex"},
		{"none", `<META NAME=ROBOTS CONTENT=none>`, "", "", "noindex"},
		{"noai", `<meta name="robots" content="noai, noimageai">`, "", "", "noai"},
		{"only the images", `<meta name="robots" content="noimageai, max-snippet:-1">`, "", "", ""},
		{"our own name", `<meta name="enrichd" content="noindex">`, "", "", "noindex"},
		{"another robot's name", `<meta name="googlebot" content="noindex">`, "", "", ""},
		{"the header", "", "noindex, nofollow", "", "noindex"},
		{"the header for another robot", "", "googlebot: noindex, nofollow", "", ""},
		{"the header for us", "", "googlebot: nofollow, enrichd: noindex", "", "noindex"},
		{"an expiry date", "", "unavailable_after: 25 Jun 2030 15:00:00 PST", "", ""},
		{"a reservation in the header", "", "", "1", "tdm-reservation"},
		{"no reservation", `<meta name="tdm-reservation" content="0">`, "", "0", ""},
		{"a reservation in the page", `<meta name="tdm-reservation" content="1">`, "", "", "tdm-reservation"},
	} {
		t.Run("obeys "+c.name, func(t *testing.T) {
			t.Parallel()
			f := Page(Document{URL: home, Header: map[string]string{"x-robots-tag": c.header, "tdm-reservation": c.tdm}, Body: []byte("<head>" + c.head + "</head>" + body)})
			if f.OptOut != c.want {
				t.Errorf("opt-out %q, want %q", f.OptOut, c.want)
			}
			r := f.Record(Provenance{Source: "site"})
			if facts := len(r.Names) + len(r.Claims) + len(r.Identifiers) + len(f.Person.Names); (facts == 0) != (c.want != "") {
				t.Errorf("%d facts", facts)
			}
			if len(f.Links) != 1 {
				t.Errorf("links %v", f.Links)
			}
		})
	}
}

func TestNotices(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"No recruiters please.", "No recruiters, no agencies", "I am not looking for a new job. Please, no unsolicited recruiter mails.",
		"Recruiters: please do not contact me.", "Please don't email me with job offers.", "I’m not interested in recruiters' messages",
		"Not open to new opportunities at the moment", "Keine Anfragen von Recruitern!", "Bitte keine Headhunter.", "Recruiter bitte nicht kontaktieren",
		"Pas de recruteurs, merci.", "Recruteurs s'abstenir", "Recruteurs, merci de ne pas me contacter", "No reclutadores, por favor", "Reclutadores abstenerse",
		"Sem recrutadores, por favor", "Niente recruiter, grazie", "Geen recruiters of acquisitie a.u.b.",
	} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			f := page(`<script type="application/ld+json">` + adaLD + `</script><footer><small>` + s + `</small></footer>`)
			if f.NoContact == "" {
				t.Fatal("the notice was not seen")
			}
			r := f.Record(Provenance{Source: "site", ContactEligible: true})
			if !r.NoContact || slices.ContainsFunc(r.Claims, func(c pipeline.Claim) bool { return c.Evidence.ContactEligible }) {
				t.Error("something is contact-eligible in spite of the notice")
			}
		})
	}
	t.Run("follows no link of a page that asks so", func(t *testing.T) {
		t.Parallel()
		if got := page(`<meta name="robots" content="index, nofollow"><a href="/about">About</a>`).CrawlLinks(5); len(got) > 0 {
			t.Errorf("would follow %q", got)
		}
	})
	for _, s := range []string{
		"I work with recruiters.", "I am a recruiter at Engine Ltd.", "Recruiters are welcome!", "Contact me about jobs", "No problem. Recruiters can write to me.",
		"We have no open positions", "Open to new opportunities", "I help companies hire",
	} {
		t.Run("no notice in "+s, func(t *testing.T) {
			t.Parallel()
			if f := page("<p>" + s + "</p>"); f.NoContact != "" {
				t.Errorf("read as %q", f.NoContact)
			}
		})
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	utf16 := func(s string) []byte {
		out := []byte{0xFF, 0xFE}
		for _, r := range s {
			out = append(out, byte(r), byte(r>>8))
		}
		return out
	}
	const html = `<div class="h-card"><b class="p-name">Zoë Müller</b></div>`
	latin := strings.NewReplacer("ë", "\xeb", "ü", "\xfc").Replace(html)
	for _, c := range []struct {
		name, contentType string
		body              []byte
	}{
		{"UTF-8 by header", "text/html; charset=UTF-8", []byte(html)},
		{"UTF-8 that nobody announced", "text/html", []byte(html)},
		{"UTF-8 by byte order mark against the header", "text/html; charset=iso-8859-1", []byte("\xef\xbb\xbf" + html)},
		{"Latin-1 by header", "text/html; charset=iso-8859-1", []byte(latin)},
		{"Latin-1 by meta", "text/html", []byte(`<meta charset="latin1">` + latin)},
		{"Latin-1 by http-equiv", "", []byte(`<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">` + latin)},
		{"Latin-1 that nobody announced", "text/html", []byte(latin)},
		{"UTF-16 by byte order mark", "text/html", utf16(html)},
		{"an unknown name", "text/html; charset=nonsense", []byte(html)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := Page(Document{URL: home, ContentType: c.contentType, Body: c.body})
			wantTexts(t, "names", f.Person.Names, "Zoë Müller")
		})
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	f := page(`<base href="https://ada.example/sub/"><a href="/blog/2020/01/x">A post</a><a href="/team">Team</a><a href="../contact.html">Contact</a><a href="cv">CV</a>
		<a href="/resume">Resume</a><a href="https://ada.example/about#x">About me</a><a href="/">Home</a><a href="https://other.example/about">About</a>
		<a href="/paper.pdf">CV as PDF</a><a rel="me noopener" href="https://mastodon.social/@ada"><img alt="Mastodon" src="m.png"></a><a href="mailto:x@y.zz">m</a>
		<a href="javascript:void(0)">j</a><a href="/admin" rel="nofollow">About admin</a><template><a href="/t">About</a></template>`)
	want := []string{"https://ada.example/about", "https://ada.example/sub/cv", "https://ada.example/resume", "https://ada.example/contact.html", "https://ada.example/team"}
	if got := f.CrawlLinks(5); !slices.Equal(got, want) {
		t.Errorf("crawl %q", got)
	}
	if got := f.MeLinks(); !slices.Equal(got, []string{"https://mastodon.social/@ada"}) {
		t.Errorf("me %q", got)
	}
	if i := slices.IndexFunc(f.Links, Link.Me); f.Links[i].Text != "Mastodon" {
		t.Errorf("text %q", f.Links[i].Text)
	}
	if slices.ContainsFunc(f.Links, func(l Link) bool { return strings.HasSuffix(l.URL, "/t") }) {
		t.Error("a link of a template was read")
	}
	for _, l := range f.Links {
		if l.SameSite != strings.HasPrefix(l.URL, "https://ada.example/") {
			t.Errorf("%s: same site %v", l.URL, l.SameSite)
		}
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	f := page(`<title>Ada</title><script type="application/ld+json">` + adaLD + `</script><a rel="me" href="https://mastodon.social/@ada">Mastodon</a>
		<a href="https://www.linkedin.com/in/ada">LinkedIn</a><a href="https://github.com/babbage">a friend</a><p>Or ada.work [at] engine [dot] dev</p>`)
	r := f.Record(Provenance{Source: "site", Hash: "abc", FetchedAt: at, ContactEligible: true})
	if r.Source != "site" || r.ID != home || r.Group != "site:ada.example" || r.Kind != pipeline.Person || !slices.Equal(r.Names, []string{"Ada Lovelace"}) {
		t.Errorf("record %+v", r)
	}
	kinds := map[string]string{}
	for _, id := range r.Identifiers {
		kinds[id.Kind] += id.Value + " "
	}
	for kind, want := range map[string]string{"website": "https://ada.example/ ", "mastodon": "ada@mastodon.social ", "github": "ada ", "orcid": "0000-0002-1825-0097 ", "linkedin": "ada ", "email": "ada@lovelace.dev ada.work@engine.dev "} {
		if kinds[kind] != want {
			t.Errorf("%s: %q, want %q", kind, kinds[kind], want)
		}
	}
	fields := map[string]int{}
	for _, c := range r.Claims {
		fields[c.Field]++
		e := c.Evidence
		if c.Text == "" || e.Source != "site" || e.URL == nil || *e.URL != home || e.ContentHash == nil || *e.ContentHash != "abc" || e.Excerpt == nil ||
			len([]rune(*e.Excerpt)) > 300 || !strings.HasSuffix(e.Extractor, "/1") || !e.ContactEligible || !e.ObservedAt.Equal(at) {
			t.Errorf("claim %+v", c)
		}
		if (c.Field == pipeline.FieldLinks) != (c.Link != nil) || (c.Field == pipeline.FieldExperience) != (c.Pos != nil) {
			t.Errorf("claim %+v", c)
		}
	}
	for field, want := range map[string]int{"name": 1, "location": 1, "currentCompany": 1, "currentRole": 1, "skills": 2, "emails": 2, "links": 4, "experience": 1} {
		if fields[field] != want {
			t.Errorf("%s: %d claims, want %d", field, fields[field], want)
		}
	}
}

func TestSnippets(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", 200)
	if s := snippet(long); len([]rune(s)) > 300 || !strings.HasSuffix(s, "word…") {
		t.Errorf("%q", s)
	}
	if s := snippet(strings.Repeat("ü", 400)); len([]rune(s)) != 300 {
		t.Errorf("%d characters", len([]rune(s)))
	}
	if s := snippet(" a\n\t b\x00c\u200bd "); s != "a b cd" {
		t.Errorf("%q", s)
	}
}

func TestBio(t *testing.T) {
	t.Parallel()
	paragraph := "<p>" + strings.Repeat("I build analytical engines, and write about the mathematics behind them. ", 12) + "</p>"
	f := page(`<title>Ada Lovelace</title><nav>Home Blog Contact</nav><main><h1>Ada Lovelace</h1>` + strings.Repeat(paragraph, 5) + `</main><footer>© all rights</footer>`)
	if n := len([]rune(f.Bio)); n < 500 || n > maxBio || !strings.Contains(f.Bio, "analytical engines") {
		t.Errorf("%d characters: %.100q", n, f.Bio)
	}
}
