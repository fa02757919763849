package pipeline

import (
	"strings"
	"unicode"
)

// Name is a person's name taken apart. The parts keep the spelling they had.
type Name struct {
	Title    string // "Dr.", "Sir"
	Given    string // first given name, or its initial
	Middle   string // further given names, initials, patronymics
	Nickname string // written in quotes or brackets
	Family   string // with its particles: "van der Berg", "García Márquez"
	Suffix   string // "Jr.", "III", "PhD"
}

var titleWords = words(`mr mrs ms miss mx dr doctor prof professor sir dame lord lady rev reverend fr father sister brother hon
	honorable honourable herr frau monsieur madame mme mlle m sr sra srta dott dottssa ing dipl mag don dona sheikh shaikh shaykh sheik
	hajji haji hajj hadji mullah mulla maulana mawlawi maulvi imam ayatollah sayyid sayed syed general gen colonel col major maj captain capt lt
	lieutenant sgt sergeant admiral adm brigadier marshal president minister senator sen ambassador judge justice king queen prince
	princess emir sultan shri sri smt pandit eng engr comrade rabbi bishop archbishop pope chief governor gov mp`)

var suffixWords = words(`jr sr junior senior ii iii iv vi phd ph md esq esquire dds dvm mba msc ma bsc ba ms cpa cfa rn jd llm llb
	obe mbe cbe kbe qc kc frs dphil edd psyd pe pmp cissp dsc fils`)

var particleWords = words(`van von der den de del dela della di da das do dos du la las le los lo el al ul as ash an ad ar at az bin ibn ben bint binti
	abu ap ab af av zu zum zur ter ten te tot op st san santa y e i und vom am mac ould oglu kizi bat`)

func words(text string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(text) {
		out[w] = true
	}
	return out
}

// ParseName takes a person's name apart. It understands "Family, Given", titles
// and suffixes on either end, nicknames in quotes or brackets, particles,
// family names in capitals, joined double surnames, and Chinese, Japanese and Korean names written without blanks.
func ParseName(name string) Name {
	var out Name
	name, out.Nickname = takeNickname(name)
	segments := splitComma(name)
	for len(segments) > 1 && allWords(segments[len(segments)-1], suffixWords) {
		out.Suffix = joinSpaced(strings.Join(segments[len(segments)-1], " "), out.Suffix)
		segments = segments[:len(segments)-1]
	}
	if len(segments) == 0 {
		return out
	}
	if len(segments) > 1 {
		family, given := segments[0], segments[1]
		given, out.Title = takeTitle(given)
		family, out.Suffix = takeSuffix(family, out.Suffix)
		given, out.Suffix = takeSuffix(given, out.Suffix)
		// "Cruz, Juan de la": particles behind the given names belong to the family name.
		for len(given) > 1 && particleWords[Fold(given[len(given)-1])] {
			family = append([]string{given[len(given)-1]}, family...)
			given = given[:len(given)-1]
		}
		out.Family = strings.Join(family, " ")
		out.Given, out.Middle = firstRest(given)
		return out
	}
	tokens, title := takeTitle(segments[0])
	out.Title = title
	tokens, out.Suffix = takeSuffix(tokens, out.Suffix)
	if len(tokens) == 1 {
		if family, given, ok := splitEastAsian(tokens[0]); ok {
			out.Family, out.Given = family, given
		} else if out.Title != "" {
			out.Family = tokens[0]
		} else {
			out.Given = tokens[0]
		}
		return out
	}
	start := familyStart(tokens)
	if start == 0 { // capitals at the front: "DUPONT Jean"
		end := 0
		for end < len(tokens)-1 && isCapitals(tokens[end]) {
			end++
		}
		out.Family = strings.Join(tokens[:end], " ")
		out.Given, out.Middle = firstRest(tokens[end:])
		return out
	}
	out.Given, out.Middle = firstRest(tokens[:start])
	out.Family = strings.Join(tokens[start:], " ")
	return out
}

// familyStart answers where in tokens the family name begins; 0 means that it stands first.
func familyStart(tokens []string) int {
	n := len(tokens)
	if isCapitals(tokens[0]) && !isCapitals(tokens[n-1]) && len(tokens[0]) > 2 {
		return 0
	}
	start := n - 1
	if isCapitals(tokens[n-1]) {
		for start > 1 && isCapitals(tokens[start-1]) && !isCapitals(tokens[0]) {
			start--
		}
	}
	// "Ortega y Gasset": what stands before the joining word belongs to the family name too.
	if start >= 3 && (Fold(tokens[start-1]) == "y" || tokens[start-1] == "e" || tokens[start-1] == "i") {
		start -= 2
	}
	for start > 1 && particleWords[Fold(tokens[start-1])] && !isInitial(tokens[start-1]) {
		start--
	}
	return start
}

