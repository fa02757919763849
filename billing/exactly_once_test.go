package billing_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

// skewed are two nodes on one database, one of which reads a clock ten minutes
// fast and the other ten minutes slow, as they might after a failover; the clock
// itself is the test's. The first bundle is neither.
func skewed(t *testing.T, at time.Time) (b *bundle, on []*bundle) {
	t.Helper()
	db := pgtest.New(t)
	b = &bundle{&billing.Ledger{DB: db.Bun}, t}
	b.setClock(at)
	b.exec(`CREATE OR REPLACE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
		$$SELECT at + coalesce(nullif(current_setting('test.skew', true), ''), '0')::interval FROM test_clock$$`)
	for _, skew := range []string{"10min", "-10min"} {
		separator := "?"
		if strings.Contains(db.DSN, "?") {
			separator = "&"
		}
		pool, err := pg.Open(db.DSN+separator+"test.skew="+skew, 6, pg.AllowInsecure(true))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pool.Close() })
		on = append(on, &bundle{&billing.Ledger{DB: pool}, t})
	}
	var fast, slow time.Time
	for n, now := range []*time.Time{&fast, &slow} {
		if err := on[n].DB.NewRaw("SELECT billing_now()").Scan(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	if fast.Sub(slow) != 20*time.Minute {
		t.Fatalf("the clocks say %s and %s", fast, slow)
	}
	return b, on
}

// TestEachCaptureIsOnOneInvoice captures around every end of a period, from two
// nodes whose clocks disagree on whether it has come, while both close: in a cycle
// that is anchored on the 31st, over a month with no usage and a change of zone,
// and in the grace period.
func TestEachCaptureIsOnOneInvoice(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b, on := skewed(t, utc("2032-01-05"))
	c := b.open("post", billing.Postpaid, nil)
	b.price(c, "EUR", "0.05", utc("2032-01-01"))
	for _, l := range append(on, b) {
		l.Grace = 48 * time.Hour
	}
	clock := func(at time.Time) { b.exec("UPDATE test_clock SET at = ?", at) }
	if _, err := b.Set(ctx, c, billing.Settings{CycleAnchor: ptr(31), TimeZone: ptr("Europe/Berlin")}); err != nil {
		t.Fatal(err)
	}
	captured := 0
	var mu sync.Mutex
	// race captures on both nodes while both close.
	race := func(run string) {
		var group sync.WaitGroup
		for _, node := range on {
			group.Go(func() {
				for range 4 {
					node.closeDue()
				}
			})
			for range 2 {
				group.Go(func() {
					for range 6 {
						mu.Lock()
						captured++
						profile := fmt.Sprintf("p%d", captured)
						mu.Unlock()
						node.capture(c, run, profile)
					}
				})
			}
		}
		group.Wait()
	}
	for n, round := range []struct {
		what            string
		straddles, idle bool
		zone            string
		end             string
	}{
		{what: "January ends on the 31st", straddles: true, end: "2032-01-30 23:00"},
		{what: "February on its last day", straddles: true, end: "2032-02-28 23:00"},
		{what: "nothing comes after March", end: "2032-03-30 22:00"},
		{what: "April has no usage", idle: true, end: "2032-04-29 22:00"},
		{what: "May ends in Tokyo", straddles: true, zone: "Asia/Tokyo", end: "2032-05-30 15:00"},
		{what: "and June in Honolulu", straddles: true, zone: "Pacific/Honolulu", end: "2032-06-30 10:00"},
	} {
		if round.zone != "" {
			if _, err := on[n%2].Set(ctx, c, billing.Settings{TimeZone: &round.zone}); err != nil {
				t.Fatal(err)
			}
		}
		end := b.row(c).NextPeriodEnd
		if !end.Equal(utc(round.end)) {
			t.Errorf("%s: the period ends at %s", round.what, end.UTC())
		}
		run := fmt.Sprintf("run-%d", n)
		if !round.idle {
			clock(end.Add(-12 * time.Hour)) // both agree: it runs
			b.hold(c, run, 100)
			race(run)
		}
		if round.straddles {
			clock(end.Add(-5 * time.Minute)) // one says that it has ended, the other that it has not
			race(run)
			clock(end.Add(5 * time.Minute))
			race(run)
			clock(end.Add(36 * time.Hour)) // both agree that it has ended; it has no number yet
			race(run)
		}
		clock(end.Add(49 * time.Hour))
		on[n%2].closeDue()
		if !round.idle {
			b.settle(c, run)
		}
	}
	clock(utc("2032-09-01"))
	var group sync.WaitGroup
	for _, node := range on {
		group.Go(func() { node.closeDue() })
	}
	group.Wait()
	clock(utc("2032-09-04"))
	b.closeDue()

	if n := b.count(`SELECT count(*) FROM billing_entries WHERE kind = 'CAPTURE'`); n != int64(captured) || captured < 300 {
		t.Errorf("%d captures of %d", n, captured)
	}
	if n := b.count(`SELECT sum(quantity) FROM billing_invoice_lines`); n != int64(captured) {
		t.Errorf("%d captures, %d on invoices", captured, n)
	}
	if n := b.count(`
		SELECT count(*)
		  FROM billing_entries AS e
		 WHERE e.kind = 'CAPTURE'
		   AND 1 <> (SELECT count(*) FROM billing_invoices AS i
		              WHERE i.account_id = e.account_id AND e.seq BETWEEN i.from_seq AND i.to_seq AND e.at >= i.period_start AND e.at < i.period_end)`); n != 0 {
		t.Errorf("%d captures are on no invoice or on several, or outside its period", n)
	}
	if n := b.count(`SELECT count(*) FROM billing_invoices WHERE number IS NULL`); n != 0 {
		t.Errorf("%d invoices have no number", n)
	}
	var periods []string
	for _, d := range b.documents(c) {
		periods = append(periods, strings.Fields(d)[0])
	}
	b.expect("periods", periods, "320101T00/320130T23", "320130T23/320228T23", "320228T23/320330T22", // and none for April
		"320429T22/320530T15", "320530T15/320630T10", "320630T10/320731T10")
	b.audited()
}

// TestCloseIsFenced captures, by a clock on which the period still runs, between
// the moment at which another node found that it has ended and the one at which
// it writes the invoice.
func TestCloseIsFenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b, on := skewed(t, utc("2031-10-05"))
	fast, slow := on[0], on[1]
	c := b.open("post", billing.Postpaid, nil)
	b.hold(c, "run", 3)
	b.capture(c, "run", "p1")
	b.exec("UPDATE test_clock SET at = ?", utc("2031-10-31 23:55"))

	// Whoever draws up an invoice looks at the prices; held, they keep it between its two transactions.
	prices, err := b.DB.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = prices.Rollback() }()
	if _, err := prices.ExecContext(ctx, "LOCK TABLE billing_prices"); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		_, err := fast.CloseDue(ctx)
		closed <- err
	}()
	for b.count("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'billing_prices'::regclass") == 0 {
		select {
		case err := <-closed:
			t.Fatal("closed without a look at the prices:", err)
		case <-time.After(time.Millisecond):
		}
	}
	slow.capture(c, "run", "p2") // its clock says 23:45
	if err := prices.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	slow.capture(c, "run", "p3")
	slow.settle(c, "run")
	if n := b.count("SELECT count(*) FROM billing_entries WHERE kind = 'CAPTURE' AND at >= ?", utc("2031-11-01")); n != 2 {
		t.Errorf("%d captures are dated after the end", n)
	}
	b.exec("UPDATE test_clock SET at = ?", utc("2031-12-02"))
	b.closeDue()
	b.expect("both", b.documents(c), "311001T00/311101T00 1 0 XXX CLOSED INV-00000001", "311101T00/311201T00 2 0 XXX CLOSED INV-00000002")
	b.audited()
}

// TestOnlyTheDatabaseTellsTheTime looks that no rule of the ledger reads the
// clock of the machine that it runs on: only how long a proof took may.
func TestOnlyTheDatabaseTellsTheTime(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, file := range files {
		name := file.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || name == "prove.go" {
			continue
		}
		parsed, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if p, ok := s.X.(*ast.Ident); ok && p.Name == "time" && (s.Sel.Name == "Now" || s.Sel.Name == "Since" || s.Sel.Name == "Until") {
					t.Errorf("%s reads the machine's clock", set.Position(s.Pos()))
				}
			}
			return true
		})
	}
}
