package source

import (
	"net/url"
	"slices"
	"strings"

	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
)

// topK is how many results of a search are looked at.
const topK = 5

// trusted answers the records whose links may be followed: those taken, or
// nearly taken, to be the person, and pages of sites that the caller named.
func trusted(k pipeline.Known) []pipeline.Record {
	var out []pipeline.Record
	for i, r := range k.Records {
		if band(k, i) != pipeline.BandReject || seedSite(k, r.Group) {
			out = append(out, r)
		}
	}
	return out
}

// band is the decision about a record; one not decided yet is rejected.
func band(k pipeline.Known, i int) pipeline.Band {
	if i < len(k.Matches) {
		return k.Matches[i].Band
	}
	return pipeline.BandReject
}

// seedSite says whether a group is a site that the caller named.
func seedSite(k pipeline.Known, group string) bool {
	return slices.ContainsFunc(k.Seed.Identifiers, func(id pipeline.Identifier) bool {
		return (id.Kind == "website" || id.Kind == "link") && group == "site:"+extract.Site(id.URL)
	})
}

// named is one identifier of a kind with who named it.
type named struct {
	id     pipeline.Identifier
	origin string
}

// namedBy answers the identifiers of the given kinds that the caller or a
// trusted record of another source names, each once, the caller's first.
func namedBy(k pipeline.Known, source string, kinds ...string) []named {
	var out []named
	add := func(id pipeline.Identifier, origin string) {
		if slices.Contains(kinds, id.Kind) && !slices.ContainsFunc(out, func(n named) bool { return n.id.Kind == id.Kind && n.id.Value == id.Value }) {
			out = append(out, named{id, origin})
		}
	}
	for _, id := range k.Seed.Identifiers {
		add(id, "seed")
	}
	for _, r := range trusted(k) {
		if r.Source == source {
			continue
		}
		for _, id := range r.Identifiers {
			add(id, r.Source+":"+r.ID)
		}
	}
	return out
}

// found says whether a record of this source is taken to be the person.
func found(k pipeline.Known, source string) bool {
	for i, r := range k.Records {
		if r.Source == source && band(k, i) == pipeline.BandAccept {
			return true
		}
	}
	return false
}

// searchName is the name as a search wants it: one line of at most 100 characters without quotes.
func searchName(name string) string {
	name = strings.Join(strings.Fields(strings.NewReplacer(`"`, " ", "\\", " ").Replace(name)), " ")
	if runes := []rune(name); len(runes) > 100 {
		name = string(runes[:100])
	}
	return name
}

func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

// note makes evidence of one answer; excerpt is what the value rests on.
func note(ans pipeline.Answer, extractor, excerpt string) pipeline.Evidence {
	address, hash := ans.URL, ans.Hash
	ev := pipeline.Evidence{URL: &address, ContentHash: &hash, Extractor: extractor, ObservedAt: ans.FetchedAt}
	if excerpt = clip(excerpt, 300); excerpt != "" {
		ev.Excerpt = &excerpt
	}
	return ev
}

// clip makes one line of a text, of at most n characters, without control characters.
func clip(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if runes := []rune(s); len(runes) > n {
		return strings.TrimSpace(string(runes[:n-1])) + "…"
	}
	return s
}
