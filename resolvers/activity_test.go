package resolvers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/pg"
)

// announce records n activities and tells those who follow the company.
func (c *caller) announce(from, n int) {
	c.t.Helper()
	list := make([]dispatch.Activity, n)
	for i := range list {
		list[i] = dispatch.Activity{
			CompanyID: c.who.Company.ID, Kind: dispatch.ActivityCreditsLow, OccurredAt: time.Now().UTC(), Summary: fmt.Sprint(from + i),
		}
	}
	must(c.t, pg.InTx(c.ctx, c.db, func(ctx context.Context, tx bun.Tx) error { return dispatch.Announce(ctx, tx, list...) }))
	c.runs.Wake.Publish(dispatch.CompanyTopic(c.who.Company.ID))
}

func TestActivityIsShared(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.caller(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const before, trickle, burst, followers = 1300, 200, 1400, 12 // more than is held for all, or read at once
	const after = trickle + burst

	c.announce(1, 1)
	first, err := c.hooks.ActivitySince(c.ctx, "")
	must(t, err)
	c.announce(2, before-1)
	newest, err := c.hooks.ActivityEnd(c.ctx)
	must(t, err)
	fromNow := `subscription { companyActivity(after: "` + newest + `", kinds: [CREDITS_LOW]) { cursor summary } }`
	behind := `subscription { companyActivity(after: "` + first[0].Cursor() + `") { cursor summary } }`
	var live, late []<-chan activity
	for range followers {
		live, late = append(live, c.stream(ctx, fromNow)), append(late, c.stream(ctx, behind))
	}
	hear := func(from <-chan activity, begin, end int) error {
		for n := begin; n <= end; n++ {
			if a := <-from; a.Summary != fmt.Sprint(n) {
				return fmt.Errorf("heard %q where %d was due", a.Summary, n)
			}
		}
		return nil
	}
	heard := make(chan error, 2*followers)
	caughtUp := make(chan error, followers)
	for i := range followers {
		go func() {
			caughtUp <- hear(late[i], 2, before)
			heard <- hear(late[i], before+1, before+after)
		}()
		go func() { heard <- hear(live[i], before+1, before+after) }()
	}
	for range followers {
		must(t, <-caughtUp)
	}
	for n := 1; n <= trickle; n += 20 {
		c.announce(before+n, 20)
	}
	c.announce(before+trickle+1, burst)
	for range 2 * followers {
		must(t, <-heard)
	}
}
