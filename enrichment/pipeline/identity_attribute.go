package pipeline

import (
	"slices"
	"strings"
)

// employer compares the seed's company, and those of the anchors, with the record's employers.
func (w *weighing) employer() {
	if len(w.record.Employers) == 0 {
		return
	}
	company := seedCompany(w.seed)
	best, seedText, found := "", "", ""
	order := []string{"", "none", "close", "name", "domain", "ror"}
	take := func(level, seed, f string) {
		if slices.Index(order, level) > slices.Index(order, best) {
			best, seedText, found = level, seed, f
		}
	}
	domains := companyDomains(w.seed)
	for _, e := range w.record.Employers {
		if e.Domain != "" && slices.Contains(domains, e.Domain) {
			take("domain", e.Domain, e.Name)
		}
		if company != "" && e.Name != "" {
			take(compareEmployers(company, e.Name), company, e.Name)
		}
		for _, a := range w.anchors {
			if a.linksOnly || same(a.record, w.record) || (a.record.Group != "" && a.record.Group == w.record.Group) {
				continue
			}
			for _, known := range a.record.Employers {
				if level := compareKnownEmployers(known, e); level != "none" {
					take(level, known.Name, e.Name)
				}
			}
		}
	}
	w.add(attrEmployer, best, seedText, found, best != "none" && best != "")
}

func compareKnownEmployers(a, b Employer) string {
	switch {
	case a.ROR != "" && a.ROR == b.ROR:
		return "ror"
	case a.Domain != "" && a.Domain == b.Domain:
		return "domain"
	case a.Name != "" && b.Name != "":
		return compareEmployers(a.Name, b.Name)
	}
	return "none"
}

// vagueEmployers are answers to "where do you work" that name no organisation.
var vagueEmployers = words("freelance freelancer selfemployed self independent stealth startup consultant unemployed student retired various na none open confidential remote home")

// compareEmployers answers how far two employers' names agree.
func compareEmployers(a, b string) string {
	// GitHub writes companies as "@acme", several of them in a row.
	sa, sb := StripCompany(strings.TrimLeft(a, "@ ")), StripCompany(strings.TrimLeft(b, "@ "))
	if sa == "" || sb == "" || vagueEmployers[strings.ReplaceAll(sa, " ", "")] || vagueEmployers[strings.ReplaceAll(sb, " ", "")] {
		return ""
	}
	if strings.ReplaceAll(sa, " ", "") == strings.ReplaceAll(sb, " ", "") {
		return "name"
	}
	c := compareOrgs(a, b)
	switch {
	case c.Same && c.Level == NameInitial:
		return "close"
	case c.Same:
		return "name"
	case len(sa) > 3 && len(sb) > 3 && (strings.HasPrefix(sa+" ", sb+" ") || strings.HasPrefix(sb+" ", sa+" ")):
		return "close" // "Google" and "Google Research"
	}
	return "none"
}

// seedCompany answers the seed's employer; a headline "Engineer at Acme" states one too.
func seedCompany(s Seed) string {
	if s.CurrentCompany != "" {
		return s.CurrentCompany
	}
	for _, mark := range []string{" at ", " @ ", " @"} {
		if i := strings.LastIndex(s.Headline, mark); i > 0 {
			company := s.Headline[i+len(mark):]
			if end := strings.IndexAny(company, ",|;·•"); end >= 0 {
				company = company[:end]
			}
			return strings.TrimSpace(company)
		}
	}
	return ""
}

// companyDomains answers the domains of the seed's addresses that are no mail provider's.
func companyDomains(s Seed) []string {
	var out []string
	for _, v := range valuesOf(s.Identifiers, "email") {
		_, domain, _ := strings.Cut(v, "@")
		if p, ok := placeOf("https://" + domain); ok && !mailProviders[p.domain] {
			out = append(out, p.domain, domain)
		}
	}
	return out
}

var mailProviders = words(`gmail.com googlemail.com yahoo.com hotmail.com outlook.com live.com msn.com icloud.com me.com mac.com aol.com gmx.de gmx.net gmx.com
	web.de t-online.de freenet.de proton.me protonmail.com pm.me fastmail.com fastmail.fm hey.com zoho.com yandex.ru yandex.com mail.ru
	qq.com 163.com 126.com naver.com orange.fr free.fr laposte.net wanadoo.fr libero.it virgilio.it tutanota.com posteo.de mailbox.org yahoo.co.uk
	hotmail.co.uk btinternet.com comcast.net verizon.net att.net sbcglobal.net rediffmail.com uol.com.br bol.com.br`)

// overlaps compares co-authors and repositories with those of the anchors.
func (w *weighing) overlaps() {
	authors, repositories := 0, 0
	for _, a := range w.anchors {
		if a.linksOnly || a.record.Source == w.record.Source {
			continue
		}
		authors = max(authors, overlap(a.record.CoAuthors, w.record.CoAuthors, authorKey))
		repositories = max(repositories, overlap(a.record.Repositories, w.record.Repositories, Fold))
	}
	w.count(attrCoAuthors, authors)
	w.count(attrRepository, repositories)
}

func (w *weighing) count(attribute string, n int) {
	switch {
	case n >= 2:
		w.add(attribute, "two", "", "", true)
	case n == 1:
		w.add(attribute, "one", "", "", true)
	}
}

func overlap(a, b []string, key func(string) string) int {
	have := map[string]bool{}
	for _, s := range a {
		if k := key(s); k != "" {
			have[k] = true
		}
	}
	n := 0
	for _, s := range b {
		if k := key(s); have[k] {
			n++
			delete(have, k)
		}
	}
	return n
}

// authorKey writes a co-author as family name and first initial, the least that sources give.
func authorKey(name string) string {
	n := ParseName(name)
	family, given := strings.ReplaceAll(Fold(n.Family), " ", ""), Fold(n.Given)
	if family == "" || given == "" {
		return ""
	}
	return family + " " + given[:1]
}

func (w *weighing) location() {
	if w.seed.Location == "" {
		return
	}
	order := []string{levelMissing, "different", "other city", "country", "region", "city"}
	best, found := levelMissing, ""
	for _, l := range w.record.Locations {
		if level := compareLocations(w.seed.Location, l); slices.Index(order, level) > slices.Index(order, best) {
			best, found = level, l
		}
	}
	w.add(attrLocation, best, w.seed.Location, found, best == "city" || best == "region")
}

// handle compares the record's handle with the caller's on other sites. A
// handle that only writes the name says little more than the name did.
func (w *weighing) handle() {
	if w.pointed {
		return
	}
	mine := plainHandle(handleOf(w.record))
	if len(mine) < 4 {
		return
	}
	for _, id := range w.seed.Identifiers {
		if !accountKind(id.Kind) || id.Kind == "orcid" || contains(namedBy(w.record), id) {
			continue
		}
		value, _, _ := strings.Cut(id.Value, "@")
		if plainHandle(value) != mine {
			continue
		}
		if handleOfName(w.seed.Name, mine) > 0 {
			w.add(attrHandle, "of the name", id.Value, handleOf(w.record), false)
		} else {
			w.add(attrHandle, "equal", id.Value, handleOf(w.record), true)
		}
		return
	}
}
