package extract

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// productToken is the name by which pages may address us alone.
const productToken = "enrichd"

// optOut tells by which rule a document refuses to be indexed, fed to
// machines or mined; "" when it does not. The rules come from the
// X-Robots-Tag header, robots meta elements, and the text-and-data-mining
// reservation protocol (TDMRep: header, or meta).
func optOut(t *tree, header map[string]string) string {
	if rule := robotsDirective(header["x-robots-tag"], true); rule != "" {
		return rule
	}
	if reserved(header["tdm-reservation"]) {
		return "tdm-reservation"
	}
	if t == nil {
		return ""
	}
	rule := ""
	walk(t.doc, func(n *html.Node) bool {
		if rule != "" || n.Type == html.ElementNode && n.DataAtom == atom.Template {
			return false
		}
		if n.Type == html.ElementNode && n.DataAtom == atom.Meta {
			content := attr(n, "content")
			name := attr(n, "name")
			if name == "" {
				name = attr(n, "http-equiv")
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "robots", productToken:
				rule = robotsDirective(content, false)
			case "x-robots-tag":
				rule = robotsDirective(content, true)
			case "tdm-reservation":
				if reserved(content) {
					rule = "tdm-reservation"
				}
			}
		}
		return true
	})
	return rule
}

// robotsDirective finds a refusal in a list of directives. In a header a
// directive may be addressed to one robot ("googlebot: noindex"), and stays so until the next name.
func robotsDirective(list string, addressed bool) string {
	forUs := true
	for part := range strings.FieldsFuncSeq(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ';' || r == '\n' }) {
		part = strings.TrimSpace(part)
		if name, rest, ok := strings.Cut(part, ":"); ok {
			switch name = strings.TrimSpace(name); {
			case name == "tdm-reservation" && reserved(rest):
				return name
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
				return "noindex"
			case "noindex", "noai", "notrain", "noml", "tdm-reservation":
				return word
			}
		}
	}
	return ""
}

func reserved(value string) bool { return strings.TrimSpace(value) == "1" }
