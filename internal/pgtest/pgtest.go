// Package pgtest lends each test a PostgreSQL database of its own, migrated,
// with real commits, LISTEN and River.
//
// All test processes of a user share one private server (keeper.go); a database
// is a file copy of a migrated template, which takes some twenty milliseconds.
// With ENRICHD_TEST_DATABASE_URL set (a role that may create databases), the
// templates and copies are made there instead.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

const conns = 10

// DB is a database that one test owns.
type DB struct {
	// Bun is a pool on it, opened as the product opens its own.
	Bun *bun.DB
	// DSN names it for pg.Open and pgx.
	DSN string
	// Name is the database's name.
	Name string
}

var serial atomic.Int64

// New returns a fresh database with every migration applied. When the test ends
// the ledger is audited (see Audit) and the database dropped.
func New(t testing.TB) *DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := theServer(ctx)
	if err != nil {
		t.Fatalf("test database: %v", err)
	}
	template, err := server.template(ctx)
	if err != nil {
		t.Fatalf("test database: %v", err)
	}
	return create(ctx, t, server, template)
}

// Empty returns a fresh database without any migration, for tests of migrations.
func Empty(t testing.TB) *DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := theServer(ctx)
	if err != nil {
		t.Fatalf("test database: %v", err)
	}
	return create(ctx, t, server, "template0")
}

func create(ctx context.Context, t testing.TB, server *server, template string) *DB {
	t.Helper()
	// The process number keeps the processes of one go test apart, the time the ones that follow.
	name := fmt.Sprintf("%s%d_%s_%d", clonePrefix, os.Getpid(), strconv.FormatInt(time.Now().UnixMicro(), 36), serial.Add(1))
	if err := server.clone(ctx, name, template); err != nil {
		t.Fatalf("test database: %v", err)
	}
	db := &DB{DSN: server.dsn(name), Name: name}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.drop(ctx, name); err != nil {
			t.Errorf("test database: %v", err)
		}
	})
	bunDB, err := pg.Open(db.DSN, conns, pg.AllowInsecure(true))
	if err != nil {
		t.Fatalf("test database: %v", err)
	}
	db.Bun = bunDB
	t.Cleanup(func() {
		Audit(t, db)
		if err := bunDB.Close(); err != nil {
			t.Errorf("close test database: %v", err)
		}
	})
	return db
}

// Pool returns a pgx pool on the database, closed when the test ends.
func (db *DB) Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.OpenPool(context.Background(), db.DSN, conns, pg.AllowInsecure(true))
	if err != nil {
		t.Fatalf("test pool: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Audit fails the test for every row of the SQL function billing_audit(), each
// of which is a broken invariant of the ledger; without the function it does
// nothing. New runs it after every test.
func Audit(t testing.TB, db *DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var exists bool
	if err := db.Bun.NewSelect().ColumnExpr("to_regproc(?) IS NOT NULL", "billing_audit").Scan(ctx, &exists); err != nil {
		t.Errorf("audit: %v", err)
		return
	}
	if !exists {
		return
	}
	var rows []string
	if err := db.Bun.NewRaw("SELECT to_jsonb(a)::text FROM billing_audit() AS a").Scan(ctx, &rows); err != nil {
		t.Errorf("audit: %v", err)
		return
	}
	for _, row := range rows {
		t.Errorf("the ledger does not add up: %s", row)
	}
}

// withDatabase replaces the database in a DSN of either form.
func withDatabase(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && strings.HasPrefix(u.Scheme, "postgres") {
		u.Path = "/" + name
		q := u.Query()
		q.Del("dbname")
		u.RawQuery = q.Encode()
		return u.String()
	}
	return dsn + " dbname=" + name
}
