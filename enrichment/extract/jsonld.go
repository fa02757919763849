package extract

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// extractorJSONLD names the reader of JSON-LD in evidence.
const extractorJSONLD = "jsonld/1"

// jsonldScripts reads all JSON-LD scripts of a page, as plain JSON: without
// expansion and without fetching contexts. A broken one does not stop the others.
func jsonldScripts(t *tree) *graph {
	var top []*value
	walk(t.doc, func(n *html.Node) bool {
		if n.DataAtom == atom.Script && n.Type == html.ElementNode && jsonldType(attr(n, "type")) && n.FirstChild != nil {
			top = append(top, readJSON(n.FirstChild.Data)...)
		}
		return n.DataAtom != atom.Template
	})
	return newGraph(extractorJSONLD, top)
}

func jsonldType(s string) bool {
	s, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(s)), ";")
	return strings.TrimSpace(s) == "application/ld+json"
}
