package extract

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

// Robots is a robots.txt that has been read (RFC 9309). The zero value allows
// everything; a *Robots is safe for concurrent use because nothing changes it.
type Robots struct {
	groups map[string]*robotsGroup // by product token in lower case; "*" is everybody else
	closed bool                    // unreachable: all disallowed
}

// robotsGroup holds the merged rules of every group that names one token.
type robotsGroup struct {
	rules    []robotsRule
	delay    time.Duration
	hasDelay bool
}

// robotsRule is one Allow or Disallow line, percent-encoded and cut at its wildcards.
type robotsRule struct {
	allow    bool
	length   int      // octets of the encoded pattern: what "most specific" is measured in
	parts    []string // literal text between the asterisks
	anchored bool     // ended in "$"
}

// maxRobotsBytes is how much of a file is read; RFC 9309 section 2.5 asks for at least 500 KiB.
const maxRobotsBytes = 512 << 10

// RobotsFor says what an answer to a robots.txt request means (RFC 9309
// section 2.3.1): 2xx is parsed; 4xx, and a 3xx that the fetcher stopped
// following, allow everything; 5xx, and 0 for a host that could not be
// reached, disallow everything.
func RobotsFor(status int, body []byte) *Robots {
	switch {
	case status >= 200 && status < 300:
		return ParseRobots(body)
	case status >= 300 && status < 500:
		return &Robots{}
	default:
		return &Robots{closed: true}
	}
}

// ParseRobots reads a robots.txt of any quality. It never fails: what it
// cannot read it skips, as RFC 9309 section 2.2 wants.
func ParseRobots(body []byte) *Robots {
	r := &Robots{groups: map[string]*robotsGroup{}}
	body = body[:min(len(body), maxRobotsBytes)]
	body = skipBOM(body)

	var open []*robotsGroup // the groups that the next rule belongs to
	closed := true          // a rule was seen, so the next User-agent line opens anew
	for len(body) > 0 {
		var line []byte
		line, body = cutLine(body)
		key, value, ok := robotsLine(line)
		if !ok {
			continue
		}
		switch robotsKey(key) {
		case "user-agent":
			if closed {
				open, closed = nil, false
			}
			if g := r.group(value); g != nil {
				open = append(open, g)
			}
		case "allow":
			closed = true
			addRule(open, true, value)
		case "disallow":
			closed = true
			addRule(open, false, value)
		case "crawl-delay":
			// Not a rule of RFC 9309, so it does not end a list of User-agent lines.
			setDelay(open, value)
		}
	}
	return r
}

// group answers the group that a User-agent value names, making it when it is new; nil when the value names nobody.
func (r *Robots) group(value string) *robotsGroup {
	token := robotsToken(value)
	if token == "" {
		return nil
	}
	g := r.groups[token]
	if g == nil {
		g = &robotsGroup{}
		r.groups[token] = g
	}
	return g
}

// Allowed tells whether the robot named by productToken ("enrichd", without
// version) may fetch encodedURL. The address must already be percent-encoded:
// only the rules are encoded here. Scheme, host and fragment are ignored; an
// empty address means "/".
func (r *Robots) Allowed(productToken, encodedURL string) bool {
	if r == nil {
		return true
	}
	if r.closed {
		return false
	}
	g := r.forToken(productToken)
	if g == nil {
		return true
	}
	path := robotsPath(encodedURL)
	if path == "/robots.txt" {
		return true // always, by RFC 9309 section 2.2.2
	}
	best, allow := -1, true
	for i := range g.rules {
		rule := &g.rules[i]
		if rule.length < best || (rule.length == best && (allow || !rule.allow)) {
			continue // shorter, or a tie that would change nothing
		}
		if rule.match(path) {
			best, allow = rule.length, rule.allow
		}
	}
	return allow
}

// CrawlDelay answers the pause between requests that the site asks of the
// named robot, and whether it asks for one. Where the groups of one token
// disagree the longest pause is taken.
func (r *Robots) CrawlDelay(productToken string) (time.Duration, bool) {
	if r == nil {
		return 0, false
	}
	g := r.forToken(productToken)
	if g == nil {
		return 0, false
	}
	return g.delay, g.hasDelay
}

// forToken answers the group of a robot: its own, or everybody's only when no group names it.
func (r *Robots) forToken(productToken string) *robotsGroup {
	if g := r.groups[strings.ToLower(productToken)]; g != nil && productToken != "" {
		return g
	}
	return r.groups["*"]
}

// skipBOM drops a byte order mark, also one that was cut short.
func skipBOM(body []byte) []byte {
	for _, b := range []byte{0xEF, 0xBB, 0xBF} {
		if len(body) == 0 || body[0] != b {
			break
		}
		body = body[1:]
	}
	return body
}

// cutLine takes one line off body; LF, CR and CRLF all end one.
func cutLine(body []byte) (line, rest []byte) {
	i := bytes.IndexAny(body, "\r\n")
	if i < 0 {
		return body, nil
	}
	next := i + 1
	if body[i] == '\r' && next < len(body) && body[next] == '\n' {
		next++
	}
	return body[:i], body[next:]
}

