package pg_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

func TestBeginTravelsWithTheFirstStatement(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(context.Context, bun.Tx) error{
		"a plain one": func(ctx context.Context, tx bun.Tx) error { return exec(ctx, tx, "INSERT INTO things (id) VALUES (1)") },
		"one that is prepared": func(ctx context.Context, tx bun.Tx) error {
			return exec(ctx, tx, "INSERT INTO things (id) VALUES ($1)", 1)
		},
		"a query": func(ctx context.Context, tx bun.Tx) error {
			return scan(ctx, tx, "INSERT INTO things (id) VALUES (1) RETURNING id", 1)
		},
		"a query that is prepared": func(ctx context.Context, tx bun.Tx) error {
			return scan(ctx, tx, "INSERT INTO things (id) VALUES (1) RETURNING $1::int", 7, 7)
		},
		"one with a notice beside": func(ctx context.Context, tx bun.Tx) error {
			return exec(ctx, tx, "DO $$ BEGIN RAISE WARNING 'a notice'; INSERT INTO things (id) VALUES (1); END $$")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			undo := errors.New("undo")
			for range 2 { // the second on a connection that has prepared the statement
				err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
					return errors.Join(first(ctx, tx), scan(ctx, tx, "SELECT count(*)::int FROM things", 1), undo)
				})
				if !errors.Is(err, undo) || pg.Code(err) != "" {
					t.Fatal(err)
				}
				if n := b.count(t); n != 0 {
					t.Fatalf("%d rows outlived the rollback", n)
				}
			}
			if err := pg.InTx(t.Context(), b.guarded, first); err != nil {
				t.Fatal(err)
			}
			if n := b.count(t); n != 1 {
				t.Fatalf("%d rows, want 1", n)
			}
		})
	}
	t.Run("so that a transaction without one asks nothing of the server", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx, count := pg.CountStatements(t.Context())
		if err := pg.InTx(ctx, b.guarded, func(context.Context, bun.Tx) error { return nil }); err != nil || count.N() != 0 {
			t.Fatalf("sent %q, %v", count.Statements(), err)
		}
		if err := exec(t.Context(), b.guarded, "INSERT INTO things (id) VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		if n := b.count(t); n != 1 {
			t.Fatalf("the statement behind an empty transaction was not committed: %d rows", n)
		}
	})
	t.Run("and its failure is the transaction's", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, bad := range []string{"SELECT 1/0", "SELECT 1/$1::int"} {
			err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
				var args []any
				if bad != "SELECT 1/0" {
					args = []any{0}
				}
				_ = exec(ctx, tx, bad, args...)
				return nil
			})
			if !errors.Is(err, pg.ErrAborted) || pg.Code(err) != "22012" {
				t.Fatalf("%s: got %v", bad, err)
			}
		}
	})
	t.Run("and reading only stays reading only", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pg.Snapshot(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			return exec(ctx, tx, "INSERT INTO things (id) VALUES (1)")
		})
		if pg.Code(err) != "25006" {
			t.Fatalf("got %v, want 25006", err)
		}
	})
}

