// Package pg opens PostgreSQL through Bun and is the only way to a transaction.
package pg

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"
)

// Open connects the application's pool to dsn (postgres:// URL, unix sockets by ?host=/dir).
func Open(dsn string, conns int) (*bun.DB, error) {
	pool := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn)))
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return bun.NewDB(pool, pgdialect.New()), nil
}

// InTx runs f in one short READ COMMITTED transaction and commits when f
// returns nil. It is detached from ctx's cancellation and bounded by 5 s of its
// own, because a cancelled statement costs pgdriver its connection; ctx is
// looked at before the transaction and before the commit only.
func InTx(ctx context.Context, db *bun.DB, f func(ctx context.Context, tx bun.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := db.RunInTx(ctx, nil, f); err != nil {
		return fmt.Errorf("transaction: %w", err)
	}
	return nil
}
