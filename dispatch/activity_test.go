package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/wake"
)

func (b *bundle) activity(p *access.Principal, summary string) Activity {
	return Activity{CompanyID: p.Company.ID, Kind: ActivityEnrichmentStarted, OccurredAt: time.Now().UTC(), Summary: summary, SubjectType: SubjectRun, SubjectID: "enr_1", Test: p.Key.Test}
}

func (b *bundle) announce(activities ...Activity) {
	b.t.Helper()
	if err := pg.InTx(b.t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) error { return Announce(ctx, tx, activities...) }); err != nil {
		b.t.Fatal(err)
	}
}

func TestActivity(t *testing.T) {
	t.Parallel()

	t.Run("is numbered per company in the order given, and read from any place", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		other := b.company(false)
		credits := b.activity(b.principal, "two")
		credits.Kind, credits.SubjectType, credits.SubjectID = ActivityCreditsLow, "", ""
		b.announce(b.activity(b.principal, "one"), b.activity(other, "theirs"), credits)
		b.announce(b.activity(b.principal, "three"))
		rows, err := b.ActivitySince(b.as(b.principal), "")
		if err != nil || len(rows) != 3 {
			t.Fatal(asJSON(rows), err)
		}
		for i, want := range []string{"one", "two", "three"} {
			if rows[i].Sequence != int64(i+1) || rows[i].Summary != want {
				t.Errorf("%s", asJSON(rows[i]))
			}
		}
		if rows[0].SubjectType != SubjectRun || rows[0].SubjectID != "enr_1" || rows[1].SubjectType != "" || rows[1].SubjectID != "" {
			t.Errorf("%s", asJSON(rows))
		}
		if rest, err := b.ActivitySince(b.as(b.principal), rows[1].Cursor()); err != nil || len(rest) != 1 || rest[0].Summary != "three" {
			t.Errorf("%s, %v", asJSON(rest), err)
		}
		if some, err := b.ActivitySince(b.as(b.principal), "", ActivityCreditsLow); err != nil || len(some) != 1 {
			t.Errorf("%s, %v", asJSON(some), err)
		}
		end, err := b.ActivityEnd(b.as(b.principal))
		if err != nil || end != rows[2].Cursor() {
			t.Errorf("%s, %v", end, err)
		}
		if rest, err := b.ActivitySince(b.as(b.principal), end); err != nil || len(rest) != 0 {
			t.Errorf("%s, %v", asJSON(rest), err)
		}
	})
	t.Run("of test keys is shown to test keys only", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		test := b.testKey()
		b.announce(b.activity(b.principal, "live"), b.activity(test, "test"))
		for p, want := range map[*access.Principal]string{b.principal: "live", test: "test"} {
			if rows, err := b.ActivitySince(b.as(p), ""); err != nil || len(rows) != 1 || rows[0].Summary != want {
				t.Errorf("%s: %s, %v", want, asJSON(rows), err)
			}
		}
	})
	t.Run("has a cursor of its own", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, cursor := range []string{"!", page.Encode("x"), page.Encode("activity.-1"), page.Encode("activity.x")} {
			var invalid fault.InvalidInput
			if _, err := b.ActivitySince(b.as(b.principal), cursor); !errors.As(err, &invalid) {
				t.Errorf("%q: %v", cursor, err)
			}
		}
	})
	t.Run("is never skipped by a reader, however its writers overlap and give up", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		const writers, each = 8, 25
		changedMind := errors.New("changed my mind")
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() {
				for i := range each {
					// A third of them roll back; each holds its transaction open for a moment.
					err := pg.InTx(t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) error {
						if err := Announce(ctx, tx, b.activity(b.principal, fmt.Sprintf("%d/%d", n, i))); err != nil {
							return err
						}
						if i%3 == 2 {
							return changedMind
						}
						_, err := tx.ExecContext(ctx, `SELECT pg_sleep(?)`, rand.Float64()/500)
						return err
					})
					if err != nil && !errors.Is(err, changedMind) {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		var got []*Activity
		cursor := ""
		for finished := false; ; {
			rows, err := b.ActivitySince(b.as(b.principal), cursor)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows...)
			if len(rows) > 0 {
				cursor = rows[len(rows)-1].Cursor()
				continue
			}
			if finished {
				break
			}
			select {
			case <-done:
				finished = true
			default:
			}
		}
		if want := writers * (each - each/3); len(got) != want {
			t.Errorf("%d read, not %d", len(got), want)
		}
		for i, a := range got {
			if a.Sequence != int64(i+1) {
				t.Fatalf("%d follows %d", a.Sequence, i)
			}
		}
	})
	t.Run("wakes those who follow the company, after it can be read", func(t *testing.T) {
		t.Parallel()
		b, _, _, _ := troubled(t)
		hub := wake.NewHub()
		b.Wake = hub
		heard := make(chan int, 10)
		defer hub.Notify(func(ids []string) {
			if len(ids) == 1 && ids[0] == CompanyTopic(b.principal.Company.ID) {
				heard <- len(b.kinds())
			}
		})()
		b.trip(3)
		if n := <-heard; n != 1 {
			t.Errorf("%d to read when woken", n)
		}
	})
	t.Run("is forgotten after its time, and so is what redeliveries answered and what no longer signs", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.webhook(publicURL, nil)
		old := b.activity(b.principal, "old")
		old.OccurredAt = time.Now().Add(-91 * 24 * time.Hour)
		b.announce(old, b.activity(b.principal, "new"))
		b.exec(`INSERT INTO redeliveries VALUES ('rdl_1', 'x', 1, 0, now() - interval '91 days'), ('rdl_2', 'x', 1, 0, now())`)
		b.exec(`INSERT INTO webhook_secrets SELECT 'gone', webhook_id, secret, hint, now() - interval '99 days', now() - interval '98 days' FROM webhook_secrets`)
		if err := b.Maintain(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if n := b.count(`SELECT (SELECT count(*) FROM company_activity) + (SELECT count(*) FROM redeliveries) + (SELECT count(*) FROM webhook_secrets)`); n != 3 {
			t.Errorf("%d rows left", n)
		}
		b.announce(b.activity(b.principal, "newer"))
		if rows, err := b.ActivitySince(b.as(b.principal), ""); err != nil || len(rows) != 2 || rows[1].Sequence != 3 {
			t.Errorf("%s, %v", asJSON(rows), err)
		}
	})
}
