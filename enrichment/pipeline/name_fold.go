package pipeline

import (
	"strings"
	"unicode"

	"github.com/mozillazg/go-unidecode"
	"golang.org/x/text/unicode/norm"
)

// Fold answers the comparing copy of a text: NFKC, transliterated to Latin
// letters, lower case, words separated by one blank. It is for comparing only
// and never shown. Apostrophes join ("O'Brien" is "obrien"), every other mark separates.
func Fold(s string) string {
	var b strings.Builder
	blank := true
	for _, r := range unidecode.Unidecode(readable(norm.NFKC.String(s))) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(unicode.ToLower(r))
			blank = false
		case r == '\'' || r == '`' || r == '"':
			// Transliteration writes soft signs and hamza as quotes.
		case r == '&':
			if !blank {
				b.WriteByte(' ')
			}
			b.WriteString("and ")
			blank = true
		default:
			if !blank {
				b.WriteByte(' ')
				blank = true
			}
		}
	}
	return strings.TrimSpace(b.String())
}

// readable prepares what transliteration letter by letter would lose: Arabic
// vowel marks and tatweel go, the article stands apart, a word's first alif or
// ayn is heard as a, and typographic apostrophes become plain ones, which join.
func readable(s string) string {
	var b strings.Builder
	start := true
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case r >= 0x064B && r <= 0x065F, r == 0x0670, r == 0x0640:
			continue
		case strings.ContainsRune("\u2018\u2019\u02bc\u02bb\u02be\u02bf\u00b4\u2032", r):
			r = '\''
		case start && r == 'ا' && i+3 < len(runes) && runes[i+1] == 'ل' && unicode.Is(unicode.Arabic, runes[i+3]):
			b.WriteString("al ")
			i++
			continue
		case start && strings.ContainsRune("اأإآع", r):
			b.WriteByte('a')
			start = false
			continue
		}
		b.WriteRune(r)
		start = !unicode.IsLetter(r)
	}
	return b.String()
}

// spelling answers a key under which the romanisations of one name fall
// together: Sergey and Sergei, Müller and Mueller, Yousef and Jusuf. word is folded.
func spelling(word string) string {
	return collapse(vowelPairs.Replace(soundPairs.Replace(faith(servant(word)))))
}

// soundPairs writes consonants that romanisations spell differently in one way.
// The first match in the list wins, so longer groups stand first.
var soundPairs = strings.NewReplacer(
	"shch", "s", "stch", "s", "tsch", "c", "tch", "c", "sch", "s", "sh", "s", "ch", "c",
	"dzh", "j", "dsch", "j", "dj", "j", "zh", "j", "kh", "h", "gh", "g", "ph", "f", "th", "t", "dh", "d", "bh", "b",
	"ck", "k", "cz", "c", "ts", "s", "tz", "s", "sz", "s", "qu", "k", "q", "k", "x", "ks", "w", "v", "z", "s",
	"ca", "ka", "co", "ko", "cu", "ku", "cr", "kr", "cl", "kl", "ct", "kt", "cy", "si", "ce", "se", "ci", "si",
)

// vowelPairs writes vowel groups and the half vowels y and j in one way.
var vowelPairs = strings.NewReplacer(
	"ou", "u", "oo", "u", "ue", "u", "oe", "o", "ae", "a", "ee", "i", "ie", "i", "ij", "i", "iy", "i", "yi", "i", "iu", "u", "yu", "u",
	"ei", "ai", "ey", "ai", "ay", "ai", "aj", "ai", "ia", "a", "ya", "a", "ja", "a", "io", "o", "yo", "o", "jo", "o", "y", "i",
)

// servant writes the Arabic "servant of" names in one way: Abdul Rahman,
// Abdurrahman and Abd al-Rahman (the last two words are joined before) are "abdrahman".
func servant(word string) string {
	if !strings.HasPrefix(word, "abd") || len(word) < 7 {
		return word
	}
	rest := strings.TrimLeft(word[3:], "aeiou")
	if len(rest) > 3 && (rest[0] == 'l' || rest[0] == rest[1]) {
		rest = rest[1:]
	}
	return "abd" + rest
}

// faith writes the ending of "… of the faith" names in one way: Jalaluddin, Jalal al-Din, Jalaleddine.
func faith(word string) string {
	for _, end := range []string{"uddin", "eddin", "aldin", "addin", "uldin", "eldin", "udin", "uddeen", "eddine"} {
		if stem, ok := strings.CutSuffix(word, end); ok && len(stem) > 2 {
			return stem + "din"
		}
	}
	return word
}

// collapse leaves one of doubled letters and drops a silent final h or e.
func collapse(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if len(out) == 0 || out[len(out)-1] != s[i] {
			out = append(out, s[i])
		}
	}
	if n := len(out); n > 3 && (out[n-1] == 'h' || out[n-1] == 'e') {
		out = out[:n-1]
	}
	return string(out)
}

// consonants answers the consonant frame of a spelling key. A leading vowel is
// kept as "a", because its absence is heard; a script written without vowels gives the same frame.
func consonants(key string) string {
	out := make([]byte, 0, len(key))
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch c {
		case 'a', 'e', 'i', 'o', 'u', 'j':
			if i == 0 && c != 'j' {
				out = append(out, 'a')
			}
			continue
		}
		if len(out) == 0 || out[len(out)-1] != c {
			out = append(out, c)
		}
	}
	return string(out)
}
