package billing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/internal/jobs"
)

// listening gives the company a webhook for credits.low, and returns what it was sent so far as "remaining/available/held".
func (b *bundle) listening(company string, threshold int64) func() []string {
	b.t.Helper()
	inserter, err := jobs.NewInserter(b.DB, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	b.Dispatch = &dispatch.Service{DB: b.DB, Jobs: inserter, Log: slog.New(slog.DiscardHandler)}
	b.exec(`INSERT INTO api_keys (id, company_id, label, prefix, digest, scopes) VALUES (?, ?, 'x', 'x', ?, '{}')`, "key-"+company, company, []byte(company))
	b.exec(`INSERT INTO webhooks (id, company_id, api_key_id, url, event_types, all_runs, max_retries, timeout_millis)
		VALUES (?, ?, ?, 'https://example.test/', '{credits.low}', true, 3, 5000)`, "hook-"+company, company, "key-"+company)
	if _, err := b.Set(context.Background(), company, billing.Settings{LowThreshold: &threshold}); err != nil {
		b.t.Fatal(err)
	}
	return func() (told []string) {
		var bodies [][]byte
		if err := b.DB.NewRaw("SELECT body FROM deliveries WHERE company_id = ? ORDER BY created_at, id", company).Scan(context.Background(), &bodies); err != nil {
			b.t.Fatal(err)
		}
		for _, body := range bodies {
			var e struct {
				Event string
				Data  struct {
					CompanyID                             string
					Threshold, Remaining, Available, Held int64
				}
			}
			if err := json.Unmarshal(body, &e); err != nil || e.Event != "credits.low" || e.Data.CompanyID != company || e.Data.Threshold != threshold {
				b.t.Errorf("%s: %v", body, err)
			}
			told = append(told, fmt.Sprintf("%d/%d/%d", e.Data.Remaining, e.Data.Available, e.Data.Held))
		}
		if n := b.count("SELECT count(*) FROM company_activity WHERE company_id = ? AND kind = 'CREDITS_LOW'", company); n != int64(len(told)) {
			b.t.Errorf("%d activities, %d events", n, len(told))
		}
		return told
	}
}

func TestLowCredits(t *testing.T) {
	t.Parallel()
	t.Run("are told once a crossing, by the capture that made it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 10)
		told := b.listening(c, 8)
		b.hold(c, "run", 6)
		b.expect("a hold is no fall", told())
		b.capture(c, "run", "p1", "p2")
		b.expect("at the threshold", told())
		b.capture(c, "run", "p3")
		b.capture(c, "run", "p4")
		b.settle(c, "run")
		b.expect("below it", told(), "7/4/3")
		b.grant(billing.Grant{CompanyID: c, Credits: 3})
		b.hold(c, "next", 4)
		b.capture(c, "next", "p1", "p2")
		b.settle(c, "next")
		b.expect("again", told(), "7/4/3", "7/5/2")
	})
	t.Run("are told by an expiry and by a correction", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		now := time.Now().Truncate(time.Second)
		b.setClock(now)
		c := b.prepaid("acme", 5)
		b.grant(billing.Grant{CompanyID: c, Credits: 10, ExpiresAt: ptr(now.Add(time.Hour))})
		told := b.listening(c, 4)
		b.setClock(now.Add(time.Hour))
		if _, err := b.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		b.expect("above", told())
		if err := b.adjust(c, -2); err != nil {
			t.Fatal(err)
		}
		b.expect("below", told(), "3/3/0")
		b.grant(billing.Grant{CompanyID: c, Credits: 10, ExpiresAt: ptr(now.Add(2 * time.Hour))})
		b.setClock(now.Add(3 * time.Hour))
		if a := b.account(c); a.Available != 3 {
			t.Errorf("%d available", a.Available)
		}
		b.expect("expired", told(), "3/3/0", "3/3/0")
	})
	t.Run("are what the limit leaves, for a postpaid company", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.setClock(utc("2031-10-05"))
		c := b.open("post", billing.Postpaid, ptr(int64(5)))
		told := b.listening(c, 3)
		for n := range 2 {
			b.use(c, utc("2031-10-06").AddDate(0, n, 0), 3)
			b.setClock(utc("2031-11-01").AddDate(0, n, 0))
			b.closeDue()
		}
		b.expect("a crossing a period", told(), "2/0/1", "2/0/1")
	})
	t.Run("are nobody's business when the transaction fails", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.prepaid("acme", 3)
		told := b.listening(c, 3)
		b.hold(c, "run", 1)
		if _, err := b.move([]billing.Capture{{CompanyID: c, RunID: "run", ProfileID: "p1"}, {CompanyID: c, RunID: "run", ProfileID: "p2"}}, nil); err == nil {
			t.Fatal("captured beyond the reservation")
		}
		b.expect("nothing", told())
	})
}