// robotsLine splits "key: value # comment". A blank may stand for the colon
// when it leaves exactly two words, a mistake that is common and harmless.
func robotsLine(line []byte) (key, value string, ok bool) {
	line, _, _ = bytes.Cut(line, []byte("#"))
	text := strings.Trim(string(line), " \t\v\f\x00")
	key, value, ok = strings.Cut(text, ":")
	if !ok {
		words := strings.Fields(text)
		if len(words) != 2 {
			return "", "", false
		}
		key, value = words[0], words[1]
	}
	key = strings.ToLower(strings.TrimSpace(key))
	return key, strings.TrimSpace(value), key != ""
}

// robotsKey maps frequent misspellings to the word that was meant: a site that writes "dissallow" wants to be left alone.
func robotsKey(key string) string {
	switch key {
	case "useragent", "user agent":
		return "user-agent"
	case "dissallow", "dissalow", "disalow", "diasllow", "disallaw":
		return "disallow"
	}
	return key
}

// robotsToken is the product token of a User-agent value in lower case: its
// leading letters, "-" and "_"; "*" for everybody; "" for a value that names nobody.
func robotsToken(value string) string {
	if value == "*" || strings.HasPrefix(value, "* ") || strings.HasPrefix(value, "*\t") {
		return "*"
	}
	end := 0
	for end < len(value) && (isLetter(value[end]) || value[end] == '-' || value[end] == '_') {
		end++
	}
	return strings.ToLower(value[:end])
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// addRule gives a rule to all open groups. An empty value is no rule.
func addRule(open []*robotsGroup, allow bool, value string) {
	if value == "" || len(open) == 0 {
		return
	}
	rules := []robotsRule{newRule(allow, value)}
	if allow {
		// A directory and its index page are one page: allowing /a/index.html allows /a/ as well, and nothing else.
		if i := strings.LastIndexByte(value, '/'); i >= 0 && strings.HasPrefix(value[i:], "/index.htm") {
			rules = append(rules, newRule(true, value[:i+1]+"$"))
		}
	}
	for _, g := range open {
		g.rules = append(g.rules, rules...)
	}
}

func newRule(allow bool, value string) robotsRule {
	pattern, anchored := strings.CutSuffix(value, "$")
	pattern = encodeRule(pattern)
	length := len(pattern)
	if anchored {
		length++
	}
	return robotsRule{allow: allow, length: length, parts: strings.Split(pattern, "*"), anchored: anchored}
}

const upperHex = "0123456789ABCDEF"

// encodeRule percent-encodes what may not stand in an address, writes escapes
// in capitals, and spells a "$" that is no anchor as the escape it is compared with.
func encodeRule(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteString(strings.ToUpper(s[i : i+3]))
			i += 2
		case c <= ' ' || c >= 0x7F || c == '$':
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// robotsPath is what rules are compared with: path, parameters and query of an
// encoded address, its escapes in capitals. A literal "*" or "$" is written as
// the escape by which a rule can name it (RFC 9309 section 2.2.3). Other
// characters stay: a raw one outside ASCII shall match no rule.
func robotsPath(address string) string {
	address, _, _ = strings.Cut(address, "#")
	rest := strings.TrimPrefix(address, "//")
	if scheme := strings.Index(rest, "://"); scheme >= 0 && !strings.ContainsAny(rest[:scheme], "/?;") {
		rest = rest[scheme+3:]
	}
	if strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") {
		rest = address
	}
	start := strings.IndexAny(rest, "/?;")
	if start < 0 {
		return "/"
	}
	path := rest[start:]
	if path[0] != '/' {
		path = "/" + path
	}
	if !strings.ContainsAny(path, "%*$") {
		return path
	}
	var b strings.Builder
	b.Grow(len(path))
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			b.WriteString(strings.ToUpper(path[i : i+3]))
			i += 2
		case c == '*':
			b.WriteString("%2A")
		case c == '$':
			b.WriteString("%24")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// match tells whether the rule covers path. Taking the leftmost place for each
// literal part is enough, so the work is linear in the path, however many asterisks there are.
func (r *robotsRule) match(path string) bool {
	rest, ok := strings.CutPrefix(path, r.parts[0])
	if !ok {
		return false
	}
	last := len(r.parts) - 1
	if last == 0 {
		return !r.anchored || rest == ""
	}
	for _, part := range r.parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	if r.anchored {
		return strings.HasSuffix(rest, r.parts[last])
	}
	return strings.Contains(rest, r.parts[last])
}

// setDelay notes a Crawl-delay in seconds, fractions allowed.
func setDelay(open []*robotsGroup, value string) {
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 {
		return
	}
	delay := time.Duration(min(seconds, 86400) * float64(time.Second)) // a day is as good as never
	for _, g := range open {
		g.delay = max(g.delay, delay)
		g.hasDelay = true
	}
}