func firstRest(tokens []string) (string, string) {
	if len(tokens) == 0 {
		return "", ""
	}
	return tokens[0], strings.Join(tokens[1:], " ")
}

func takeTitle(tokens []string) (rest []string, title string) {
	i := 0
	for i < len(tokens)-1 && titleWords[Fold(tokens[i])] && (len(tokens[i]) > 1) {
		i++
	}
	return tokens[i:], strings.Join(tokens[:i], " ")
}

func takeSuffix(tokens []string, before string) (rest []string, suffix string) {
	i := len(tokens)
	for i > 1 && suffixWords[strings.ReplaceAll(Fold(tokens[i-1]), " ", "")] && (i > 2 || isSuffixShape(tokens[i-1])) {
		i--
	}
	return tokens[:i], joinSpaced(strings.Join(tokens[i:], " "), before)
}

// isSuffixShape keeps two-word names such as "Jack Ma" whole: a suffix behind a single word must look like one.
func isSuffixShape(token string) bool {
	f := Fold(token)
	return strings.HasSuffix(token, ".") || f == "jr" || f == "sr" || f == "ii" || f == "iii" || f == "phd"
}

func joinSpaced(a, b string) string { return strings.TrimSpace(a + " " + b) }

// takeNickname takes out what stands in quotes or brackets.
func takeNickname(name string) (rest, nickname string) {
	for _, pair := range [][2]string{{"(", ")"}, {"\"", "\""}, {"“", "”"}, {"„", "“"}, {"«", "»"}, {" '", "' "}, {"（", "）"}, {"[", "]"}} {
		from := strings.Index(name, pair[0])
		if from < 0 {
			continue
		}
		length := strings.Index(name[from+len(pair[0]):], pair[1])
		if length < 0 {
			continue
		}
		inside := strings.TrimSpace(name[from+len(pair[0]) : from+len(pair[0])+length])
		rest := strings.TrimSpace(name[:from] + " " + name[from+len(pair[0])+length+len(pair[1]):])
		if rest == "" {
			return inside, ""
		}
		return rest, inside
	}
	return name, ""
}

func splitComma(name string) [][]string {
	var out [][]string
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == ',' || r == '，' || r == ';' }) {
		if tokens := strings.Fields(part); len(tokens) > 0 {
			out = append(out, tokens)
		}
	}
	return out
}

func allWords(tokens []string, in map[string]bool) bool {
	for _, t := range tokens {
		if !in[strings.ReplaceAll(Fold(t), " ", "")] {
			return false
		}
	}
	return true
}

func isCapitals(token string) bool {
	letters := 0
	for _, r := range token {
		if unicode.IsLower(r) || unicode.IsDigit(r) {
			return false
		}
		if unicode.IsUpper(r) {
			letters++
		}
	}
	return letters > 1 && !strings.Contains(token, ".")
}

// isInitial says whether a token stands for a name by its first letter: "J.", "J", "J.R.", "Yu.".
func isInitial(token string) bool {
	letters := 0
	for _, r := range token {
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana) {
			return false
		}
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return letters == 1 || (letters == 2 && strings.HasSuffix(token, "."))
}

// eastAsianDouble are the family names of two characters.
var eastAsianDouble = words("欧阳 歐陽 司马 司馬 上官 诸葛 諸葛 东方 東方 皇甫 尉迟 公孙 慕容 令狐 남궁 황보 제갈 사공 선우")

// splitEastAsian takes apart a name written in Han characters or Hangul
// without a blank: the family name stands first and is one character, rarely two.
func splitEastAsian(token string) (family, given string, ok bool) {
	runes := []rune(token)
	if len(runes) < 2 || len(runes) > 4 {
		return "", "", false
	}
	for _, r := range runes {
		if !unicode.Is(unicode.Han, r) && !unicode.Is(unicode.Hangul, r) {
			return "", "", false
		}
	}
	cut := 1
	if len(runes) == 4 || (len(runes) == 3 && eastAsianDouble[string(runes[:2])]) {
		cut = 2
	}
	return string(runes[:cut]), string(runes[cut:]), true
}
