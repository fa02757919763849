package pg_test

import (
	"context"
	"testing"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

func TestCountStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, count := pg.CountStatements(t.Context())
	err := pg.InTx(ctx, b.guarded, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO things (id) VALUES (?)", 1); err != nil {
			return err
		}
		var n int
		return tx.NewSelect().Table("things").ColumnExpr("count(*)").Scan(ctx, &n)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := count.Statements(); len(got) != 3 || got[2] != "COMMIT" || count.N() != 3 {
		t.Fatalf("counted %q, want two statements, the first with BEGIN, and COMMIT", got)
	}
	if err := b.guarded.PingContext(t.Context()); err != nil || count.N() != 3 {
		t.Fatalf("counted under another context: %q", count.Statements())
	}
}

func BenchmarkSelect(b *testing.B) {
	db := pgtest.Empty(b)
	for name, open := range map[string]*bun.DB{"guarded": db.Bun, "bare": bare(b, db.DSN)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var n int
				if err := open.DB.QueryRowContext(b.Context(), "SELECT 1").Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
