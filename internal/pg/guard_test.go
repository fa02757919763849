package pg_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
)

// bundle is one database seen through the guard and through the bare driver, so
// that each test shows the defect as well as its cure.
type bundle struct {
	dsn     string
	guarded *bun.DB
	raw     *bun.DB
}

func setup(t *testing.T) bundle {
	t.Helper()
	db := pgtest.Empty(t)
	b := bundle{dsn: db.DSN, guarded: db.Bun, raw: bare(t, db.DSN)}
	if _, err := b.guarded.ExecContext(t.Context(), "CREATE TABLE things (id int PRIMARY KEY, at timestamptz, name text)"); err != nil {
		t.Fatal(err)
	}
	return b
}

// bare opens dsn on pgdriver alone.
func bare(t testing.TB, dsn string, opts ...pgdriver.Option) *bun.DB {
	t.Helper()
	parsed, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	network, addr := pgconn.NetworkAddress(parsed.Host, parsed.Port)
	opts = append([]pgdriver.Option{
		pgdriver.WithNetwork(network), pgdriver.WithAddr(addr), pgdriver.WithUser(parsed.User), pgdriver.WithDatabase(parsed.Database),
		pgdriver.WithPassword(parsed.Password), pgdriver.WithInsecure(true),
	}, opts...)
	db := bun.NewDB(sql.OpenDB(pgdriver.NewConnector(opts...)), pgdialect.New())
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (b bundle) count(t *testing.T) int64 {
	t.Helper()
	n, err := b.guarded.NewSelect().Table("things").Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// swallow inserts a row, loses a statement to an error, ignores it and commits.
func swallow(ctx context.Context, db *bun.DB, losing string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO things (id) VALUES (1)"); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	_, _ = tx.ExecContext(ctx, losing)
	return tx.Commit()
}

func TestCommitOfAnAbortedTransaction(t *testing.T) {
	t.Parallel()
	const duplicate = "INSERT INTO things (id) VALUES (1)"

	t.Run("reports success on the bare driver while nothing was kept", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := swallow(t.Context(), b.raw, duplicate); err != nil {
			t.Fatalf("pgdriver has learned to report it (%v): the guard may have become needless", err)
		}
		if n := b.count(t); n != 0 {
			t.Fatalf("%d rows were kept", n)
		}
	})
	t.Run("is an error through the guard, naming the first failure", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := swallow(t.Context(), b.guarded, duplicate)
		if !errors.Is(err, pg.ErrAborted) || pg.Code(err) != "23505" {
			t.Fatalf("got %v, want ErrAborted with 23505", err)
		}
		if n := b.count(t); n != 0 {
			t.Fatalf("%d rows were kept", n)
		}
	})
	t.Run("is an error through InTx as well", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			_, _ = tx.ExecContext(ctx, "SELECT 1/0")
			_, _ = tx.ExecContext(ctx, duplicate)
			return nil
		})
		if !errors.Is(err, pg.ErrAborted) || pg.Code(err) != "22012" {
			t.Fatalf("got %v, want ErrAborted with 22012", err)
		}
	})
	t.Run("is an error when the failure came with a later row", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.ExecContext(ctx, duplicate); err != nil {
				return err
			}
			rows, err := tx.QueryContext(ctx, "SELECT 10/(5000-n) FROM generate_series(1, 9000) AS n")
			if err != nil {
				return err
			}
			for rows.Next() {
				var n int
				if err := rows.Scan(&n); err != nil {
					return err
				}
			}
			if rows.Err() == nil {
				t.Error("the division by zero went unnoticed")
			}
			return rows.Close()
		})
		if !errors.Is(err, pg.ErrAborted) {
			t.Fatalf("got %v, want ErrAborted", err)
		}
		if n := b.count(t); n != 0 {
			t.Fatalf("%d rows were kept", n)
		}
	})
	t.Run("goes through once a savepoint has undone the failure", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.ExecContext(ctx, duplicate); err != nil {
				return err
			}
			inner := tx.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				_, err := tx.ExecContext(ctx, duplicate)
				return err
			})
			if pg.Code(inner) != "23505" {
				t.Errorf("inner: got %v, want 23505", inner)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := b.count(t); n != 1 {
			t.Fatalf("%d rows were kept, want 1", n)
		}
	})
	t.Run("leaves a connection that works", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		one, err := pg.Open(b.dsn, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = one.Close() }()
		for range 3 {
			if err := swallow(t.Context(), one, duplicate); !errors.Is(err, pg.ErrAborted) {
				t.Fatalf("got %v, want ErrAborted", err)
			}
			if err := one.PingContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestInTx(t *testing.T) {
	t.Parallel()
	insert := func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO things (id) VALUES (1)")
		return err
	}
	t.Run("commits what succeeded", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := pg.InTx(t.Context(), b.guarded, insert); err != nil {
			t.Fatal(err)
		}
		if n := b.count(t); n != 1 {
			t.Fatalf("%d rows", n)
		}
	})
	t.Run("rolls back on an error and keeps it recognisable", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		refusal := errors.New("no")
		err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error {
			return errors.Join(insert(ctx, tx), refusal)
		})
		if !errors.Is(err, refusal) {
			t.Fatalf("got %v", err)
		}
		if n := b.count(t); n != 0 {
			t.Fatalf("%d rows", n)
		}
	})
	t.Run("rolls back on a panic and lets it through", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		one, err := pg.Open(b.dsn, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = one.Close() }()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_ = pg.InTx(t.Context(), one, func(ctx context.Context, tx bun.Tx) error {
				if err := insert(ctx, tx); err != nil {
					return err
				}
				panic("boom")
			})
		}()
		// The one connection is free again, and its transaction gone.
		n, err := one.NewSelect().Table("things").Count(t.Context())
		if err != nil || n != 0 {
			t.Fatalf("%d rows, %v", n, err)
		}
	})
	t.Run("finishes its statement when the caller goes, then rolls back", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		err := pg.InTx(ctx, b.guarded, func(inner context.Context, tx bun.Tx) error {
			cancel()
			return insert(inner, tx)
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		if n := b.count(t); n != 0 {
			t.Fatalf("%d rows", n)
		}
		if open := b.guarded.Stats().OpenConnections; open != 1 {
			t.Fatalf("the connection was lost: %d open", open)
		}
	})
	t.Run("does not begin for a caller that has gone", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx, count := pg.CountStatements(t.Context())
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if err := pg.InTx(ctx, b.guarded, insert); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if count.N() != 0 {
			t.Fatalf("sent %q", count.Statements())
		}
	})
	t.Run("refuses an isolation level that would be sent as two statements", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		tx, err := b.raw.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			t.Fatalf("the bare driver: %v", err)
		}
		_ = tx.Rollback()
		if _, err := b.guarded.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable}); err == nil {
			t.Fatal("no error")
		}
	})
}

