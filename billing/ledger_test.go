package billing_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

// bundle is one database with a ledger on it. pgtest audits the ledger when the test ends.
type bundle struct {
	*billing.Ledger
	t testing.TB
}

func setup(t testing.TB) *bundle {
	t.Helper()
	return &bundle{&billing.Ledger{DB: pgtest.New(t).Bun}, t}
}

// exec runs one statement of the test's own.
func (b *bundle) exec(query string, args ...any) {
	b.t.Helper()
	if _, err := b.DB.NewRaw(query, args...).Exec(context.Background()); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
}

// count runs a query that answers with one number.
func (b *bundle) count(query string, args ...any) (n int64) {
	b.t.Helper()
	if err := b.DB.NewRaw(query, args...).Scan(context.Background(), &n); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// setClock makes the ledger's clock stand at the time.
func (b *bundle) setClock(at time.Time) {
	b.t.Helper()
	b.exec("CREATE TABLE IF NOT EXISTS test_clock AS SELECT now() AS at")
	b.exec("UPDATE test_clock SET at = ?", at)
	b.exec("CREATE OR REPLACE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM test_clock'")
}

// open opens an account for a new company.
func (b *bundle) open(id string, mode billing.Mode, limit *int64) string {
	b.t.Helper()
	err := pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewRaw("INSERT INTO companies (id, name) VALUES (?, ?)", id, id).Exec(ctx); err != nil {
			return err
		}
		return b.OpenAccount(ctx, tx, id, mode, limit)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// prepaid opens a prepaid account with credits that never expire.
func (b *bundle) prepaid(id string, credits int64) string {
	b.t.Helper()
	b.open(id, billing.Prepaid, nil)
	if credits > 0 {
		b.grant(billing.Grant{CompanyID: id, Credits: credits})
	}
	return id
}

var serial atomic.Int64

// grant grants, with a key of its own unless one is given.
func (b *bundle) grant(g billing.Grant) *billing.Entry {
	b.t.Helper()
	if g.Key == "" {
		g.Key = fmt.Sprintf("key-%d", serial.Add(1))
	}
	if g.Kind == "" {
		g.Kind = billing.KindGrant
	}
	e, _, err := b.Grant(context.Background(), g)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// reserve holds n credits for the run, of which settled are released at once, in a transaction of its own.
func (b *bundle) reserve(company, run string, n, settled int64) (rc billing.RunCredits, err error) {
	return b.reserveFor(billing.Reservation{CompanyID: company, RunID: run, Hold: n, Required: n, Settled: settled})
}

func (b *bundle) reserveFor(r billing.Reservation) (rc billing.RunCredits, err error) {
	return b.reserveAs("key", r)
}

func (b *bundle) reserveAs(key string, r billing.Reservation) (rc billing.RunCredits, err error) {
	r.Actor, r.ExpiresAt = key, time.Now().Add(time.Hour)
	err = pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		rc, err = b.Reserve(ctx, tx, r)
		return err
	})
	return rc, err
}

// hold reserves and must succeed.
func (b *bundle) hold(company, run string, n int64) {
	b.t.Helper()
	if _, err := b.reserve(company, run, n, 0); err != nil {
		b.t.Fatal(err)
	}
}

// move moves in a transaction of its own.
func (b *bundle) move(captures []billing.Capture, settles []billing.Settle) (rc map[string]billing.RunCredits, err error) {
	err = pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		rc, err = b.Move(ctx, tx, captures, settles)
		return err
	})
	return rc, err
}

// capture captures the profiles of one run, p1 as enriched and the others as partial, and returns its credits.
func (b *bundle) capture(company, run string, profiles ...string) billing.RunCredits {
	b.t.Helper()
	var captures []billing.Capture
	for _, p := range profiles {
		c := billing.Capture{CompanyID: company, RunID: run, ProfileID: p, Outcome: "PARTIAL"}
		if p == "p1" {
			c.Outcome = "ENRICHED"
		}
		captures = append(captures, c)
	}
	rc, err := b.move(captures, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return rc[run]
}

// settle ends one run and returns its credits.
func (b *bundle) settle(company, run string) billing.RunCredits {
	b.t.Helper()
	rc, err := b.move(nil, []billing.Settle{{CompanyID: company, RunID: run}})
	if err != nil {
		b.t.Fatal(err)
	}
	return rc[run]
}

// balance returns the account's figures.
func (b *bundle) account(company string) *billing.Account {
	b.t.Helper()
	a, err := b.Account(context.Background(), company)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// row returns the account as it lies in the database.
func (b *bundle) row(company string) *billing.Account {
	b.t.Helper()
	a := new(billing.Account)
	if err := b.DB.NewSelect().Model(a).Where("a.company_id = ?", company).Scan(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	return a
}

// expectBalance compares available and held.
func (b *bundle) expectBalance(company string, available, held int64) {
	b.t.Helper()
	if a := b.account(company); a.Available != available || a.Held != held {
		b.t.Errorf("available %d, held %d; expected %d, %d", a.Available, a.Held, available, held)
	}
}

func ptr[T any](v T) *T { return &v }
