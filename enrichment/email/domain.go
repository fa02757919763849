package email

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The lengths of RFC 1035, section 2.3.4, in octets of the ASCII form.
const (
	maxLabel  = 63
	maxDomain = 253
)

// profile is UTS 46 for lookup, not transitional. Hyphens are checked by
// checkLabels, because names such as r3---sn-x exist.
var profile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(true), idna.CheckHyphens(false))

// parseDomain returns a domain in its ASCII and in its Unicode form.
func parseDomain(s string) (ascii, display string, err error) {
	switch {
	case s == "":
		return "", "", bad("nothing after the @")
	case s[0] == '[':
		return "", "", bad("an IP address instead of a domain")
	case len(s) > 4*maxAddress:
		return "", "", bad("the domain is longer than 253 bytes")
	}
	ascii = strings.ToLower(s)
	if !isASCII(s) || strings.Contains(ascii, "xn--") {
		if ascii, err = toASCII(s); err != nil {
			return "", "", err
		}
	}
	if err := checkLabels(ascii); err != nil {
		return "", "", err
	}
	display = ascii
	if strings.Contains(ascii, "xn--") {
		display, _ = profile.ToUnicode(ascii) // valid by toASCII, but for letters that are not assigned yet
		if err := checkHyphens(display); err != nil {
			return "", "", err
		}
	}
	return ascii, display, nil
}

// toASCII maps and validates by UTS 46. A code point that the tables at hand do
// not know passes, as it may be a letter of a newer Unicode (RFC 5894, section
// 7.1.1, asks lookups for a no; but a no of ours would call an existing address impossible).
func toASCII(s string) (string, error) {
	invalid := bad("not a valid internationalised domain")
	// A-labels are opened first, so that what is inside them is judged like what stands in the open.
	open, err := idna.Punycode.ToUnicode(lowerASCII(s))
	if err != nil {
		return "", invalid
	}
	known := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(controlPictures, r):
			return utf8.RuneError
		case unicode.Is(unicode.Cn, r) && !unicode.Is(unicode.Noncharacter_Code_Point, r):
			return '\u4e00' // any letter: only whether the rest is valid is asked here
		}
		return r
	}, open)
	if _, err := profile.ToASCII(known); err != nil {
		return "", invalid
	}
	// The errors are about unassigned code points only. An A-label may hold nothing that still has to be mapped.
	ascii, _ := profile.ToASCII(s)
	if mapped, _ := profile.ToASCII(open); mapped != ascii || !isASCII(ascii) {
		return "", invalid
	}
	return ascii, nil
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// checkLabels holds a domain in ASCII to letters, digits and inner hyphens (RFC 5321, section 4.1.2).
func checkLabels(ascii string) error {
	if len(ascii) > maxDomain {
		return bad("the domain is longer than 253 bytes")
	}
	last := ""
	for label := range strings.SplitSeq(ascii, ".") {
		switch {
		case label == "":
			return bad("a dot at an end of the domain, or two in a row")
		case len(label) > maxLabel:
			return bad("a part of the domain is longer than 63 bytes")
		case !ldh(label):
			return bad("a character in the domain that is not allowed there")
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return bad("the domain ends in a number")
	}
	return checkHyphens(ascii)
}

func ldh(label string) bool {
	for i := range len(label) {
		if c := label[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func checkHyphens(domain string) error {
	for label := range strings.SplitSeq(domain, ".") {
		if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return bad("a hyphen at an end of a part of the domain")
		}
	}
	return nil
}
