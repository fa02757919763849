package egress

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// MaxURLBytes is the longest address that is accepted.
const MaxURLBytes = 2048

// localSuffixes are names that never lead to the internet (RFC 6761, 6762,
// 8375, 9476) and single ones that clouds use inside.
var localSuffixes = []string{".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".onion", ".alt"}

// checkURL judges an address as text and returns it in the one form in which it
// is used: scheme and host in lower case, host in ASCII without trailing dot, no
// default port, no fragment. What a name resolves to is judged when it is
// dialled. Errors are *Error of kind Refused.
func (p Policy) checkURL(use Use, raw string) (*url.URL, error) {
	if len(raw) > MaxURLBytes {
		return nil, refuse(PhaseURL, "too_long", "longer than %d bytes", MaxURLBytes)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return nil, refuse(PhaseURL, "url", "not a valid absolute URL")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && p.http(use)) {
		if u.Scheme == "http" {
			return nil, refuse(PhaseURL, "scheme", "must be https")
		}
		return nil, refuse(PhaseURL, "scheme", "must be an http or https address")
	}
	if u.User != nil {
		return nil, refuse(PhaseURL, "credentials", "must not carry a user name or password")
	}
	port, err := p.checkPort(use, u)
	if err != nil {
		return nil, err
	}
	host, err := p.checkHost(u)
	if err != nil {
		return nil, err
	}
	clean := *u
	clean.Host = host + port
	clean.Fragment, clean.RawFragment = "", ""
	return &clean, nil
}

// checkPort returns ":port", or "" for the scheme's own.
func (p Policy) checkPort(use Use, u *url.URL) (string, error) {
	text := u.Port()
	number := uint16(443)
	if u.Scheme == "http" {
		number = 80
	}
	own := number
	if text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return "", refuse(PhaseURL, "port", "port %q is not a port", text)
		}
		number = uint16(n)
	} else if strings.HasSuffix(u.Host, ":") {
		return "", refuse(PhaseURL, "port", "the port is empty")
	}
	if !p.portAllowed(use, number) {
		return "", refuse(PhaseURL, "port", "port %d is not permitted", number)
	}
	if number == own {
		return "", nil
	}
	return ":" + strconv.Itoa(int(number)), nil
}

// checkHost returns the host as it goes into a URL: a name, an IPv4 address, or an IPv6 address in brackets.
func (p Policy) checkHost(u *url.URL) (string, error) {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Is6() {
			return "", refuse(PhaseURL, "host", "not a valid IPv6 address")
		}
		if err := p.judge(a); err != nil {
			return "", atURL(err)
		}
		return "[" + a.String() + "]", nil
	}
	name, err := asciiName(host)
	if err != nil {
		return "", err
	}
	if endsInNumber(name) {
		// Only the plain dotted form is an address; 127.1, 0x7f.1, 0177.0.0.1 and 2130706433 mean
		// different machines to different parsers.
		a, err := netip.ParseAddr(name)
		if err != nil {
			return "", refuse(PhaseURL, "host", "not an address in plain dotted form")
		}
		if err := p.judge(a); err != nil {
			return "", atURL(err)
		}
		return name, nil
	}
	if len(p.Allow) == 0 && localName(name) {
		return "", refuse(PhaseURL, "host", "%s is not a public name", name)
	}
	return name, nil
}

func atURL(err error) error {
	if e, ok := err.(*Error); ok {
		e.Phase = PhaseURL
	}
	return err
}

// asciiName maps a host name by UTS 46 to lower-case ASCII without trailing dot
// and checks it to be letters, digits, hyphens and underscores in labels of 1 to
// 63 bytes, 253 in all.
func asciiName(host string) (string, error) {
	bad := refuse(PhaseURL, "host", "not a valid host name")
	name := strings.ToLower(host)
	for i := range len(host) {
		if host[i] >= 0x80 {
			mapped, err := idna.Lookup.ToASCII(host)
			if err != nil {
				return "", bad
			}
			name = mapped
			break
		}
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", bad
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return "", bad
		}
		for i := range len(label) {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return "", bad
			}
		}
	}
	return name, nil
}

// endsInNumber is the URL Standard's "ends in a number": such a host is an IPv4 address or nothing.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func localName(name string) bool {
	if !strings.Contains(name, ".") {
		return true
	}
	for _, s := range localSuffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}
