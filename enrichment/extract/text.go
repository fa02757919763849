package extract

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxSnippet is the longest text that evidence quotes, in characters.
const maxSnippet = 300

// attr answers an attribute's value; "" when it is absent.
func attr(n *html.Node, name string) string {
	v, _ := lookupAttr(n, name)
	return v
}

func lookupAttr(n *html.Node, name string) (string, bool) {
	for i := range n.Attr {
		if n.Attr[i].Key == name {
			return n.Attr[i].Val, true
		}
	}
	return "", false
}

// squeeze makes one line of a text: runs of white space and control characters become one blank.
func squeeze(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	gap := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError:
			gap = true
			continue
		case r == '\u200b' || r == '\u2060' || r == '\ufeff' || r == '\u00ad':
			continue // invisible
		}
		if gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap = false
		b.WriteRune(r)
	}
	return b.String()
}

// snippet is squeezed text of at most maxSnippet characters, cut between words.
func snippet(s string) string {
	if len(s) > 16*maxSnippet {
		s = s[:16*maxSnippet]
	}
	return cut(squeeze(s), maxSnippet)
}

// cut shortens a text to limit characters, at a border between words where one is near, and marks the cut.
func cut(s string, limit int) string {
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	count, end := 0, 0
	for i := range s {
		if count == limit-1 {
			end = i
			break
		}
		count++
	}
	head := s[:end]
	if i := strings.LastIndexByte(head, ' '); i > len(head)/2 && s[end] != ' ' {
		head = head[:i]
	}
	return strings.TrimRight(head, " ,;:") + "…"
}

// hiddenText tells elements whose content nobody reads.
func hiddenText(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Style, atom.Template, atom.Head, atom.Noembed, atom.Noframes, atom.Iframe, atom.Select, atom.Textarea:
		return true
	}
	return false
}

// text is what an element shows, on one line.
func text(n *html.Node) string {
	var b strings.Builder
	writeText(&b, n)
	return squeeze(b.String())
}

func writeText(b *strings.Builder, n *html.Node) {
	switch n.Type {
	case html.TextNode:
		b.WriteString(n.Data)
	case html.ElementNode:
		if hiddenText(n.DataAtom) {
			return
		}
		block := special[n.DataAtom]
		if block {
			b.WriteByte(' ')
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			writeText(b, c)
		}
		if block {
			b.WriteByte(' ')
		}
	}
}

// walk visits n and everything below in document order; visit answers whether to go below an element.
func walk(n *html.Node, visit func(*html.Node) bool) {
	if !visit(n) {
		return
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, visit)
	}
}

// shortText is the beginning of what an element shows, enough for a snippet.
func shortText(n *html.Node) string {
	var b strings.Builder
	steps := 0
	walk(n, func(c *html.Node) bool {
		steps++
		switch {
		case b.Len() > 4*maxSnippet || steps > 200:
			return false
		case c.Type == html.TextNode:
			b.WriteString(c.Data)
		case c.Type == html.ElementNode && hiddenText(c.DataAtom):
			return false
		case special[c.DataAtom]:
			b.WriteByte(' ')
		}
		return true
	})
	return squeeze(b.String()[:min(b.Len(), 8*maxSnippet)])
}
