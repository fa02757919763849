package extract

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/publicsuffix"
)

// foundAddress is an address in running text.
type foundAddress struct {
	address string
	snippet string // as the text has it
	plain   bool   // written with @ and dots; anything else was put together
}

type tokenKind uint8

const (
	wordToken tokenKind = iota
	gapToken            // white space
	atToken
	dotToken
	otherToken
)

// token is a piece of text. strong tells an "at" or "dot" that can mean
// nothing else ("@", "[at]", "."), from a word that may stand in a sentence.
type token struct {
	kind       tokenKind
	strong     bool
	plain      bool // "@" or "." itself
	start, end int
}

var (
	bracketed = regexp.MustCompile(`^(?i)[\[({<«]\s*(?:(at|@|ät|aet|a|arroba|chez|bei|klammeraffe|\(at\)|"at"|et)|(dot|\.|punkt|point|punto|ponto|punt|d))\s*[\])}>»]`)
	dashedAt  = regexp.MustCompile(`(?i)^([a-z0-9._%+]+(?:(?:[-_])dot(?:[-_])[a-z0-9%+]+)*)[-_]at[-_]([a-z0-9]+(?:-[a-z0-9]+)*?(?:[-_]dot[-_][a-z0-9]+(?:-[a-z0-9]+)*?)+)$`)
	dashedDot = regexp.MustCompile(`(?i)[-_]dot[-_]`)
)

// scanAddresses finds the addresses in one line of text, plain or obfuscated
// with "at" and "dot" in brackets, between blanks or between dashes. The work
// is linear in the line.
func scanAddresses(line string) []foundAddress {
	if strings.Contains(line, "&#") {
		line = html.UnescapeString(line) // entities that were escaped twice
	}
	if !mayHoldAddress(line) {
		return nil
	}
	tokens := tokenize(line)
	var found []foundAddress
	for i, t := range tokens {
		switch {
		case t.kind == atToken:
			if f, ok := around(line, tokens, i); ok {
				found = append(found, f)
			}
			if len(found) == maxPageEmails {
				return found
			}
		case t.kind == wordToken && t.end-t.start > 8 && t.end-t.start < 255:
			start := t.start // of the local part, which may have dots
			for start > 0 && (line[start-1] == '.' || isAlnum(line[start-1])) && t.start-start < 64 {
				start--
			}
			if m := dashedAt.FindStringSubmatch(line[start:t.end]); m != nil {
				address := dashedDot.ReplaceAllString(m[1], ".") + "@" + dashedDot.ReplaceAllString(m[2], ".")
				if a, ok := textAddress(address, true); ok {
					found = append(found, foundAddress{address: a, snippet: line[start:t.end]})
				}
			}
		}
	}
	return found
}

// otherAts are spellings of "at" that cannot be told by the letters a and t.
var otherAts = []string{"ä", "Ä", "arroba", "(a)", "[a]", "( a )", "[ a ]", "klammeraffe", "bei", "chez"}

// mayHoldAddress is a quick look for anything that could be an "at".
func mayHoldAddress(line string) bool {
	if strings.IndexByte(line, '@') >= 0 || strings.Contains(line, "＠") {
		return true
	}
	for i := 1; i+2 < len(line); i++ {
		if (line[i] == 'a' || line[i] == 'A') && (line[i+1] == 't' || line[i+1] == 'T') && !isAlnum(line[i-1]) && !isAlnum(line[i+2]) {
			return true
		}
	}
	for _, s := range otherAts {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

func isWordRune(r rune) bool {
	return r < utf8.RuneSelf && (isAlnum(byte(r)) || strings.ContainsRune("_+-%", r)) || r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r))
}

func tokenize(line string) []token {
	tokens := make([]token, 0, min(len(line)/3+4, 1<<16))
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRuneInString(line[i:])
		t := token{kind: otherToken, start: i, end: i + size}
		switch {
		case strings.ContainsRune("[({<«", r):
			if m := bracketed.FindStringSubmatchIndex(line[i:min(len(line), i+24)]); m != nil {
				t.end, t.strong = i+m[1], true
				t.kind = atToken
				if m[4] >= 0 {
					t.kind = dotToken
				}
			}
		case r == '@' || r == '＠':
			t.kind, t.strong, t.plain = atToken, true, true
		case r == '.':
			t.kind, t.strong, t.plain = dotToken, true, true
		case unicode.IsSpace(r):
			t.kind = gapToken
			for t.end < len(line) && (line[t.end] == ' ' || line[t.end] == '\t') {
				t.end++
			}
		case isWordRune(r):
			t.kind = wordToken
			for t.end < len(line) {
				next, n := utf8.DecodeRuneInString(line[t.end:])
				if !isWordRune(next) {
					break
				}
				t.end += n
			}
			word := strings.ToLower(line[t.start:t.end])
			bare := strings.Trim(word, "-_")
			switch bare {
			case "at", "ät", "arroba":
				t.kind, t.strong = atToken, bare != word
			case "dot", "punkt", "punto", "ponto":
				t.kind, t.strong = dotToken, bare != word
			}
		}
		tokens = append(tokens, t)
		i = t.end
	}
	return tokens
}

