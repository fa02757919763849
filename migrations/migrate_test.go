package migrations_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/migrations"
)

func TestUp(t *testing.T) {
	t.Parallel()
	t.Run("brings an empty database to the whole schema, once", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		before, err := migrations.Pending(t.Context(), db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(before, "0001_access") || !slices.ContainsFunc(before, func(s string) bool { return strings.HasPrefix(s, "river_") }) {
			t.Fatalf("pending: %q", before)
		}
		for range 2 {
			if err := migrations.Up(t.Context(), db.DSN, nil); err != nil {
				t.Fatal(err)
			}
		}
		steps, err := migrations.Status(t.Context(), db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if !s.Applied || strings.HasPrefix(s.Name, "0") && s.AppliedAt.IsZero() {
				t.Errorf("%+v", s)
			}
		}
		if len(steps) != len(before) {
			t.Fatalf("%d steps, %d were pending", len(steps), len(before))
		}
	})
	t.Run("lets processes that start together all come up", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if err := migrations.Up(context.WithoutCancel(t.Context()), db.DSN, nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if pending, err := migrations.Pending(t.Context(), db.DSN); err != nil || len(pending) > 0 {
			t.Fatalf("pending %q, %v", pending, err)
		}
	})
	t.Run("waits for the process that migrates", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		unlock, err := pg.AdvisoryLock(t.Context(), db.DSN, "migrations")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- migrations.Up(context.WithoutCancel(t.Context()), db.DSN, nil) }()
		waitForWaiter(t, db)
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		unlock()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("keeps nothing of a step that fails, and goes on from there later", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		// Something stands where the first step wants to create its last table.
		if _, err := db.Bun.ExecContext(t.Context(), "CREATE TABLE server_keys (stranger int)"); err != nil {
			t.Fatal(err)
		}
		if err := migrations.Up(t.Context(), db.DSN, nil); pg.Code(err) != "42P07" {
			t.Fatalf("got %v, want 42P07", err)
		}
		pending, err := migrations.Pending(t.Context(), db.DSN)
		if err != nil || !slices.Contains(pending, "0001_access") {
			t.Fatalf("pending %q, %v", pending, err)
		}
		if _, err := db.Bun.ExecContext(t.Context(), "SELECT FROM companies"); pg.Code(err) != "42P01" {
			t.Fatalf("half a step was kept: %v", err)
		}
		if _, err := db.Bun.ExecContext(t.Context(), "DROP TABLE server_keys"); err != nil {
			t.Fatal(err)
		}
		if err := migrations.Up(t.Context(), db.DSN, nil); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("knows a step as done when killed right after its commit", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		exec := func(sql string) {
			t.Helper()
			if _, err := db.Bun.ExecContext(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		// A first try that fails leaves the table of records; then every statement
		// after the first step's own transaction is made to fail, as a kill would.
		exec("CREATE TABLE server_keys (stranger int)")
		if err := migrations.Up(t.Context(), db.DSN, nil); err == nil {
			t.Fatal("no error")
		}
		exec("DROP TABLE server_keys")
		exec(`CREATE FUNCTION killed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$killed$$; END'`)
		exec("CREATE TRIGGER killed BEFORE UPDATE ON schema_migrations FOR EACH ROW EXECUTE FUNCTION killed()")
		if err := migrations.Up(t.Context(), db.DSN, nil); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("got %v", err)
		}
		if pending, err := migrations.Pending(t.Context(), db.DSN); err != nil || slices.Contains(pending, "0001_access") {
			t.Fatalf("pending %q, %v", pending, err)
		}
		exec("DROP TRIGGER killed ON schema_migrations")
		if err := migrations.Up(t.Context(), db.DSN, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// waitForWaiter returns once somebody waits for an advisory lock of the database.
func waitForWaiter(t *testing.T, db *pgtest.DB) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		var waiting int
		err := db.Bun.NewRaw("SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted").Scan(t.Context(), &waiting)
		if err != nil {
			t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
	}
	t.Fatal("nobody waits")
}