func TestLast(t *testing.T) {
	t.Parallel()
	insert := func(ctx context.Context, tx bun.Tx) error {
		return exec(ctx, tx, "INSERT INTO things (id) VALUES ($1)", 1)
	}
	t.Run("commits with the statement, in its round trip", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for i := range 3 {
			ctx, count := pg.CountStatements(t.Context())
			err := pg.InTx(ctx, b.guarded, func(ctx context.Context, tx bun.Tx) error {
				if err := exec(ctx, tx, "INSERT INTO things (id) VALUES ($1)", 2*i); err != nil {
					return err
				}
				return exec(pg.Last(ctx), tx, "INSERT INTO things (id) VALUES ($1)", 2*i+1)
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := b.count(t); n != int64(2*i+2) {
				t.Fatalf("%d rows", n)
			}
			if slices.Contains(count.Statements(), "COMMIT") {
				t.Fatalf("sent %q", count.Statements())
			}
		}
	})
	t.Run("may be the first as well", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error { return insert(pg.Last(ctx), tx) }); err != nil {
			t.Fatal(err)
		}
		if n := b.count(t); n != 1 {
			t.Fatalf("%d rows", n)
		}
	})
	t.Run("rolls everything back when the statement fails", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, swallow := range []bool{false, true} {
			err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
				if err := insert(ctx, tx); err != nil {
					return err
				}
				err := insert(pg.Last(ctx), tx)
				if swallow {
					return nil
				}
				return err
			})
			if pg.Code(err) != "23505" || errors.Is(err, pg.ErrAborted) != swallow {
				t.Fatalf("got %v", err)
			}
			if n := b.count(t); n != 0 {
				t.Fatalf("%d rows", n)
			}
		}
	})
	t.Run("reports a rule that only the commit finds broken", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := exec(t.Context(), b.guarded, "CREATE TABLE later (id int REFERENCES things DEFERRABLE INITIALLY DEFERRED)"); err != nil {
			t.Fatal(err)
		}
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			return exec(pg.Last(ctx), tx, "INSERT INTO later VALUES ($1)", 1)
		})
		if pg.Code(err) != "23503" {
			t.Fatalf("got %v, want 23503", err)
		}
		if err := b.guarded.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("refuses a statement behind it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			if err := insert(pg.Last(ctx), tx); err != nil {
				return err
			}
			return exec(ctx, tx, "SELECT 1")
		})
		if err == nil {
			t.Fatal("no error")
		}
		if err := b.guarded.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("has committed though the caller went meanwhile", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := pg.InTx(ctx, b.guarded, func(ctx context.Context, tx bun.Tx) error {
			defer cancel()
			return insert(pg.Last(ctx), tx)
		})
		if err != nil {
			t.Fatalf("reported as failed: %v", err)
		}
		if n := b.count(t); n != 1 {
			t.Fatalf("%d rows", n)
		}
	})
	t.Run("is not reported as done when the server goes before it answers", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			if err := insert(ctx, tx); err != nil {
				return err
			}
			return exec(pg.Last(ctx), tx, "SELECT pg_terminate_backend(pg_backend_pid()), $1::int", 1)
		})
		if err == nil {
			t.Fatal("no error")
		}
		if n := b.count(t); n != 0 {
			t.Fatalf("%d rows", n)
		}
	})
}

func TestAfterCommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	refusal := errors.New("no")
	for name, c := range map[string]struct {
		f    func(context.Context, bun.Tx) error
		want int
	}{
		"is called behind a commit":        {func(ctx context.Context, tx bun.Tx) error { return exec(ctx, tx, "SELECT 1") }, 1},
		"is called behind a last one":      {func(ctx context.Context, tx bun.Tx) error { return exec(pg.Last(ctx), tx, "SELECT $1::int", 1) }, 1},
		"is not called after a refusal":    {func(context.Context, bun.Tx) error { return refusal }, 0},
		"is not called for a lost failure": {func(ctx context.Context, tx bun.Tx) error { _ = exec(ctx, tx, "SELECT 1/0"); return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			called := 0
			_ = pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
				pg.AfterCommit(ctx, func() { called++ })
				return c.f(ctx, tx)
			})
			if called != c.want {
				t.Fatalf("called %d times, want %d", called, c.want)
			}
		})
	}
}

func exec(ctx context.Context, db bun.IDB, query string, args ...any) error {
	var err error
	if tx, ok := db.(bun.Tx); ok {
		_, err = tx.Tx.ExecContext(ctx, query, args...)
	} else {
		_, err = db.ExecContext(ctx, query, args...)
	}
	return err
}

func scan(ctx context.Context, tx bun.Tx, query string, want int, args ...any) error {
	var got int
	err := tx.Tx.QueryRowContext(ctx, query, args...).Scan(&got)
	if err == nil && got != want {
		err = errors.New(query + ": another result than expected")
	}
	return err
}
