// Package email says whether an address can be an address (Parse), and what is
// known of whether it takes mail and is a person's (Verifier). It never sends.
package email

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The lengths of RFC 5321, section 4.5.3.1, in octets; the whole is 254 by
// erratum 1690 of RFC 3696, because a path has 256 with its brackets.
const (
	maxLocal   = 64
	maxAddress = 254
)

// Address is a mailbox in the form in which it is used. Equal addresses that
// are written differently ("ada"@Example.ORG and ada@example.org) have equal
// fields; the local part keeps its case, because only its server may ignore that.
type Address struct {
	Local   string // quoted only where it must be; NFC
	Domain  string // ASCII, lower case: what DNS is asked
	Unicode string // the domain as people write it, lower case
}

// String is the address as people write it.
func (a Address) String() string { return a.Local + "@" + a.Unicode }

// NeedsSMTPUTF8 says that only servers with RFC 6531 can carry the address:
// its local part holds letters outside ASCII.
func (a Address) NeedsSMTPUTF8() bool { return !isASCII(a.Local) }

// SyntaxError says why a text is no address.
type SyntaxError struct{ Reason string }

// Error returns the reason.
func (e SyntaxError) Error() string { return "not an e-mail address: " + e.Reason }

func bad(reason string) error { return SyntaxError{Reason: reason} }

// Parse reads one bare address: the Mailbox of RFC 5321, section 4.1.2, with
// the letters of RFC 6531, and without address literals. Comments, folding,
// blanks around it and the obsolete forms of RFC 5322 are refused: they are no
// part of an address that mail can be sent to. A domain of one label is accepted;
// one that ends in a number is not, because it reads as an IP address. Errors are SyntaxError.
func Parse(s string) (Address, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		return Address{}, bad("damaged encoding")
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return Address{}, err
	}
	domain, display, err := parseDomain(rest)
	if err != nil {
		return Address{}, err
	}
	a := Address{Local: local, Domain: domain, Unicode: display}
	switch {
	case len(s)-len(rest)-1 > maxLocal, len(a.Local) > maxLocal: // as written, and as sent
		return Address{}, bad("the part before the @ is longer than 64 bytes")
	case len(a.Local)+1+len(a.Domain) > maxAddress:
		return Address{}, bad("longer than 254 bytes")
	}
	return a, nil
}

// Normalise returns the one spelling of an address: domain in lower case and in
// its Unicode form, local part unquoted where it can be.
func Normalise(s string) (string, error) {
	a, err := Parse(s)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// cutLocal reads the local part up to the @ and returns it in its one form, with what follows the @.
func cutLocal(s string) (local, domain string, err error) {
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s)
	}
	local, domain, found := strings.Cut(s, "@")
	switch {
	case !found:
		return "", "", bad("no @")
	case local == "":
		return "", "", bad("nothing before the @")
	}
	if reason := dotString(local); reason != "" {
		return "", "", bad(reason)
	}
	return norm.NFC.String(local), domain, nil
}

// cutQuoted reads a Quoted-string: any printable character, " and \ behind a \.
func cutQuoted(s string) (local, domain string, err error) {
	var content strings.Builder
	escaped := false
	for i, r := range s {
		switch {
		case i == 0:
		case r < ' ' || r == 0x7f || r >= utf8.RuneSelf && !printable(r):
			return "", "", bad("a control character in quotes")
		case escaped:
			if r >= utf8.RuneSelf {
				return "", "", bad("only ASCII may follow a backslash")
			}
			content.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			domain, found := strings.CutPrefix(s[i+1:], "@")
			if !found {
				return "", "", bad("no @ after the closing quote")
			}
			return requote(norm.NFC.String(content.String())), domain, nil
		default:
			content.WriteRune(r)
		}
	}
	return "", "", bad("the quote is not closed")
}

// requote writes a local part without quotes where it can do without, and with
// as few backslashes as possible where it cannot (RFC 5321, section 4.1.2: all such forms are equal).
func requote(content string) string {
	if dotString(content) == "" {
		return content
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(content) + `"`
}

// dotString says why s is no Dot-string, or "".
func dotString(s string) string {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return "a dot at an end, or two in a row"
	}
	for _, r := range s {
		if r != '.' && !atext(r) {
			return "a character before the @ that is not allowed there"
		}
	}
	return ""
}

// atext is RFC 5322's, with the letters of RFC 6531.
func atext(r rune) bool {
	switch {
	case r >= utf8.RuneSelf:
		return printable(r)
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	}
	return strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// controlPictures stand for control characters in text that was made printable; an address that holds one was damaged on the way.
var controlPictures = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x2400, Hi: 0x243f, Stride: 1}}}

// printable says whether a character outside ASCII may stand in a local part.
// RFC 6531 allows all; refused are those that cannot be seen or typed, and so
// are either damage or disguise. A code point that Unicode has not yet assigned
// may become a letter and passes. The two joiners are needed to spell Persian and Indic words.
func printable(r rune) bool {
	switch {
	case r == 0x200c || r == 0x200d:
		return true
	case r == utf8.RuneError:
		return false
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zs, unicode.Zl, unicode.Zp,
		unicode.Noncharacter_Code_Point, controlPictures)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
