package extract

import (
	"net/url"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Page reads one document and tells what it says about whom. It reads HTML,
// and JSON documents that are a JSON Resume or JSON-LD. It never fails: from a
// document that it cannot read come empty Facts of an unclear kind.
func Page(d Document) *Facts {
	f := &Facts{URL: withoutFragment(d.URL), Truncated: len(d.Body) > MaxBytes}
	source := decode(d.ContentType, d.Body[:min(len(d.Body), MaxBytes)])
	t := parseTree(source)
	f.Truncated = f.Truncated || t.truncated
	base := baseURL(t, d.URL)
	f.Links = pageLinks(t, f.URL, base)
	if f.OptOut = optOut(t, d.Header); f.OptOut != "" {
		return f
	}
	return f
}

// baseURL is what relative links are read against: the first <base> with an address, or the page.
func baseURL(t *tree, pageURL string) *url.URL {
	page, err := url.Parse(pageURL)
	if err != nil {
		page = &url.URL{}
	}
	base, done := page, false
	walk(t.doc, func(n *html.Node) bool {
		if done || n.Type == html.ElementNode && n.DataAtom == atom.Template {
			return false
		}
		if n.Type == html.ElementNode && n.DataAtom == atom.Base {
			if href, ok := lookupAttr(n, "href"); ok {
				done = true
				if u, err := page.Parse(href); err == nil {
					base = u
				}
			}
		}
		return true
	})
	return base
}
