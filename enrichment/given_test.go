package enrichment

import (
	"slices"
	"testing"

	"github.com/enrichd/enrichd/internal/ident"
)

func TestStartByExternalIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, newPlay())
	ctx := h.company(100, false)
	ids := h.profiles(ctx, "Ada One", "Bo Two", "Cy Three") // x0, x1, x2
	looksLikeOurs := ident.NewProfile()
	im, err := h.Import(ctx, "looks-like-ours", []ImportRow{{Input: ProfileInput{ExternalID: looksLikeOurs, Name: "Di Four", Links: []string{"https://di-four.test"}}}})
	must(t, err)
	four := im.Profiles[0].ID

	type member struct{ id, given string }
	for name, c := range map[string]struct {
		start []string
		want  []member
	}{
		"all by external id":            {[]string{"x1", "x0"}, []member{{ids[1], "x1"}, {ids[0], "x0"}}},
		"mixed with ours":               {[]string{ids[2], "x0"}, []member{{ids[2], ids[2]}, {ids[0], "x0"}}},
		"one that is unknown":           {[]string{"x1", "nobody"}, []member{{ids[1], "x1"}, {"nobody", "nobody"}}},
		"one profile under both names":  {[]string{"x1", ids[1]}, []member{{ids[1], "x1"}}},
		"and the other way round":       {[]string{ids[1], "x1"}, []member{{ids[1], ids[1]}}},
		"an external id like our own":   {[]string{looksLikeOurs, ids[0]}, []member{{four, looksLikeOurs}, {ids[0], ids[0]}}},
		"somebody else's external id":   {[]string{"theirs", "x2"}, []member{{"theirs", "theirs"}, {ids[2], "x2"}}},
		"all by our ids, as ever":       {ids, []member{{ids[0], ids[0]}, {ids[1], ids[1]}, {ids[2], ids[2]}}},
		"the last only by external id":  {[]string{ids[0], ids[1], "x2"}, []member{{ids[0], ids[0]}, {ids[1], ids[1]}, {ids[2], "x2"}}},
		"the first only by external id": {[]string{"x0", ids[1]}, []member{{ids[0], "x0"}, {ids[1], ids[1]}}},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := h.Quote(ctx, c.start)
			must(t, err)
			run, _ := h.finished(ctx, h.start(ctx, c.start...))
			members, err := h.Results(ctx, run)
			must(t, err)
			var got []member
			success := 0
			for _, m := range members {
				got = append(got, member{m.ProfileID, m.Given()})
				if m.Outcome.Success() {
					success++
				} else if m.Outcome != OutcomeNotFound {
					t.Errorf("%s ended as %s", m.Given(), m.Outcome)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("members %v, want %v", got, c.want)
			}
			if q.Eligible != success || q.NotFound != len(members)-success || int64(success) != run.Captured {
				t.Errorf("quoted %+v, captured %d, %d successes", q, run.Captured, success)
			}
		})
	}
	t.Run("retries a failure by the name it was started with", func(t *testing.T) {
		im, err := h.Import(ctx, "broken", []ImportRow{{Input: ProfileInput{ExternalID: "bad", Name: "Broken Source", Links: []string{"https://broken-source.test"}}}})
		must(t, err)
		run, _ := h.finished(ctx, h.start(ctx, "bad"))
		members, err := h.Results(ctx, run)
		must(t, err)
		if len(members) != 1 || members[0].ProfileID != im.Profiles[0].ID || members[0].Outcome != OutcomeFailed {
			t.Fatalf("%+v", members[0])
		}
		_, _, err = h.RetryFailed(ctx, RetryInput{IdempotencyKey: "again", RequestID: run.ID, ProfileIDs: []string{"bad"}})
		must(t, err)
	})
}
