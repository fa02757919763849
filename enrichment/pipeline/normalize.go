package pipeline

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// NormalizeInput makes an imported profile comparable: blanks tidied, links and
// addresses turned into canonical identifiers, in the caller's order, without repeats.
// identify is extract.Identify: it answers what a link names, or false when it
// is no address on the web. Links that it does not know stay out of Identifiers, but remain in Links.
func NormalizeInput(in Input, identify func(rawURL string) (Identifier, bool)) Seed {
	in.Name = tidy(in.Name)
	in.Headline, in.Location = tidy(in.Headline), tidy(in.Location)
	in.CurrentCompany, in.CurrentRole = tidy(in.CurrentCompany), tidy(in.CurrentRole)
	in.Emails = slices.Clone(in.Emails)
	seed := Seed{Input: in}
	seen := map[Identifier]bool{}
	add := func(id Identifier) {
		key := Identifier{Kind: id.Kind, Value: id.Value}
		if id.Value != "" && !seen[key] {
			seen[key] = true
			seed.Identifiers = append(seed.Identifiers, id)
		}
	}
	for _, link := range in.Links {
		if id, ok := identify(strings.TrimSpace(link)); ok {
			add(id)
		}
	}
	for _, address := range in.Emails {
		if id, ok := emailIdentifier(address); ok {
			add(id)
		}
	}
	return seed
}

// tidy leaves single blanks between words and none around them.
func tidy(s string) string { return strings.Join(strings.Fields(s), " ") }

// emailIdentifier answers an address in its comparing form: all lower case.
// Whether it is valid is the verifier's matter.
func emailIdentifier(address string) (Identifier, bool) {
	address = strings.ToLower(strings.TrimSpace(address))
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || !strings.Contains(domain, ".") || strings.ContainsAny(address, " \t\r\n") {
		return Identifier{}, false
	}
	return Identifier{Kind: "email", Value: address}, true
}

// place is an address on the web in comparing form.
type place struct {
	host   string // lower case, without www.
	domain string // the part that one owner registered; the host itself on shared hosts
	path   string // without the last slash
	shared bool   // the owner of the domain is not the owner of the page
}

// placeOf takes a link apart; false when it is not one of the web.
func placeOf(raw string) (place, bool) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Host == "" {
		return place{}, false
	}
	host := strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	port := ""
	if n := u.Port(); n != "" && n != "80" && n != "443" {
		port = ":" + n // another port is another site
	}
	p := place{host: host + port, domain: host + port, path: strings.TrimRight(u.EscapedPath(), "/")}
	for _, index := range []string{"/index.html", "/index.htm", "/index.php"} {
		p.path = strings.TrimSuffix(p.path, index)
	}
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		p.shared = true // a bare address or a machine's name belongs to nobody in particular: only whole pages compare
	} else if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		p.domain = domain + port
	}
	p.shared = p.shared || sharedHosts[p.domain] || sharedHosts[p.host]
	if u.RawQuery != "" {
		p.path += "?" + u.RawQuery
	}
	return p, true
}

func (p place) page() string { return p.host + p.path }

// sharedHosts are sites where many people have pages under one registered
// domain; hosts that give each a domain of their own (github.io) are in the public suffix list.
var sharedHosts = words(`github.com gitlab.com bitbucket.org codeberg.org sr.ht sourceforge.net linkedin.com twitter.com x.com facebook.com
	instagram.com threads.net medium.com substack.com dev.to hashnode.com about.me linktr.ee carrd.co notion.site notion.so google.com
	sites.google.com scholar.google.com youtube.com twitch.tv reddit.com stackoverflow.com stackexchange.com quora.com tumblr.com
	wordpress.com blogspot.com blogger.com wixsite.com weebly.com squarespace.com webflow.io orcid.org openalex.org researchgate.net
	academia.edu dblp.org semanticscholar.org wikipedia.org wikidata.org mastodon.social mastodon.online fosstodon.org hachyderm.io
	bsky.app bsky.social keybase.io gravatar.com libravatar.org kaggle.com huggingface.co behance.net dribbble.com deviantart.com flickr.com
	goodreads.com meetup.com speakerdeck.com slideshare.net patreon.com ko-fi.com buymeacoffee.com calendly.com telegram.org t.me discord.gg
	vk.com xing.com crunchbase.com angel.co wellfound.com producthunt.com ycombinator.com news.ycombinator.com archive.org lobste.rs amazon.com
	apple.com microsoft.com tilde.club neocities.org geocities.com bit.ly tinyurl.com`)
