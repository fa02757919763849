package rest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/enrichd/enrichd/enrichment"
)

// TestCards renders both themes, of someone with everything and of someone with
// a name alone, and of a name that wants to be markup.
func TestCards(t *testing.T) {
	t.Parallel()
	hostile := jane()
	hostile.Name, hostile.CurrentRole = `<script>alert("x")</script> O'Neil & Søn`, ptr(`"><img src=x onerror=alert(1)>`)
	hostile.LinkedinURL, hostile.Skills = ptr("javascript:alert(1)"), []string{`</span><style>*{display:none}</style>`, "C++"}
	for name, c := range map[string]*card{"full": enrichedCard(jane()), "sparse": {Name: "Ōta Jirō"}, "hostile": enrichedCard(hostile)} {
		for colours, theme := range themes {
			c := *c
			c.Theme = theme
			var out strings.Builder
			must(t, cardTemplate.Execute(&out, c))
			golden(t, "card-"+name+"-"+colours+".html", []byte(out.String()))
			selfContained(t, out.String())
			if !strings.HasPrefix(out.String(), `<div style="font-family: 'Inter', system-ui`) || !strings.Contains(out.String(), string(theme.Background)) {
				t.Errorf("the card begins %.80s", out.String())
			}
		}
	}
}

// selfContained parses a card as browsers do and looks for what a card may not
// have: scripts, handlers, style sheets, anything loaded, any link but http and https.
func selfContained(t *testing.T, card string) {
	t.Helper()
	nodes, err := html.ParseFragment(strings.NewReader(card), &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body})
	must(t, err)
	if len(nodes) != 1 || nodes[0].Data != "div" {
		t.Fatalf("the card is %d elements: %s", len(nodes), card)
	}
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			switch n.Data {
			case "div", "h1", "p", "span", "a":
			default:
				t.Errorf("an element <%s>: %s", n.Data, card)
			}
			for _, a := range n.Attr {
				switch {
				case a.Key == "style" && !strings.Contains(a.Val, "url(") && !strings.Contains(a.Val, "expression"):
				case n.Data == "a" && (a.Key == "target" || a.Key == "rel"):
				case n.Data == "a" && a.Key == "href" && (strings.HasPrefix(a.Val, "http://") || strings.HasPrefix(a.Val, "https://")):
				default:
					t.Errorf("an attribute %s=%q: %s", a.Key, a.Val, card)
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(nodes[0])
}

func FuzzCard(f *testing.F) {
	for _, s := range []string{"<script>", `"'>`, "javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "https://ok.example/a?b=\"c\"", "http://x\" onclick=1", "\x00\xff", "{{.}}", "]]>", "<!--", "&lt;", "//evil.example", "https://user:pw@x.example/", "vbscript:x", "\thttps://x.example"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, link string) {
		c := jane()
		c.Name, c.Headline, c.Rationale, c.Skills, c.LinkedinURL = text, &text, text, []string{text}, &link
		out := enrichedCard(c)
		out.Theme = themes["dark"]
		var b strings.Builder
		must(t, cardTemplate.Execute(&b, out))
		selfContained(t, b.String())
	})
}

func TestRenderHTML(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	c := h.tenant(10)
	enriched, known := c.person("Jane Smith"), c.person("Only Known")
	gone := c.person("Objects Since")
	c.polled(c.started(enriched, gone))
	_, _, err := h.Enrichment.Suppress(c.with(), enrichment.PersonRef{ProfileID: &gone}, "asked")
	must(t, err)
	body := fmt.Sprintf(`{"profileIds":[%q,"profile_unknown",%q,%q,%q]`, enriched, known, gone, enriched)
	c.call("POST", "/sourcing/render-html", body+`}`).golden(t, "render-dark")
	c.call("POST", "/sourcing/render-html", body+`,"theme":"light"}`).golden(t, "render-light")
	c.call("POST", "/sourcing/render-html", `{"profileIds":["a","b"]}`).golden(t, "render-none")
	c.call("POST", "/sourcing/render-html", body+`,"theme":"blue"}`).golden(t, "render-400-theme")
	c.call("POST", "/sourcing/render-html", `{"profileIds":[]}`).golden(t, "render-400-none")
	c.call("POST", "/sourcing/render-html", `{"profileIds":["`+strings.Repeat(`x","`, 10)+`y"]}`).golden(t, "render-400-eleven")
	c.call("POST", "/sourcing/render-html", `{"profileIds":["a\u0000"],"theme":null}`).golden(t, "render-400-nul")
}

// TestCardPage writes the cards, and the reference, into pages for a person, or a browser, to look at.
func TestCardPage(t *testing.T) {
	dir := os.Getenv("ENRICHD_TEST_CARDS")
	if dir == "" {
		t.Skip("ENRICHD_TEST_CARDS names the folder to write cards.html to, for looking at")
	}
	var page strings.Builder
	page.WriteString("<!doctype html><meta charset=utf-8><body style=\"margin:0;display:grid;grid-template-columns:1fr 1fr;gap:16px;padding:16px;background:#888\">")
	for _, name := range []string{"full", "sparse", "hostile"} {
		for _, colours := range []string{"dark", "light"} {
			b, err := os.ReadFile(filepath.Join("testdata", "golden", "card-"+name+"-"+colours+".html"))
			must(t, err)
			page.Write(b)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "cards.html"), []byte(page.String()), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "docs.html"), theReference().page, 0o644))
}
