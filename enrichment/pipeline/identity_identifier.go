package pipeline

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// handleOf answers the login of an account; "" for records that have none of the bearer's choice.
func handleOf(r Record) string {
	switch r.Source {
	case "github", "fediverse", "bluesky", "gitlab", "twitter", "gravatar":
		handle, _, _ := strings.Cut(strings.TrimPrefix(r.ID, "@"), "@")
		handle = strings.TrimSuffix(handle, ".bsky.social")
		return handle
	}
	return ""
}

func plainHandle(h string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(h))
}

// handleOfName answers the weight of a handle that spells a name: jcarberry, josiah-carberry, carberryj.
func handleOfName(name, handle string) float64 {
	n := ParseName(name)
	given, family := strings.ReplaceAll(Fold(n.Given), " ", ""), strings.ReplaceAll(Fold(n.Family), " ", "")
	h := strings.TrimRight(plainHandle(handle), "0123456789")
	if given == "" || len(family) < 2 || len(h) < 4 {
		return 0
	}
	switch h {
	case given + family, family + given:
		return 5
	case given[:1] + family, family + given[:1]:
		return 3
	}
	return 0
}

// accountKind says whether an identifier names an account of one person.
func accountKind(kind string) bool {
	switch kind {
	case "website", "link", "email":
		return false
	}
	return true
}

// sourceKind answers the identifier kind that a source's own ids have.
func sourceKind(source string) string {
	switch source {
	case "fediverse":
		return "mastodon"
	case "site":
		return "website"
	}
	return source
}

// points says whether an identifier names exactly this record.
func points(id Identifier, r Record) bool {
	if accountKind(id.Kind) && id.Kind == sourceKind(r.Source) && strings.EqualFold(strings.TrimPrefix(id.Value, "@"), strings.TrimPrefix(r.ID, "@")) {
		return true
	}
	if accountKind(id.Kind) && id.Kind != sourceKind(r.Source) {
		return false
	}
	for _, mine := range []string{id.URL, id.Value} {
		a, ok := placeOf(mine)
		if !ok {
			continue
		}
		for _, theirs := range []string{r.URL, r.ID} {
			if b, ok := placeOf(theirs); ok && (a.page() == b.page() || (!accountKind(id.Kind) && strings.EqualFold(a.page(), b.page()))) {
				return true
			}
		}
	}
	return false
}

// namedBy answers everything that a record says about who it is, its own id included.
func namedBy(r Record) []Identifier {
	out := slices.Clone(r.Identifiers)
	if kind := sourceKind(r.Source); accountKind(kind) && r.ID != "" {
		out = append(out, Identifier{Kind: kind, Value: r.ID, URL: r.URL})
	}
	return out
}

// claimsPage says whether a record names the other as its own page or account.
func claimsPage(r, other Record) bool {
	return slices.ContainsFunc(r.Identifiers, func(id Identifier) bool { return points(id, other) || sameSite(id, other) })
}

// sameSite says whether a link leads to the site that a page belongs to: a
// profile names the front page, and the proof may stand on the page about the author.
func sameSite(id Identifier, page Record) bool {
	if page.Source != "site" || (id.Kind != "website" && id.Kind != "link") {
		return false
	}
	a, ok := sitePlace(id)
	b, okB := placeOf(page.URL)
	return ok && okB && !a.shared && a.domain == b.domain && !institutional(a.domain)
}

// same says whether two records are one record of one source.
func same(a, b Record) bool { return a.Source == b.Source && a.ID == b.ID }

func sitePlace(id Identifier) (place, bool) {
	if id.Kind != "website" && id.Kind != "link" {
		return place{}, false
	}
	if p, ok := placeOf(id.Value); ok {
		return p, true
	}
	return placeOf(id.URL)
}

func contains(list []Identifier, id Identifier) bool {
	return slices.ContainsFunc(list, func(x Identifier) bool { return x.Kind == id.Kind && strings.EqualFold(x.Value, id.Value) })
}

func valuesOf(list []Identifier, kind string) []string {
	var out []string
	for _, id := range list {
		if id.Kind == kind {
			out = append(out, strings.ToLower(id.Value))
		}
	}
	return out
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// hashes says whether a record is filed under the hash of an address, as avatar services do.
func hashes(address string, r Record) bool {
	if r.Source != "gravatar" && r.Source != "libravatar" {
		return false
	}
	long, short := sha256.Sum256([]byte(address)), md5.Sum([]byte(address))
	id := strings.ToLower(r.ID)
	return id == hex.EncodeToString(long[:]) || id == hex.EncodeToString(short[:])
}

// roleAddress says whether an address belongs to an office, so that many share it.
func roleAddress(address string) bool {
	local, _, _ := strings.Cut(address, "@")
	switch local {
	case "info", "contact", "hello", "admin", "office", "support", "sales", "mail", "team", "jobs", "press", "hi", "webmaster", "noreply", "no-reply", "postmaster":
		return true
	}
	return false
}

// institutional says whether a domain is a school's or an authority's, where many have pages.
func institutional(domain string) bool {
	for _, label := range strings.Split(domain, ".") {
		switch label {
		case "edu", "ac", "gov", "mil", "gob", "gouv":
			return true
		}
	}
	return strings.HasPrefix(domain, "uni-") || strings.Contains(domain, "univ")
}