// around puts together the address whose "at" is tokens[i].
func around(line string, tokens []token, i int) (foundAddress, bool) {
	at := tokens[i]
	left, leftGap := skipGap(tokens, i-1, -1)
	right, rightGap := skipGap(tokens, i+1, 1)
	spaced := leftGap && rightGap
	if left < 0 || right >= len(tokens) || tokens[left].kind != wordToken || tokens[right].kind != wordToken {
		return foundAddress{}, false
	}
	if at.plain && leftGap != rightGap {
		return foundAddress{}, false // "follow @ada"
	}
	plain := at.plain && !spaced
	wordy := false // a dot written as a word

	local := line[tokens[left].start:tokens[left].end]
	first := left
	for steps := 0; steps < 8; steps++ {
		dot, dotGap := skipGap(tokens, first-1, -1)
		if dot < 0 || tokens[dot].kind != dotToken || tokens[dot].plain && dotGap {
			break
		}
		word, wordGap := skipGap(tokens, dot-1, -1)
		if word < 0 || tokens[word].kind != wordToken || tokens[dot].plain && wordGap {
			break
		}
		local = line[tokens[word].start:tokens[word].end] + "." + local
		plain = plain && tokens[dot].plain
		first = word
	}
	domain := line[tokens[right].start:tokens[right].end]
	last := right
	for steps := 0; steps < 8; steps++ {
		dot, dotGap := skipGap(tokens, last+1, 1)
		if dot >= len(tokens) || tokens[dot].kind != dotToken {
			break
		}
		word, wordGap := skipGap(tokens, dot+1, 1)
		if word >= len(tokens) || tokens[word].kind != wordToken {
			break
		}
		if tokens[dot].plain && (dotGap || wordGap) && !(dotGap && wordGap && spaced && at.strong) {
			break // the end of a sentence
		}
		domain += "." + line[tokens[word].start:tokens[word].end]
		plain = plain && tokens[dot].plain && !dotGap
		wordy = wordy || !tokens[dot].plain
		last = word
	}
	if !at.strong {
		// "at" as a word needs a dot as a word, and must not be followed by another: "me at jane dot doe at …".
		if !wordy || !spaced || placeVerbs[strings.ToLower(local)] {
			return foundAddress{}, false
		}
	}
	if next, _ := skipGap(tokens, last+1, 1); !plain && next < len(tokens) && tokens[next].kind == atToken && wordy {
		return foundAddress{}, false
	}
	address, ok := textAddress(local+"@"+domain, !plain)
	if !ok {
		return foundAddress{}, false
	}
	from, to := tokens[first].start, tokens[last].end
	if plain {
		return foundAddress{address: address, snippet: contextOf(line, from, to), plain: true}, true
	}
	return foundAddress{address: address, snippet: line[from:to]}, true
}

// placeVerbs stand before an "at" that means a place: "I work at Acme dot com".
var placeVerbs = set("work works working worked am is are was were based live lives living study studied studying look looking meet available employed")

// skipGap steps over one gap.
func skipGap(tokens []token, i, step int) (at int, gap bool) {
	if i >= 0 && i < len(tokens) && tokens[i].kind == gapToken {
		return i + step, true
	}
	return i, false
}

// textAddress checks an address from running text: its top-level domain must
// exist (or be reserved for documentation), so that "icon@2x.png" is none.
// Letters that hang on behind a plain one ("a@b.org.Please") are dropped.
func textAddress(raw string, exact bool) (string, bool) {
	for {
		address, ok := cleanAddress(strings.Trim(raw, "-_%+"))
		if ok && knownTLD(address[strings.LastIndexByte(address, '@')+1:]) {
			return address, !sampleAddress(address)
		}
		dot := strings.LastIndexByte(raw, '.')
		if exact || dot < strings.LastIndexByte(raw, '@') {
			return "", false
		}
		raw = raw[:dot]
	}
}

func knownTLD(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return icann && suffix != domain || strings.Contains(suffix, ".") || suffix == "example" || suffix == "test"
}

// contextOf quotes a piece of a line with the words around it.
func contextOf(line string, from, to int) string {
	room := 120
	start, end := max(0, from-room), min(len(line), to+room)
	for start > 0 && start < from && line[start] != ' ' {
		start++
	}
	for end < len(line) && end > to && line[end-1] != ' ' {
		end--
	}
	return snippet(line[start:end])
}
