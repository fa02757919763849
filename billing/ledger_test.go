package billing_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

// bundle is one database with a ledger on it.
type bundle struct {
	*billing.Ledger
	t testing.TB
}

func setup(t testing.TB) *bundle {
	t.Helper()
	return &bundle{&billing.Ledger{DB: pgtest.New(t).Bun}, t}
}

// company opens an account and grants credits to it when there are any.
func (b *bundle) company(id string, mode billing.Mode, limit *int64, credits int64) string {
	b.t.Helper()
	ctx := context.Background()
	err := pg.InTx(ctx, b.DB, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewRaw("INSERT INTO companies (id, name) VALUES (?, ?)", id, id).Exec(ctx); err != nil {
			return err
		}
		return b.OpenAccount(ctx, tx, id, mode, limit)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if credits > 0 {
		b.grant(billing.Grant{CompanyID: id, Credits: credits})
	}
	return id
}

var keys int

// grant grants, with a key of its own unless one is given.
func (b *bundle) grant(g billing.Grant) *billing.Entry {
	b.t.Helper()
	if g.Key == "" {
		g.Key = fmt.Sprintf("key-%d", time.Now().UnixNano())
	}
	if g.Kind == "" {
		g.Kind = billing.KindGrant
	}
	e, _, err := b.Ledger.Grant(context.Background(), g)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

// reserve holds n credits for the run, in a transaction of its own.
func (b *bundle) reserve(company, run string, n, settled int64) (rc billing.RunCredits, err error) {
	err = pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		rc, err = b.Reserve(ctx, tx, billing.Reservation{
			CompanyID: company, RunID: run, Hold: n, Required: n, Settled: settled, Actor: "key", ExpiresAt: time.Now().Add(time.Hour),
		})
		return err
	})
	return rc, err
}

// move moves in a transaction of its own.
func (b *bundle) move(captures []billing.Capture, settles []billing.Settle) (rc map[string]billing.RunCredits, err error) {
	err = pg.InTx(context.Background(), b.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		rc, err = b.Move(ctx, tx, captures, settles)
		return err
	})
	return rc, err
}

func (b *bundle) account(company string) *billing.Account {
	b.t.Helper()
	a, err := b.Account(context.Background(), company)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func TestSmoke(t *testing.T) {
	b := setup(t)
	c := b.company("acme", billing.Prepaid, nil, 10)
	rc, err := b.reserve(c, "run1", 6, 2)
	t.Log(rc, err)
	m, err := b.move([]billing.Capture{{c, "run1", "p1"}, {c, "run1", "p2"}}, nil)
	t.Log(m, err)
	m, err = b.move([]billing.Capture{{c, "run1", "p1"}, {c, "run1", "p3"}}, []billing.Settle{{CompanyID: c, RunID: "run1"}})
	t.Log(m, err)
	_, err = b.reserve(c, "run2", 8, 0)
	t.Logf("%v %+v", err, b.account(c))
}
