package resolvers_test

import (
	"fmt"
	"testing"

	"github.com/enrichd/enrichd/internal/page"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(100)
	run := c.enriched(c.people(10)...)

	type stored struct {
		EnrichmentRun struct {
			LastSequence int
			Events       []struct{ Sequence int }
		}
	}
	t.Run("of a run are read page by page, without a gap or a repeat", func(t *testing.T) {
		t.Parallel()
		for _, first := range []int{1, 7, page.MaxFirst} {
			at, last := 0, 1
			for at < last {
				var got stored
				c.ask(&got, `query($id: ID!, $first: Int!, $after: Int!) { enrichmentRun(requestId: $id) { lastSequence events(first: $first, afterSequence: $after) { sequence } } }`,
					map[string]any{"id": run.ID, "first": first, "after": at})
				last = got.EnrichmentRun.LastSequence
				if n := len(got.EnrichmentRun.Events); n == 0 || n > first {
					t.Fatalf("%d events behind %d of %d, in pages of %d", n, at, last, first)
				}
				for _, e := range got.EnrichmentRun.Events {
					if at++; e.Sequence != at {
						t.Fatalf("event %d where %d was next", e.Sequence, at)
					}
				}
			}
			if at != last {
				t.Fatalf("read %d of %d", at, last)
			}
		}
	})
	t.Run("come at most a hundred at a time, wherever that is asked", func(t *testing.T) {
		t.Parallel()
		for _, first := range []int{0, -1, page.MaxFirst + 1, 1000} {
			if _, err := c.runs.Events(c.ctx, []string{run.ID}, 0, first); err == nil {
				t.Errorf("the service gives %d", first)
			}
			if _, errs := c.answer(fmt.Sprintf(`{ enrichmentRun(requestId: %q) { events(first: %d) { sequence } } }`, run.ID, first)); len(errs) == 0 || errs[0].Extensions["code"] != "GRAPHQL_VALIDATION_FAILED" {
				t.Errorf("the API gives %d: %v", first, errs)
			}
		}
	})
}
