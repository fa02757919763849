package extract

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// cleanAddress checks an e-mail address strictly and writes its domain in
// lower case and Unicode. It accepts what people publish: a dot-atom local
// part of at most 64 octets (letters outside ASCII allowed) and a domain of at
// least two labels. Quoted local parts, literals and comments are refused.
func cleanAddress(raw string) (string, bool) {
	raw = strings.TrimSpace(raw)
	at := strings.LastIndexByte(raw, '@')
	if at < 1 || len(raw) > 254 || !utf8.ValidString(raw) {
		return "", false
	}
	local, domain := raw[:at], strings.ToLower(raw[at+1:])
	if !validLocal(local) {
		return "", false
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err != nil || !validDomain(ascii) {
		return "", false
	}
	if unicodeForm, err := idna.Display.ToUnicode(domain); err == nil {
		domain = unicodeForm
	}
	return local + "@" + domain, true
}

func validLocal(local string) bool {
	if len(local) > 64 || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return false
	}
	for _, r := range local {
		if r < utf8.RuneSelf {
			if !isAlnum(byte(r)) && !strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", r) {
				return false
			}
		} else if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return false
		}
	}
	return true
}

// validDomain checks a domain in its ASCII form.
func validDomain(domain string) bool {
	if len(domain) > 253 || !strings.Contains(domain, ".") {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
		last = label
	}
	if len(last) < 2 {
		return false
	}
	if strings.HasPrefix(last, "xn--") {
		return true
	}
	for i := 0; i < len(last); i++ {
		if !isLetter(last[i]) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' }

// mailtoAddress is the first recipient of a mailto: address, percent-decoded; headers are ignored.
func mailtoAddress(href string) string {
	_, to, _ := strings.Cut(strings.TrimSpace(href), ":")
	to, _, _ = strings.Cut(to, "?")
	to, _, _ = strings.Cut(to, ",")
	if decoded, err := url.PathUnescape(to); err == nil {
		to = decoded
	}
	to, _, _ = strings.Cut(to, ",")
	to, _, _ = strings.Cut(to, ";")
	if open := strings.LastIndexByte(to, '<'); open >= 0 {
		to, _, _ = strings.Cut(to[open+1:], ">")
	}
	return strings.Trim(to, " \t\r\n/\"'")
}

// sampleAddress tells addresses that stand in examples, forms and templates, and belong to nobody.
func sampleAddress(address string) bool {
	at := strings.LastIndexByte(address, '@')
	local, domain := strings.ToLower(address[:at]), strings.ToLower(address[at+1:])
	labels := strings.Split(domain, ".")
	n := len(labels)
	// example.com and its kin, also with a country behind; the reserved top-level domain "example" alone is no sample.
	if name := labels[max(0, n-2)]; sampleDomains[name] || n > 2 && (labels[n-2] == "co" || labels[n-2] == "com") && sampleDomains[labels[n-3]] {
		return true
	}
	if sampleLocals[local] || strings.Contains(local, "nospam") || strings.Contains(domain, "nospam") || strings.Contains(domain, "removethis") {
		return true
	}
	return sampleNames[local] && (domain == "company.com" || domain == "mail.com" || domain == "website.com" || domain == "site.com" || domain == "test.com")
}

var (
	sampleDomains = set("example domain yourdomain mydomain your-domain yourcompany your-company yoursite yourwebsite somedomain " +
		"anydomain otherdomain theirdomain domainname emailaddress youremail provider")
	sampleLocals = set("you your yourname your.name your-name your_name youremail your.email your-email name.surname " +
		"username user.name firstname.lastname first.last firstname email.address emailaddress someone somebody xxx")
	sampleNames = set("name email user me john.doe jane.doe johndoe janedoe john jane test foo address")
)