func TestCancelledQuery(t *testing.T) {
	t.Parallel()
	const query = "SELECT pg_sleep(1.2)"
	run := func(ctx context.Context, db *bun.DB) (time.Duration, error) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(150*time.Millisecond, cancel)
		began := time.Now()
		rows, err := db.DB.QueryContext(ctx, query)
		if err == nil {
			for rows.Next() {
			}
			err = errors.Join(rows.Err(), rows.Close())
		}
		return time.Since(began), err
	}
	t.Run("runs to its end on the bare driver", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if took, _ := run(t.Context(), b.raw); took < time.Second {
			t.Fatalf("pgdriver has learned to cancel: returned after %s", took)
		}
	})
	t.Run("returns at once through the guard when it is a long read", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		took, err := run(pg.LongRead(t.Context()), b.guarded)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
		if took > 900*time.Millisecond {
			t.Fatalf("returned after %s", took)
		}
		if err := b.guarded.PingContext(t.Context()); err != nil {
			t.Fatalf("the pool did not recover: %v", err)
		}
	})
	t.Run("runs to its end through the guard otherwise, keeping the connection", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if took, _ := run(t.Context(), b.guarded); took < time.Second {
			t.Fatalf("returned after %s", took)
		}
	})
	t.Run("never leaves a closed connection to the next caller", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		one, err := pg.Open(b.dsn, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = one.Close() }()
		for i := range 60 {
			ctx, cancel := context.WithCancel(pg.LongRead(t.Context()))
			time.AfterFunc(time.Duration(i%12)*50*time.Microsecond, cancel)
			var n int
			err := one.DB.QueryRowContext(ctx, "SELECT 7").Scan(&n)
			cancel()
			if err == nil && n != 7 {
				t.Fatalf("a wrong answer: %d", n)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			if err := one.DB.QueryRowContext(t.Context(), "SELECT 8").Scan(&n); err != nil || n != 8 {
				t.Fatalf("the next caller got %d, %v", n, err)
			}
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, db *bun.DB) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		// Not through database/sql's own look at the context: in the driver.
		_, err := db.DB.ExecContext(ctx, "SELECT pg_sleep(6) AS abandoned")
		return err
	}
	running := func(t *testing.T, b bundle) int {
		t.Helper()
		var n int
		err := b.guarded.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%abandoned' AND pid <> pg_backend_pid()").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Run("is an i/o timeout on the bare driver, and the server works on", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := run(t, b.raw)
		timeout, ok := errors.AsType[net.Error](err)
		if !ok || !timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("pgdriver has changed: %v", err)
		}
		if running(t, b) != 1 {
			t.Fatal("the server has ended the query by itself")
		}
	})
	t.Run("is context.DeadlineExceeded through the guard, and the server gives up", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		if err := run(t, b.guarded); !errors.Is(err, context.DeadlineExceeded) || !pg.IsUnavailable(err) {
			t.Fatalf("got %v", err)
		}
		for until := time.Now().Add(4 * time.Second); running(t, b) > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("the abandoned query still runs")
			}
		}
	})
}

