package extract

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxLinks is how many links of one page are kept.
const maxLinks = 1000

// crawlWords rank links of a person's own site, best first (about, cv, resume,
// contact, team, home), in the languages that such pages are often written in.
var crawlWords = []struct {
	rank  int
	words map[string]bool
}{
	{60, set("about aboutme about-me me bio biography profile whoami ueber-mich uebermich über a-propos apropos sobre sobre-mi chi-sono over over-mij om")},
	{50, set("cv vita curriculum curriculum-vitae lebenslauf")},
	{45, set("resume résumé resume.json cv.json lebenslauf.json hire hire-me")},
	{40, set("contact contacts contactme contact-me kontakt contacto contatti impressum imprint reach email")},
	{30, set("team people staff members who")},
	{20, set("home index start now uses work experience projects portfolio")},
}

// pageLinks gathers the links of a page: a, area and link elements that lead to http or https.
func pageLinks(t *tree, pageURL string, base *url.URL) []Link {
	links := []Link{}
	at := map[string]int{}
	self := withoutFragment(pageURL)
	walk(t.doc, func(n *html.Node) bool {
		if n.Type != html.ElementNode {
			return n.Type == html.DocumentNode
		}
		if n.DataAtom == atom.Template {
			return false
		}
		if n.DataAtom != atom.A && n.DataAtom != atom.Area && n.DataAtom != atom.Link {
			return true
		}
		if len(links) == maxLinks {
			return true
		}
		href, ok := lookupAttr(n, "href")
		rel := wordsOf(strings.ToLower(attr(n, "rel")))
		if !ok || n.DataAtom == atom.Link && !usefulLinkRel(rel) {
			return true
		}
		u := parseHTTP(resolve(base, href))
		if u == nil || len(href) > 2048 {
			return true
		}
		u.Fragment, u.RawFragment = "", ""
		address := u.String()
		if i, seen := at[address]; seen {
			links[i].Rel = union(links[i].Rel, rel)
			if links[i].Text == "" {
				links[i].Text = linkText(n)
			}
			return true
		}
		if address == self && len(rel) == 0 {
			return true
		}
		at[address] = len(links)
		links = append(links, Link{URL: address, Text: linkText(n), Rel: rel})
		return true
	})
	site := Site(pageURL)
	directory := homeDirectory(pageURL)
	sites := map[string]string{} // by host: the list of suffixes is slow for a thousand links
	for i := range links {
		l := &links[i]
		u := parseHTTP(l.URL)
		s, ok := sites[u.Host]
		if !ok {
			s = Site(l.URL)
			sites[u.Host] = s
		}
		l.SameSite = site != "" && s == site
		if l.SameSite && l.URL != self {
			l.Rank = crawlRank(u, l.Text, l.Rel)
			if directory != "" && !strings.HasPrefix(u.Path, directory) {
				l.Rank = 1 // the institution's page, not the person's
			}
		}
	}
	return links
}

// homeDirectory is the "/~name/" that a page lies in; "" when its whole site may be one person's.
func homeDirectory(pageURL string) string {
	u := parseHTTP(pageURL)
	if u == nil || !strings.HasPrefix(u.Path, "/~") {
		return ""
	}
	name, _, _ := strings.Cut(u.Path[1:], "/")
	return "/" + name + "/"
}

// usefulLinkRel tells the rels of a link element that lead to a page about somebody.
func usefulLinkRel(rel []string) bool {
	for _, r := range rel {
		switch r {
		case "me", "author", "alternate", "resume", "cv":
			return true
		}
	}
	return false
}

// linkText is what names a link: its text, or a label, title or image text in its place.
func linkText(n *html.Node) string {
	if s := shortText(n); s != "" {
		return cut(s, 120)
	}
	for _, name := range []string{"aria-label", "title", "alt"} {
		if s := squeeze(attr(n, name)); s != "" {
			return cut(s, 120)
		}
	}
	label, steps := "", 0
	walk(n, func(c *html.Node) bool {
		if steps++; steps > 100 {
			return false // no icon is so complicated
		}
		if label == "" && c.Type == html.ElementNode {
			for _, name := range []string{"alt", "aria-label", "title"} {
				if label == "" {
					label = squeeze(attr(c, name))
				}
			}
			if label == "" && c.DataAtom == atom.Title && c.FirstChild != nil {
				label = squeeze(c.FirstChild.Data) // of an svg icon
			}
		}
		return label == ""
	})
	return cut(label, 120)
}

// crawlRank says how likely a page of the person's own site is to hold facts.
func crawlRank(u *url.URL, label string, rel []string) int {
	path := strings.ToLower(strings.Trim(u.Path, "/"))
	for _, ext := range []string{".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico", ".pdf", ".zip", ".gz", ".mp3", ".mp4", ".css", ".js", ".xml", ".rss", ".atom", ".ics", ".doc", ".docx", ".bib", ".tex"} {
		if strings.HasSuffix(path, ext) {
			return 0
		}
	}
	rank := 1
	if path == "" {
		rank = 20
	}
	segments := strings.Split(path, "/")
	last := segments[len(segments)-1]
	for _, suffix := range []string{".html", ".htm", ".php", ".aspx", ".md"} {
		last = strings.TrimSuffix(last, suffix)
	}
	names := append(strings.Fields(strings.ToLower(strings.Trim(label, " .!→»>"))), last)
	for _, group := range crawlWords {
		hit := slices.ContainsFunc(names, func(w string) bool { return group.words[w] })
		if hit && len(names) <= 5 {
			rank = max(rank, group.rank-min(len(segments)-1, 5)) // a shallow page is rather the person's than one below it
		}
	}
	if slices.Contains(rel, "me") || slices.Contains(rel, "author") {
		rank = max(rank, 55)
	}
	if u.RawQuery != "" {
		rank /= 2
	}
	return rank
}

// CrawlLinks answers up to limit addresses of the page's own site worth
// fetching next, best first; equal ones in the order of the page.
func (f *Facts) CrawlLinks(limit int) []string {
	ranked := []Link{}
	for _, l := range f.Links {
		if l.Rank > 0 && !l.hasRel("nofollow") {
			ranked = append(ranked, l)
		}
	}
	slices.SortStableFunc(ranked, func(a, b Link) int { return b.Rank - a.Rank })
	urls := []string{}
	for _, l := range ranked[:min(limit, len(ranked))] {
		urls = append(urls, l.URL)
	}
	return urls
}

// MeLinks are the addresses that the page links to with rel="me", in its order.
func (f *Facts) MeLinks() []string {
	urls := []string{}
	for _, l := range f.Links {
		if l.Me() {
			urls = append(urls, l.URL)
		}
	}
	return urls
}

func withoutFragment(address string) string {
	address, _, _ = strings.Cut(address, "#")
	return address
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
