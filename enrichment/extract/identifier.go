package extract

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// The kinds of a pipeline.Identifier.
const (
	kindWebsite       = "website"
	kindLink          = "link"
	kindGitHub        = "github"
	kindORCID         = "orcid"
	kindOpenAlex      = "openalex"
	kindLinkedIn      = "linkedin"
	kindStackExchange = "stackexchange"
	kindMastodon      = "mastodon"
	kindBluesky       = "bluesky"
	kindDBLP          = "dblp"
	kindWikidata      = "wikidata"
	kindTwitter       = "twitter"
	kindEmail         = "email"
)

var (
	orcidForm    = regexp.MustCompile(`^\d{4}-?\d{4}-?\d{4}-?\d{3}[\dXx]$`)
	loginForm    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})$`)
	handleForm   = regexp.MustCompile(`^[A-Za-z0-9_]{1,15}$`)
	acctForm     = regexp.MustCompile(`^@?([A-Za-z0-9_][A-Za-z0-9_.-]*)@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})$`)
	hostForm     = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$`)
	openAlexForm = regexp.MustCompile(`^[Aa]\d{2,}$`)
	wikidataForm = regexp.MustCompile(`^[Qq]\d+$`)
	numberForm   = regexp.MustCompile(`^\d+$`)
	dblpForm     = regexp.MustCompile(`^[0-9a-z]+/[0-9A-Za-z-]+$`)
	bareForm     = regexp.MustCompile(`^(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?::\d+)?(?:[/?#]\S*)?$`)
)

// Identify brings a link, an address or an account name into canonical form.
// It reads http and https addresses (also without their scheme), "mailto:"
// and bare e-mail addresses, ORCID iDs with a right check digit, "acct:" and
// "@user@host" names, and "at://" handles. Accounts of known services get
// their kind; any other page is a website when it is a site's own front page
// or somebody's home directory, and a link otherwise. ok is false for what
// names nobody: an unreadable address, another scheme, a wrong check digit.
//
// Stack Exchange users are "<site>/<number>" with the API's site name
// ("stackoverflow/22656"); network accounts are "stackexchange/<number>".
func Identify(raw string) (id pipeline.Identifier, ok bool) {
	raw = strings.TrimSpace(raw)
	lower := strings.ToLower(raw)
	switch {
	case raw == "" || len(raw) > 2048:
		return id, false
	case orcidForm.MatchString(raw):
		return identifyORCID(raw)
	case strings.HasPrefix(lower, "orcid:"):
		return identifyORCID(strings.TrimSpace(raw[len("orcid:"):]))
	case strings.HasPrefix(lower, "mailto:"):
		return identifyEmail(mailtoAddress(raw))
	case strings.HasPrefix(lower, "acct:"):
		return identifyAcct(raw[len("acct:"):])
	case strings.HasPrefix(lower, "at://"):
		handle, _, _ := strings.Cut(raw[len("at://"):], "/")
		return identifyBluesky(handle)
	case strings.HasPrefix(raw, "@") && strings.Count(raw, "@") == 2:
		return identifyAcct(raw)
	case strings.HasPrefix(raw, "//"):
		raw = "https:" + raw
	case !strings.Contains(raw, "://"):
		if strings.Contains(raw, "@") && !strings.ContainsAny(raw, "/ ") {
			return identifyEmail(raw)
		}
		if !bareForm.MatchString(raw) {
			return id, false
		}
		raw = "https://" + raw
	}
	u := parseHTTP(raw)
	if u == nil {
		return id, false
	}
	return identifyURL(u)
}

// identifyURL tells which service an address belongs to.
func identifyURL(u *url.URL) (pipeline.Identifier, bool) {
	host := strings.TrimPrefix(canonicalHost(u.Hostname()), "www.")
	segments := []string{}
	for s := range strings.SplitSeq(u.Path, "/") {
		if s != "" {
			segments = append(segments, s)
		}
	}
	if host == "orcid.org" && len(segments) == 1 {
		return identifyORCID(segments[0])
	}
	if id, ok := identifyService(host, segments, u); ok {
		return id, true
	}
	address := canonicalURL(u)
	kind := kindLink
	if ownPage(host, segments) && !strings.Contains(address, "?") {
		kind = kindWebsite
	}
	return pipeline.Identifier{Kind: kind, Value: address, URL: address}, true
}

