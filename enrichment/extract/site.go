package extract

import (
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// sharedHosts lend their subdomains to strangers but are missing from the
// public suffix list's private section, so every host below them is its own site.
var sharedHosts = []string{
	"substack.com", "tumblr.com", "livejournal.com", "typepad.com", "squarespace.com", "jimdo.com",
	"jimdosite.com", "jimdofree.com", "strikingly.com", "carrd.co", "webflow.io", "wixsite.com", "weebly.com",
	"wordpress.com", "blogspot.com", "hashnode.dev", "super.site", "notion.site", "neocities.org", "bearblog.dev",
	"github.io", "gitlab.io", "netlify.app", "vercel.app", "pages.dev", "web.app", "glitch.me", "micro.blog",
}

// Site answers the name under which pages belong together: the registrable
// domain ("example.com" for https://www.example.com/cv), the whole host on
// hosts that many people share ("ada.github.io"), host and port for addresses
// without a domain. It is "" when rawURL is not http or https.
func Site(rawURL string) string {
	u := parseHTTP(rawURL)
	if u == nil {
		return ""
	}
	host := canonicalHost(u.Hostname())
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return strings.ToLower(u.Host) // no domain to belong to: different ports are different sites
	}
	for _, shared := range sharedHosts {
		if name, ok := strings.CutSuffix(host, "."+shared); ok {
			name = strings.TrimPrefix(name, "www.")
			return name[strings.LastIndexByte(name, '.')+1:] + "." + shared
		}
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host // the host is a public suffix itself
	}
	return domain
}

// SameSite tells whether two addresses belong to one site, as Site has it.
func SameSite(a, b string) bool {
	site := Site(a)
	return site != "" && site == Site(b)
}

// parseHTTP reads an absolute http or https address; nil for anything else.
func parseHTTP(raw string) *url.URL {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil
	}
	return u
}

func canonicalHost(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// canonicalURL writes an address in the one form used for comparing: host in
// lower case, no default port, no fragment, no user, no tracking parameters, "/" for an empty path.
func canonicalURL(u *url.URL) string {
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	c.Host = strings.ToLower(c.Host)
	if port := c.Port(); port == "80" && c.Scheme == "http" || port == "443" && c.Scheme == "https" {
		c.Host = strings.TrimSuffix(c.Host, ":"+port)
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.RawQuery != "" {
		kept := []string{}
		for part := range strings.SplitSeq(c.RawQuery, "&") {
			key, _, _ := strings.Cut(part, "=")
			if part != "" && !strings.HasPrefix(key, "utm_") && key != "fbclid" && key != "gclid" {
				kept = append(kept, part)
			}
		}
		c.RawQuery = strings.Join(kept, "&")
	}
	c.ForceQuery = false
	return c.String()
}

// resolve makes an address absolute; "" when it cannot be read. Blanks around it are dropped, as browsers do.
func resolve(base *url.URL, ref string) string {
	ref = strings.TrimFunc(ref, isSpace)
	if strings.ContainsAny(ref, "\n\r\t") {
		ref = withoutBreaks.Replace(ref)
	}
	u, err := url.Parse(ref)
	if err != nil {
		return ""
	}
	if base == nil {
		return u.String()
	}
	return base.ResolveReference(u).String()
}

var withoutBreaks = strings.NewReplacer("\n", "", "\r", "", "\t", "")

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f' }