func TestStatementLongerThanTheDriverReads(t *testing.T) {
	t.Parallel()
	t.Run("kills the connection on the bare driver", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		short := bare(t, b.dsn, pgdriver.WithReadTimeout(200*time.Millisecond))
		if _, err := short.DB.ExecContext(t.Context(), "SELECT pg_sleep(1)"); err == nil || pg.Code(err) != "" {
			t.Fatalf("got %v, want a socket error", err)
		}
	})
	t.Run("ends on the server first through the guard", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		short, err := pg.Open(b.dsn, 1, pg.StatementTimeout(200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = short.Close() }()
		_, err = short.ExecContext(t.Context(), "SELECT pg_sleep(1)")
		if pg.Code(err) != "57014" || !pg.IsUnavailable(err) {
			t.Fatalf("got %v, want 57014", err)
		}
	})
}

func TestNUL(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const name = "a\x00b"
	t.Run("loses it without a word on the bare driver", func(t *testing.T) {
		var stored string
		if err := b.raw.DB.QueryRowContext(t.Context(), "SELECT $1::text", name).Scan(&stored); err != nil || stored == name {
			t.Fatalf("pgdriver has changed: %q, %v", stored, err)
		}
		if _, err := b.raw.ExecContext(t.Context(), "SELECT ?", name); pg.Code(err) != "42601" {
			t.Fatalf("Bun has changed: %v, want a syntax error", err)
		}
	})
	t.Run("is refused through the guard", func(t *testing.T) {
		for _, run := range []func() error{
			func() error {
				_, err := b.guarded.DB.ExecContext(t.Context(), "INSERT INTO things (id, name) VALUES (1, $1)", name)
				return err
			},
			func() error {
				_, err := b.guarded.DB.ExecContext(t.Context(), "SELECT '"+name+"'")
				return err
			},
			func() error {
				_, err := b.guarded.ExecContext(t.Context(), "SELECT ?", name)
				return err
			},
		} {
			if err := run(); !errors.Is(err, pg.ErrNUL) {
				t.Fatalf("got %v, want ErrNUL", err)
			}
		}
	})
}

func TestApostropheInAComment(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.raw.DB.ExecContext(t.Context(), "SELECT 1 -- it isn't\n WHERE 1 = $1", 1)
	if pg.Code(err) != "42P02" {
		t.Fatalf("pgdriver has changed: %v, want 42P02; TestSQLComments may have become needless", err)
	}
}

func TestKilledBackends(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 10 {
		if err := b.guarded.PingContext(t.Context()); err != nil {
			t.Fatalf("ping %d: %v", i, err)
		}
		if _, err := b.raw.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		// The connection in the pool is seen to be dead before it is used: nobody notices.
		if err := pg.InTx(t.Context(), b.guarded, func(ctx context.Context, tx bun.Tx) error { return exec(ctx, tx, "SELECT 1") }); err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
	}
}