// identifyService reads the address of an account with a service that has its own kind.
func identifyService(host string, segments []string, u *url.URL) (id pipeline.Identifier, ok bool) {
	one := len(segments) == 1
	switch {
	case (host == "github.com" || host == "gist.github.com") && one && loginForm.MatchString(segments[0]) && !githubPages[strings.ToLower(segments[0])]:
		login := strings.ToLower(segments[0])
		return pipeline.Identifier{Kind: kindGitHub, Value: login, URL: "https://github.com/" + login}, true

	case (host == "openalex.org" || host == "api.openalex.org") && len(segments) > 0 && openAlexForm.MatchString(segments[len(segments)-1]):
		author := strings.ToUpper(segments[len(segments)-1])
		return pipeline.Identifier{Kind: kindOpenAlex, Value: author, URL: "https://openalex.org/" + author}, true

	case (host == "linkedin.com" || strings.HasSuffix(host, ".linkedin.com")) && len(segments) >= 2 && segments[0] == "in":
		slug := strings.ToLower(segments[1])
		return pipeline.Identifier{Kind: kindLinkedIn, Value: slug, URL: "https://www.linkedin.com/in/" + url.PathEscape(slug)}, true

	case host == "bsky.app" && len(segments) == 2 && segments[0] == "profile":
		return identifyBluesky(segments[1])
	case strings.HasSuffix(host, ".bsky.social") && len(segments) == 0:
		return identifyBluesky(host)

	case (host == "twitter.com" || host == "x.com" || host == "mobile.twitter.com") && one:
		handle := strings.ToLower(strings.TrimPrefix(segments[0], "@"))
		if !handleForm.MatchString(handle) || twitterPages[handle] {
			return id, false
		}
		return pipeline.Identifier{Kind: kindTwitter, Value: handle, URL: "https://x.com/" + handle}, true

	case (host == "wikidata.org" || host == "m.wikidata.org") && len(segments) >= 2 && wikidataForm.MatchString(segments[len(segments)-1]):
		item := strings.ToUpper(segments[len(segments)-1])
		return pipeline.Identifier{Kind: kindWikidata, Value: item, URL: "https://www.wikidata.org/wiki/" + item}, true

	case (host == "dblp.org" || host == "dblp.uni-trier.de" || host == "dblp.dagstuhl.de") && len(segments) == 3 && segments[0] == "pid":
		pid := segments[1] + "/" + strings.TrimSuffix(strings.TrimSuffix(segments[2], ".html"), ".xml")
		if !dblpForm.MatchString(pid) {
			return id, false
		}
		return pipeline.Identifier{Kind: kindDBLP, Value: pid, URL: "https://dblp.org/pid/" + pid}, true

	case len(segments) >= 2 && segments[0] == "users" && numberForm.MatchString(segments[1]) && stackSite(host) != "":
		value := stackSite(host) + "/" + segments[1]
		return pipeline.Identifier{Kind: kindStackExchange, Value: value, URL: "https://" + host + "/users/" + segments[1]}, true

	case one && strings.HasPrefix(segments[0], "@") && u.Port() == "" && !platform(host):
		// Only the fediverse gives people "/@name" on hosts of their own choosing; the known exceptions are platforms.
		name := segments[0][1:]
		if strings.Contains(name, "@") {
			return identifyAcct(name) // a remote account, seen through this instance
		}
		return identifyAcct(name + "@" + host)
	}
	return id, false
}

// identifyORCID checks the check digit (ISO 7064, MOD 11-2) of an ORCID iD.
func identifyORCID(raw string) (id pipeline.Identifier, ok bool) {
	if !orcidForm.MatchString(raw) {
		return id, false
	}
	digits := strings.ToUpper(strings.ReplaceAll(raw, "-", ""))
	total := 0
	for _, d := range digits[:15] {
		total = (total + int(d-'0')) * 2
	}
	check := byte('0' + (12-total%11)%11)
	if check == '0'+10 {
		check = 'X'
	}
	if digits[15] != check {
		return id, false
	}
	value := digits[:4] + "-" + digits[4:8] + "-" + digits[8:12] + "-" + digits[12:]
	return pipeline.Identifier{Kind: kindORCID, Value: value, URL: "https://orcid.org/" + value}, true
}

func identifyEmail(address string) (id pipeline.Identifier, ok bool) {
	address, ok = cleanAddress(address)
	if !ok {
		return id, false
	}
	return pipeline.Identifier{Kind: kindEmail, Value: strings.ToLower(address)}, true
}

