package extract

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// graph holds the schema.org items of one document in one syntax.
type graph struct {
	extractor string // with its version
	top       []*value
	byID      map[string]*value
	heldAt    time.Time // when the page says that it was changed
}

// maxFacets is how many values of one kind are taken from one item.
const maxFacets = 60

// newGraph names the items that stand on their own and finds those that are referred to.
func newGraph(extractor string, top []*value) *graph {
	g := &graph{extractor: extractor, byID: map[string]*value{}}
	budget := maxMarked
	for _, v := range top {
		g.addTop(v, &budget, 0)
	}
	return g
}

func (g *graph) addTop(v *value, budget *int, depth int) {
	switch {
	case v == nil || depth > maxJSONDepth:
	case v.kind == listValue:
		for _, item := range v.items {
			g.addTop(item, budget, depth+1)
		}
	case v.kind == objectValue:
		shorten(v)
		if members := v.fields["@graph"]; len(members) > 0 {
			for _, m := range members {
				g.addTop(m, budget, depth+1)
			}
			if len(types(v)) == 0 {
				return
			}
		}
		g.top = append(g.top, v)
		g.index(v, budget, depth)
	}
}

// index shortens the names below v and notes which item has which @id.
func (g *graph) index(v *value, budget *int, depth int) {
	*budget--
	if *budget < 0 || depth > maxJSONDepth {
		return
	}
	shorten(v)
	if id := v.string("@id"); id != "" && len(v.fields) > 1 && (g.byID[id] == nil || len(v.fields) > len(g.byID[id].fields)) {
		g.byID[id] = v
	}
	for _, name := range slices.Sorted(maps.Keys(v.fields)) { // in a fixed order, so that the same bytes give the same facts
		if name == "@graph" {
			continue
		}
		for _, f := range v.fields[name] {
			if f.kind == objectValue {
				g.index(f, budget, depth+1)
			}
		}
	}
}

// shorten takes the vocabulary off names: "schema:name" and "https://schema.org/name" are "name".
func shorten(v *value) {
	for _, name := range slices.Sorted(maps.Keys(v.fields)) {
		if short := shortName(name); short != name {
			v.fields[short] = append(v.fields[short], v.fields[name]...)
			delete(v.fields, name)
		}
	}
}

func shortName(name string) string {
	for _, prefix := range []string{"https://schema.org/", "http://schema.org/", "https://www.schema.org/", "http://www.schema.org/", "schema:", "sdo:", "s:"} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			return short
		}
	}
	return name
}

// types are an item's types without their vocabulary.
func types(v *value) []string {
	var out []string
	for _, t := range append(v.strings("@type"), v.strings("type")...) {
		out = append(out, shortName(strings.TrimSpace(t)))
	}
	return out
}

func isType(v *value, names ...string) bool {
	return v.kind == objectValue && slices.ContainsFunc(types(v), func(t string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, t) })
	})
}

// follow answers the item that a reference stands for.
func (g *graph) follow(v *value) *value {
	if v.kind != objectValue || len(types(v)) > 0 && len(v.fields) > 2 {
		return v
	}
	if full := g.byID[v.string("@id")]; full != nil {
		return full
	}
	return v
}

// each visits the items and texts of a field, references followed.
func (g *graph) each(v *value, names []string, visit func(*value)) {
	for _, name := range names {
		for i, f := range v.fields[name] {
			if i == maxFacets {
				break
			}
			visit(g.follow(f))
		}
	}
}

// name is what an item is called: its text, or its name.
func (g *graph) name(v *value) string {
	if v.kind == textValue {
		return v.text
	}
	if v.kind != objectValue {
		return ""
	}
	for _, key := range []string{"name", "legalName", "alternateName", "@value", "roleName"} {
		for _, f := range v.fields[key] {
			if f.kind == objectValue {
				f = &value{kind: textValue, text: f.string("@value")}
			}
			if f.kind == textValue && strings.TrimSpace(f.text) != "" {
				return f.text
			}
		}
	}
	return ""
}

// value makes a statement of a text: markup and entities taken out, at most limit characters; nil text is "".
func (g *graph) value(text string, from *value, limit int) Value {
	return Value{Text: cleanText(text, limit), Snippet: snippet(from.raw), Extractor: g.extractor, HeldAt: g.heldAt}
}

// cleanText is a field's text on one line; "" when it is longer than a value of its kind can be.
func cleanText(s string, limit int) string {
	if strings.ContainsAny(s, "<&") && len(s) < 8*limit {
		s = html.UnescapeString(s)
		if strings.Contains(s, "<") && strings.Contains(s, ">") {
			t := parseTree(s)
			s = text(t.body)
		}
	}
	s = squeeze(s)
	if len([]rune(s)) > limit {
		return ""
	}
	return s
}

// Longest plausible values, in characters.
const (
	maxName     = 120
	maxHeadline = 220
	maxPlace    = 120
	maxTitle    = 160
	maxSkill    = 60
)

// appendValue keeps a value when it says something that the list does not say yet.
func appendValue(list *[]Value, v Value) {
	if v.Text == "" || slices.ContainsFunc(*list, func(have Value) bool { return strings.EqualFold(have.Text, v.Text) }) {
		return
	}
	*list = append(*list, v)
}

// publishedAddress reads an address as a field holds it, with or without "mailto:"; samples are dropped.
func publishedAddress(raw string) (string, bool) {
	raw = strings.TrimSpace(html.UnescapeString(raw))
	if len(raw) > 7 && strings.EqualFold(raw[:7], "mailto:") {
		raw = mailtoAddress(raw)
	}
	address, ok := cleanAddress(raw)
	if !ok || sampleAddress(address) {
		return "", false
	}
	return address, true
}

// fieldAddress is publishedAddress for a field that may hold an obfuscated address as well.
func fieldAddress(raw string) (string, bool) {
	if address, ok := publishedAddress(raw); ok {
		return address, true
	}
	if found := scanAddresses(raw); len(found) == 1 {
		return found[0].address, true
	}
	return "", false
}

func withoutScheme(link string) string {
	_, rest, ok := strings.Cut(link, "://")
	if !ok {
		return link
	}
	return strings.TrimPrefix(rest, "www.")
}

// yearMonth reads the beginning of an ISO date: "2019", "2019-03", "2019-03-01T…"; 0 is unknown.
func yearMonth(s string) (year, month int) {
	s = strings.TrimSpace(s)
	year = yearOf(s)
	if year > 0 && len(s) >= 7 && (s[4] == '-' || s[4] == '/') {
		if m, err := strconv.Atoi(s[5:7]); err == nil && m >= 1 && m <= 12 {
			month = m
		}
	}
	return year, month
}

func yearOf(s string) int {
	s = strings.TrimSpace(s)
	if len(s) < 4 {
		return 0
	}
	y, err := strconv.Atoi(s[:4])
	if err != nil || y < 1000 || y > 9999 || len(s) > 4 && isAlnum(s[4]) && s[4] != 'T' {
		return 0
	}
	return y
}
