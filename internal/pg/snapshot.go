package pg

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// SnapshotTimeout bounds a Snapshot. Every statement in it is bounded by the session's own timeout besides.
const SnapshotTimeout = 10 * time.Minute

// Snapshot runs f in a read-only transaction all of whose statements see the
// database as it was at the first. It takes no locks and may last long; like InTx
// it is detached from ctx's cancellation, which f looks at between its statements.
func Snapshot(ctx context.Context, db *bun.DB, f func(ctx context.Context, tx bun.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), SnapshotTimeout)
	defer cancel()
	err := db.RunInTx(inner, &sql.TxOptions{ReadOnly: true}, func(inner context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(inner, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
			return err
		}
		return f(inner, tx)
	})
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}
