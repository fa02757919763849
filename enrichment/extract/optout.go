package extract

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// productToken is the name by which pages may address us alone.
const productToken = "enrichd"

// wishes are what a document asks of machines.
type wishes struct {
	// optOut is the rule by which it refuses to be indexed, fed to machines or mined; "" when it does not.
	optOut string
	// noFollow: its links shall not be followed.
	noFollow bool
}

// readWishes reads the X-Robots-Tag header, robots meta elements, and the
// text-and-data-mining reservation protocol (TDMRep: header, or meta). t is nil for a document that is no page.
func readWishes(t *tree, header map[string]string) wishes {
	var w wishes
	w.directives(header["x-robots-tag"], true)
	w.reserve(header["tdm-reservation"])
	if t == nil {
		return w
	}
	walk(t.doc, func(n *html.Node) bool {
		if n.Type != html.ElementNode || n.DataAtom != atom.Meta {
			return n.DataAtom != atom.Template
		}
		content, name := attr(n, "content"), attr(n, "name")
		if name == "" {
			name = attr(n, "http-equiv")
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "robots", productToken:
			w.directives(content, false)
		case "x-robots-tag":
			w.directives(content, true)
		case "tdm-reservation":
			w.reserve(content)
		}
		return true
	})
	return w
}

func (w *wishes) reserve(value string) {
	if strings.TrimSpace(value) == "1" {
		setOnce(&w.optOut, "tdm-reservation")
	}
}

// directives reads a list of them. In a header a directive may be addressed to
// one robot ("googlebot: noindex"), and stays so until the next name.
func (w *wishes) directives(list string, addressed bool) {
	forUs := true
	for part := range strings.FieldsFuncSeq(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ';' || r == '\n' }) {
		part = strings.TrimSpace(part)
		if name, rest, ok := strings.Cut(part, ":"); ok {
			switch name = strings.TrimSpace(name); {
			case name == "tdm-reservation":
				w.reserve(rest)
				continue
			case name == "unavailable_after" || strings.HasPrefix(name, "max-"):
				continue // a directive with a value, not a robot's name
			case addressed:
				forUs = name == productToken || name == "*"
				part = strings.TrimSpace(rest)
			}
		}
		if !forUs {
			continue
		}
		for word := range strings.FieldsSeq(part) {
			switch word {
			case "none":
				setOnce(&w.optOut, "noindex")
				w.noFollow = true
			case "nofollow":
				w.noFollow = true
			case "noindex", "noai", "notrain", "noml", "tdm-reservation":
				setOnce(&w.optOut, word)
			}
		}
	}
}
