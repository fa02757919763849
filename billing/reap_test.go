package billing_test

import (
	"context"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
)

func TestReap(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.prepaid("acme", 30)
	now := time.Now()
	for _, run := range []string{"live", "ended", "failing", "young"} {
		b.hold(c, run, 3)
		b.capture(c, run, "p1")
	}
	b.exec("UPDATE billing_reservations SET expires_at = ? WHERE run_id <> 'young'", now.Add(-time.Second))
	var asked []string
	runs := billing.Runs{
		FailAbandoned: func(_ context.Context, company, run string) error {
			asked = append(asked, company+"/"+run)
			if run == "failing" {
				b.settle(company, run)
			}
			return nil
		},
		LockEnded: func(_ context.Context, _ bun.Tx, run string) (bool, error) { return run != "live", nil },
	}
	for _, want := range []int{1, 0} {
		if n, err := b.Reap(context.Background(), runs); err != nil || n != want {
			t.Errorf("%d released, not %d: %v", n, want, err)
		}
	}
	if len(asked) != 4 { // three at first, the live one again
		t.Errorf("asked about %v", asked)
	}
	for run, state := range map[string]string{"live": "OPEN", "ended": "EXPIRED", "failing": "SETTLED", "young": "OPEN"} {
		if n := b.count("SELECT count(*) FROM billing_reservations WHERE run_id = ? AND state = ?", run, state); n != 1 {
			t.Errorf("%s is not %s", run, state)
		}
	}
	b.expectBalance(c, 22, 4)
	b.audited()
}
