package billing_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := setup(t)
	start := time.Date(2031, 1, 30, 22, 30, 0, 0, time.UTC)
	b.setClock(start)
	c := b.prepaid("acme", 100)
	b.prepaid("idle", 5)
	b.open("post", billing.Postpaid, nil)
	b.hold("post", "post-run", 2)
	b.capture("post", "post-run", "p1", "p2")
	for i, key := range []string{"key-a", "key-b", "key-a"} { // 22:30, 00:30 of the next day, 02:30
		b.setClock(start.Add(time.Duration(i) * 2 * time.Hour))
		run := fmt.Sprintf("run-%d", i)
		if _, err := b.reserveAs(key, billing.Reservation{CompanyID: c, RunID: run, Hold: 3, Required: 3}); err != nil {
			t.Fatal(err)
		}
		b.capture(c, run, "p1", fmt.Sprintf("p%d", i+2))
		b.settle(c, run)
	}
	account := b.account(c).ID

	t.Run("reports each company, without an account as well", func(t *testing.T) {
		report, err := b.UsageReport(ctx, []string{"post", c, "idle", "nobody"}, start, start.Add(4*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		want := []billing.CompanyUsage{{CompanyID: "post", Events: 2, Credits: 2}, {CompanyID: c, Events: 4, Credits: 4}, {CompanyID: "idle"}, {CompanyID: "nobody"}}
		if fmt.Sprint(report) != fmt.Sprint(want) {
			t.Errorf("%+v", report)
		}
	})
	t.Run("begins at the first moment and ends before the last", func(t *testing.T) {
		for _, test := range []struct {
			from, to time.Time
			credits  int64
		}{
			{start, start.Add(time.Microsecond), 2}, {start.Add(time.Microsecond), start.Add(2 * time.Hour), 0},
			{start.Add(-time.Hour), start, 0}, {start.Add(4 * time.Hour), start.AddDate(9, 0, 0), 2}, {start.AddDate(-9, 0, 0), start.AddDate(9, 0, 0), 6},
		} {
			report, err := b.UsageReport(ctx, []string{c}, test.from, test.to)
			if err != nil || report[0].Credits != test.credits {
				t.Errorf("%s to %s: %+v %v", test.from, test.to, report, err)
			}
		}
	})
	t.Run("gives a point for every interval", func(t *testing.T) {
		for _, test := range []struct {
			every billing.UsageInterval
			to    time.Time
			want  string
		}{
			{billing.Hour, start.Add(3 * time.Hour), "22:2/2 23:0/0 00:2/2 01:0/0"},
			{billing.Day, start.Add(30 * time.Hour), "30:2/2 31:4/3 01:0/0"},
			{billing.Month, start.AddDate(0, 1, 0), "01:6/4 02:0/0 03:0/0"},
		} {
			points, err := b.Usage(ctx, account, start, test.to, test.every)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for i, p := range points {
				if i > 0 {
					got += " "
				}
				got += fmt.Sprintf("%s:%d/%d", p.Start.Format(map[billing.UsageInterval]string{billing.Hour: "15", billing.Day: "02", billing.Month: "01"}[test.every]), p.Captured, p.Profiles)
			}
			if got != test.want {
				t.Errorf("%s: %s, not %s", test.every, got, test.want)
			}
		}
	})
	t.Run("tells keys and outcomes apart", func(t *testing.T) {
		keys, err := b.UsageBy(ctx, account, billing.ByKey, start, start.AddDate(0, 0, 1))
		if err != nil || len(keys) != 2 || *keys[0] != (billing.UsageShare{Value: "key-a", Captured: 4, Profiles: 3}) || *keys[1] != (billing.UsageShare{Value: "key-b", Captured: 2, Profiles: 2}) {
			t.Errorf("%+v %v", keys, err)
		}
		outcomes, err := b.UsageBy(ctx, account, billing.ByOutcome, start, start.AddDate(0, 0, 1))
		if err != nil || len(outcomes) != 2 || *outcomes[0] != (billing.UsageShare{Value: "ENRICHED", Captured: 3, Profiles: 1}) || outcomes[1].Value != "PARTIAL" {
			t.Errorf("%+v %v", outcomes, err)
		}
	})
	t.Run("refuses a range without end, and one with too many points", func(t *testing.T) {
		if _, err := b.Usage(ctx, account, start, start, billing.Day); err == nil {
			t.Error("an empty range")
		}
		if _, err := b.Usage(ctx, account, start, start.AddDate(1, 0, 0), billing.Hour); err == nil {
			t.Error("a year of hours")
		}
	})
}
