package extract

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const extractorOpenGraph = "opengraph/1"

// metaFacts are the meta elements that matter: Open Graph (ogp.me) by property
// or by name, the author, and the description.
type metaFacts map[string]Value

func readMeta(t *tree) metaFacts {
	m := metaFacts{}
	walk(t.doc, func(n *html.Node) bool {
		if n.Type == html.ElementNode && n.DataAtom == atom.Meta {
			name := strings.ToLower(strings.TrimSpace(attr(n, "property")))
			if name == "" {
				name = strings.ToLower(strings.TrimSpace(attr(n, "name")))
			}
			content := squeeze(attr(n, "content"))
			if _, seen := m[name]; !seen && content != "" && (strings.HasPrefix(name, "og:") || strings.HasPrefix(name, "profile:") || name == "author" || name == "description") {
				m[name] = Value{Text: content, Snippet: snippet(name + ": " + content), Extractor: extractorOpenGraph}
			}
		}
		return n.DataAtom != atom.Template
	})
	return m
}

// person reads who an Open Graph profile is about; ok is false when the
// document is no profile: then its title is about the site.
func (m metaFacts) person() (who PersonFacts, ok bool) {
	first, last := m["profile:first_name"], m["profile:last_name"]
	profile := strings.EqualFold(m["og:type"].Text, "profile")
	if first.Text != "" && last.Text != "" {
		v := first
		v.Text = first.Text + " " + last.Text
		v.Snippet = snippet(first.Snippet + ", " + last.Snippet)
		who.Names = append(who.Names, v)
	}
	if profile && len(who.Names) == 0 {
		title := m["og:title"]
		if title.Text = nameInTitle(title.Text); title.Text != "" {
			who.Names = append(who.Names, title)
		}
	}
	if len(who.Names) == 0 || len([]rune(who.Names[0].Text)) > maxName {
		return PersonFacts{}, false
	}
	if description := m["og:description"]; profile && description.Text != "" && len([]rune(description.Text)) <= maxHeadline {
		who.Headlines = append(who.Headlines, description)
	}
	return who, true
}
