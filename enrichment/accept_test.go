package enrichment

import (
	"testing"

	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/pg"
)

// maxAcceptTrips is how many round trips accepting a run of ten takes on a warm
// connection: the run with BEGIN, and its jobs with COMMIT.
const maxAcceptTrips = 2

func TestAcceptIsCountedInRoundTrips(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, newPlay())
	ctx := h.company(1000, false)
	ids := h.profiles(ctx, "A One", "B Two", "C Three", "D Four", "E Five", "F Six", "G Seven", "H Eight", "I Nine", "J Ten")
	// A connection prepares its statements at their first use: that is not counted.
	var fewest *pg.Count
	for range 12 {
		counted, count := pg.CountStatements(ctx)
		run, _, err := h.Start(counted, StartInput{IdempotencyKey: ident.New("key"), ProfileIDs: ids})
		must(t, err)
		h.finished(ctx, run)
		if fewest == nil || count.N() < fewest.N() {
			fewest = count
		}
	}
	if fewest.N() > maxAcceptTrips {
		for i, s := range fewest.Statements() {
			t.Logf("%d: %.100s", i+1, s)
		}
		t.Errorf("%d round trips", fewest.N())
	}
}
