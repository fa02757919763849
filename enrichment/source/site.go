package source

import (
	"net/url"
	"slices"
	"strings"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// site reads people's own pages: those that the caller names, those that
// trusted records name, and a few more of the same site. What a person
// publishes there is the strongest evidence, and may be used for contact
// unless the page says otherwise.
type site struct {
	crawler
}

func (*site) Name() string { return "site" }

// Policy allows contact: the person put the address there. A page that forbids recruiters takes that back (Record.NoContact).
func (*site) Policy() pipeline.Policy {
	return pipeline.Policy{Reliability: 0.90, ContactEligible: true}
}

// Kinds of asks.
const (
	siteHome   = "home"   // a page that somebody named
	siteResume = "resume" // where a JSON Resume would be
	sitePage   = "page"   // a page that a home page links to
)

// pagesPerProfile is what the pages of one profile's sites share.
const pagesPerProfile = 6

// leastRank is the rank from which a link is worth a visit: pages about somebody, not the rest of the site.
const leastRank = 20

// Ask lists the pages that are named, then what is linked from them.
func (s *site) Ask(k pipeline.Known, stage pipeline.Stage) []pipeline.Ask {
	if stage != pipeline.Crawl {
		return nil
	}
	var asks []pipeline.Ask
	var sites []string
	for _, n := range s.homes(k) {
		asks = append(asks, pipeline.Ask{Kind: siteHome, URL: n.id.URL, Origin: n.origin})
		if name := extract.Site(n.id.URL); !slices.Contains(sites, name) {
			sites = append(sites, name)
		}
	}
	for _, home := range slices.Clone(asks) {
		if resume := resumeOf(home.URL); resume != "" && isHome(home.URL) {
			asks = append(asks, pipeline.Ask{Kind: siteResume, URL: resume, Origin: "site:" + home.URL})
		}
	}
	quota := max(2, pagesPerProfile/max(1, len(sites)))
	taken := map[string]int{}
	for _, a := range asks {
		taken[extract.Site(a.URL)]++
	}
	for _, r := range trusted(k) {
		if r.Source != "site" {
			continue
		}
		for _, page := range r.Pages {
			name := extract.Site(page)
			if slices.ContainsFunc(asks, func(a pipeline.Ask) bool { return samePage(a.URL, page) }) || taken[name] >= quota {
				continue
			}
			taken[name]++
			asks = append(asks, pipeline.Ask{Kind: sitePage, URL: page, Origin: "site:" + r.ID})
		}
	}
	return asks
}

// homes are the pages that the caller names, and the sites that trusted records of others name.
func (s *site) homes(k pipeline.Known) []named {
	var out []named
	for _, n := range namedBy(k, "site", "website", "link") {
		if n.origin != "seed" && n.id.Kind != "website" || !visitable(n.id.URL) {
			continue
		}
		if !slices.ContainsFunc(out, func(o named) bool { return samePage(o.id.URL, n.id.URL) }) {
			out = append(out, n)
		}
	}
	return out
}

// isHome says whether an address is a site of somebody's own rather than a page on somebody else's.
func isHome(address string) bool {
	id, ok := extract.Identify(address)
	return ok && id.Kind == "website"
}

// resumeOf is where a site's JSON Resume would be.
func resumeOf(home string) string {
	u, err := url.Parse(home)
	if err != nil {
		return ""
	}
	if last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]; last != "" && !strings.Contains(last, ".") {
		u.Path += "/"
	}
	return u.ResolveReference(&url.URL{Path: "resume.json"}).String()
}

// samePage says whether two addresses differ in nothing but scheme, www and a final slash.
func samePage(a, b string) bool { return barePage(a) == barePage(b) }

func barePage(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	return strings.TrimSuffix(strings.TrimPrefix(rest, "www."), "/")
}

// walls are hosts behind a login or whose terms forbid visits; they are never asked, links to them stay links.
var walls = []string{"linkedin.com", "lnkd.in", "facebook.com", "fb.com", "instagram.com", "x.com", "twitter.com", "t.co", "threads.net", "threads.com", "tiktok.com", "xing.com"}

// visitable says whether an address may be visited at all.
func visitable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return host != "" && !slices.ContainsFunc(walls, func(w string) bool { return host == w || strings.HasSuffix(host, "."+w) })
}

// Read makes one record of each page. A page that opts out of being used gives nothing at all.
func (s *site) Read(_ pipeline.Known, answers []pipeline.Answer) []pipeline.Record {
	var records []pipeline.Record
	for _, ans := range answers {
		if ans.Status != statusOK || len(ans.Body) == 0 {
			continue
		}
		facts := extract.Page(extract.Document{URL: ans.URL, ContentType: ans.ContentType, Header: ans.Header, Body: ans.Body})
		if facts.OptOut != "" {
			continue
		}
		r := facts.Record(extract.Provenance{Source: "site", Hash: ans.Hash, FetchedAt: ans.FetchedAt, ContactEligible: s.Policy().ContactEligible})
		if slices.ContainsFunc(records, func(have pipeline.Record) bool { return have.ID == r.ID }) {
			continue // two addresses led to one page
		}
		if ans.Ask.Kind == siteHome {
			r.Pages = worthReading(facts)
			if id, ok := extract.Identify(ans.URL); ok && r.Kind == pipeline.Person {
				r.Claims = append(r.Claims, pipeline.Claim{Field: pipeline.FieldLinks, Text: id.URL, Link: &id, Evidence: own(ans, facts, r.NoContact)})
			}
		}
		records = append(records, r)
	}
	return records
}

// own is the evidence that a page is the person's: the page itself.
func own(ans pipeline.Answer, facts *extract.Facts, noContact bool) pipeline.Evidence {
	ev := note(ans, "page/1", facts.Title)
	ev.ContactEligible = !noContact
	return ev
}

func worthReading(facts *extract.Facts) []string {
	worth := map[string]bool{}
	for _, l := range facts.Links {
		worth[l.URL] = l.Rank >= leastRank
	}
	var pages []string
	for _, address := range facts.CrawlLinks(4 * pagesPerProfile) {
		if worth[address] && len(pages) < pagesPerProfile && visitable(address) {
			pages = append(pages, address)
		}
	}
	return pages
}
