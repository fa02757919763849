package pipeline

import (
	"cmp"
	"slices"
	"strings"
)

// resolveRounds bounds how far acceptance spreads from record to record. Eight
// links from the seed are more than ten sources need.
const resolveRounds = 8

// Decide weighs all records together and answers one match per record, in the
// order of k.Records; the decisions do not depend on that order, and adding a
// record needs nothing but the records.
//
// Acceptance spreads in rounds. Each round weighs every record against the seed
// and against what the round before accepted, so that a page of the caller's
// proves an account, and the account's employer supports an author. What two
// accepts of one source leave unsettled falls to review before it can support anything.
func Decide(k Known) []IdentityMatch {
	records := k.Records
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := records[a], records[b]
		return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID), cmp.Compare(x.URL, y.URL))
	})
	best := make([]weighed, len(records))
	accepted := make([]bool, len(records))
	fallen := make([]bool, len(records))
	namesakes := countNamesakes(k.Seed, records)
	for range resolveRounds {
		anchors := anchorsOf(k.Seed, records, order, accepted)
		for i, r := range records {
			// An accepted record keeps the reasons that it was accepted for: they may not come to rest on what rests on it.
			if !accepted[i] {
				best[i] = match(k.Seed, r, surroundings{anchors, namesakes})
			}
		}
		now := settle(records, best, fallen)
		if slices.Equal(now, accepted) {
			break
		}
		accepted = now
	}
	out := make([]IdentityMatch, len(records))
	for i := range records {
		out[i] = best[i].IdentityMatch
		if out[i].Band == BandAccept && !accepted[i] {
			out[i].Band = BandReview
		}
	}
	return out
}

// countNamesakes answers the most people of the seed's name that one source
// shows. Pages of one site, and records that share an ORCID iD, are one person's.
func countNamesakes(seed Seed, records []Record) int {
	people := map[string]map[string]bool{}
	for _, r := range records {
		if (r.Kind != Person && r.Kind != "") || !slices.ContainsFunc(r.Names, func(n string) bool { return ComparePeople(seed.Name, n).Same }) {
			continue
		}
		who := r.ID
		if strings.HasPrefix(r.Group, "site:") {
			who = r.Group
		}
		if ids := valuesOf(namedBy(r), "orcid"); len(ids) > 0 {
			who = slices.Min(ids)
		}
		if people[r.Source] == nil {
			people[r.Source] = map[string]bool{}
		}
		people[r.Source][who] = true
	}
	most := 0
	for _, p := range people {
		most = max(most, len(p))
	}
	return most
}

// anchorsOf answers the records that others may lean on, in an order of their own.
func anchorsOf(seed Seed, records []Record, order []int, accepted []bool) []anchor {
	var out []anchor
	for _, i := range order {
		r := records[i]
		switch {
		case accepted[i]:
			out = append(out, anchor{record: r})
		case r.Kind == Unclear && len(r.Vetoes) == 0 && slices.ContainsFunc(seed.Identifiers, func(id Identifier) bool { return points(id, r) }):
			// A page that the caller named and that does not say whose it is: it can still hold one end of a proof.
			out = append(out, anchor{record: r, linksOnly: true})
		}
	}
	return out
}

// settle answers which accepts stand: of several records of one source only
// those that a proof or a decisive attribute sets apart, and of records whose
// ORCID iDs contradict only the side that is so set apart. What falls is marked
// in fallen and comes back only with a proof, so that the rounds come to an end.
func settle(records []Record, best []weighed, fallen []bool) []bool {
	out := make([]bool, len(records))
	bySource := map[string][]int{}
	for i := range records {
		if best[i].Band == BandAccept && (!fallen[i] || best[i].decisive) {
			out[i] = true
			bySource[records[i].Source] = append(bySource[records[i].Source], i)
		}
	}
	falls := make([]bool, len(records))
	for _, rivals := range bySource {
		if len(rivals) < 2 || onePlace(records, rivals) {
			continue
		}
		for _, i := range rivals {
			falls[i] = !best[i].decisive
		}
	}
	for i := range records {
		for j := range records {
			if i != j && out[i] && out[j] && differentORCID(records[i], records[j]) {
				falls[i] = falls[i] || !best[i].decisive || best[j].decisive
			}
		}
	}
	for i := range records {
		if falls[i] {
			out[i], fallen[i] = false, true
		}
	}
	return out
}

// onePlace says that records are pages of one site, which one person may well have several of.
func onePlace(records []Record, of []int) bool {
	first := records[of[0]].Group
	if !strings.HasPrefix(first, "site:") {
		return false
	}
	return !slices.ContainsFunc(of, func(i int) bool { return records[i].Group != first })
}

func differentORCID(a, b Record) bool {
	x, y := valuesOf(namedBy(a), "orcid"), valuesOf(namedBy(b), "orcid")
	return len(x) > 0 && len(y) > 0 && !intersects(x, y)
}