// identifyAcct reads "user@host" with or without a leading @.
func identifyAcct(acct string) (id pipeline.Identifier, ok bool) {
	m := acctForm.FindStringSubmatch(acct)
	if m == nil {
		return id, false
	}
	user, host := strings.ToLower(m[1]), strings.ToLower(m[2])
	return pipeline.Identifier{Kind: kindMastodon, Value: user + "@" + host, URL: "https://" + host + "/@" + user}, true
}

// identifyBluesky reads a handle or a DID.
func identifyBluesky(handle string) (id pipeline.Identifier, ok bool) {
	handle = strings.TrimPrefix(handle, "@")
	if !strings.HasPrefix(handle, "did:") {
		handle = strings.ToLower(handle)
		if !hostForm.MatchString(handle) {
			return id, false
		}
	}
	return pipeline.Identifier{Kind: kindBluesky, Value: handle, URL: "https://bsky.app/profile/" + handle}, true
}

// stackSite is the Stack Exchange API's name of a site; "" for other hosts.
func stackSite(host string) string {
	switch host {
	case "stackoverflow.com", "superuser.com", "serverfault.com", "askubuntu.com", "stackapps.com", "stackexchange.com":
		return strings.TrimSuffix(host, ".com")
	case "mathoverflow.net":
		return host
	}
	if name, ok := strings.CutSuffix(host, ".stackexchange.com"); ok {
		return name
	}
	if name, ok := strings.CutSuffix(host, ".stackoverflow.com"); ok {
		return name + ".stackoverflow"
	}
	return ""
}

// ownPage tells whether an address is somebody's own page rather than a page
// on a site of others: a site's front page, or a "~name" directory.
func ownPage(host string, segments []string) bool {
	if platform(host) {
		return false
	}
	if len(segments) > 0 && strings.HasPrefix(segments[0], "~") {
		segments = segments[1:]
	}
	switch len(segments) {
	case 0:
		return true
	case 1:
		name, _, _ := strings.Cut(strings.ToLower(segments[0]), ".")
		return name == "index" || name == "home" || name == "default"
	}
	return false
}

// platform tells hosts on which a page is an account or a document, never a
// site of one's own. A subdomain of a shared host is one, so only the host itself counts.
func platform(host string) bool {
	if platforms[host] {
		return true
	}
	for _, suffix := range platformDomains {
		if strings.HasSuffix(host, "."+suffix) || host == suffix {
			return true
		}
	}
	return false
}

// set makes a lookup table of a blank-separated list.
func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

var (
	// platformDomains count with all their subdomains, which are languages or mirrors.
	platformDomains = strings.Fields(`facebook.com linkedin.com instagram.com youtube.com twitter.com x.com threads.net threads.com
		tiktok.com pinterest.com reddit.com quora.com xing.com researchgate.net academia.edu scholar.google.com google.com goo.gl
		amazon.com wikipedia.org wikidata.org orcid.org openalex.org dblp.org semanticscholar.org crunchbase.com
		stackexchange.com stackoverflow.com telegram.me discord.com discord.gg slack.com whatsapp.com skype.com apple.com microsoft.com`)
	platforms = set(`github.com gist.github.com gitlab.com bitbucket.org codeberg.org medium.com substack.com tumblr.com wordpress.com
		dev.to hashnode.com codepen.io observablehq.com kaggle.com huggingface.co about.me linktr.ee bsky.app bsky.social t.me wa.me
		vimeo.com flickr.com behance.net dribbble.com soundcloud.com spotify.com open.spotify.com twitch.tv patreon.com ko-fi.com
		buymeacoffee.com paypal.me goodreads.com letterboxd.com last.fm keybase.io speakerdeck.com slideshare.net angel.co wellfound.com
		doi.org dx.doi.org arxiv.org creativecommons.org gravatar.com w3.org schema.org ogp.me microformats.org gmpg.org
		superuser.com serverfault.com askubuntu.com mathoverflow.net news.ycombinator.com producthunt.com meetup.com flipboard.com
		bit.ly t.co calendly.com mailchi.mp notion.so trello.com gumroad.com`)

	githubPages = set(`about account apps blog business collections contact customer-stories dashboard enterprise events explore features
		github issues join login logout marketplace mobile new nonprofit notifications organizations orgs pricing pulls readme search
		security sessions settings signup site sponsors stars team topics trending users watching wiki codespaces copilot`)
	twitterPages = set(`home intent share search i hashtag explore notifications messages settings login signup about tos privacy
		compose download jobs help who_to_follow following followers`)
)
