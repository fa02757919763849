package resolvers_test

import (
	"net/netip"
	"testing"
)

func noAddr() netip.Addr { return netip.Addr{} }

func TestStatements(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	few, many := h.caller(1000), h.caller(1000)
	for c, runs := range map[*caller]int{few: 3, many: 50} {
		ids := c.people(runs * 2)
		for i := range runs {
			c.enriched(ids[2*i], ids[2*i+1])
		}
	}
	for name, query := range map[string]string{
		"runs with their profiles, evidence and events": `{ enrichmentRuns(first: 50) { totalCount nodes { id credits { held }
			events(first: 5) { sequence }
			profiles(first: 10) { totalCount nodes { profileId outcome profile { name suppressed lastEnrichedAt }
				candidate { name facts { evidence { source run { id status } } } } } } } } }`,
		"the ledger with its runs": `{ billingAccount { ledger(first: 50) { nodes { kind amount run { id status profiles(first: 2) { nodes { profile { name } } } } } } } }`,
		"profiles with all that is known": `{ profiles(first: 50) { totalCount nodes { name fields { name value evidence { run { id } } }
			candidate { name facts { evidence { run { id } } } } runs(first: 3) { totalCount nodes { id profiles(first: 1) { nodes { profileId } } } } } } }`,
		"deliveries with webhooks and attempts": `{ deliveries(first: 50) { nodes { id webhook { url } attempts { number } run { id } } } }`,
	} {
		t.Run("of "+name+" are as many for fifty as for three", func(t *testing.T) {
			// Twice, because a connection prepares and the parser caches at the first use.
			counts := map[*caller]int{}
			for range 2 {
				for _, c := range []*caller{few, many} {
					c.ask(new(any), query)
					counts[c] = h.count.Load().N()
				}
			}
			if counts[few] != counts[many] || counts[many] > 12 {
				t.Errorf("%d and %d\n%s", counts[few], counts[many], h.shape())
			}
		})
	}
	t.Run("show each its own", func(t *testing.T) {
		var got struct {
			EnrichmentRuns struct {
				Nodes []struct {
					ID       string
					Profiles struct {
						Nodes []struct {
							ProfileID string
							Profile   struct{ ID string }
							Candidate struct {
								Name  string
								Facts []struct {
									Evidence []struct{ Run struct{ ID string } }
								}
							}
						}
					}
				}
			}
		}
		many.ask(&got, `{ enrichmentRuns(first: 50) { nodes { id profiles(first: 5) { nodes { profileId profile { id } candidate { name facts { evidence { run { id } } } } } } } } }`)
		for _, r := range got.EnrichmentRuns.Nodes {
			if len(r.Profiles.Nodes) != 2 {
				t.Fatalf("run %s has %d profiles", r.ID, len(r.Profiles.Nodes))
			}
			for _, m := range r.Profiles.Nodes {
				if m.Profile.ID != m.ProfileID || m.Candidate.Name != "Found "+m.ProfileID || m.Candidate.Facts[0].Evidence[0].Run.ID != r.ID {
					t.Fatalf("%+v in %s", m, r.ID)
				}
			}
		}
	})
}
