package cmd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/enrichd/enrichd/migrations"
)

// TestReadiness asks a server whether it wants requests while its database lacks steps that the program knows.
func TestReadiness(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := freeAddr(t)
	n := w.serve(t, "ENRICHD_ADMIN_ADDR="+admin)
	steps, err := migrations.Status(t.Context(), w.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	// The last of ours, and of River's.
	var ours, rivers string
	for _, s := range steps {
		if strings.HasPrefix(s.Name, "river_") {
			rivers = s.Name
		} else {
			ours = s.Name
		}
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := w.db.Bun.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(status int, says string) {
		t.Helper()
		for _, url := range []string{n.url, "http://" + admin} {
			r := (caller{url: url}).send(t, "GET", "/readyz", nil)
			if r.status != status || strings.TrimSpace(string(r.body)) != says {
				t.Errorf("%d %q, not %d %q", r.status, r.body, status, says)
			}
			for _, path := range []string{"/livez", "/startupz"} {
				if r := (caller{url: url}).send(t, "GET", path, nil); r.status != 200 {
					t.Errorf("%s: %d %s", path, r.status, r.body)
				}
			}
		}
	}
	expect(200, "ok")
	number, _, _ := strings.Cut(ours, "_")
	exec("CREATE TABLE kept AS SELECT * FROM schema_migrations WHERE name = ?", number)
	exec("DELETE FROM schema_migrations WHERE name = ?", number)
	expect(503, "migrations pending: "+ours)
	var version int
	if _, err := fmt.Sscanf(rivers, "river_%d", &version); err != nil {
		t.Fatal(err)
	}
	exec("CREATE TABLE kept_river AS SELECT * FROM river_migration WHERE version = ?", version)
	exec("DELETE FROM river_migration WHERE version = ?", version)
	expect(503, "migrations pending: "+ours+", "+rivers)
	exec("INSERT INTO schema_migrations SELECT * FROM kept")
	expect(503, "migrations pending: "+rivers)
	exec("INSERT INTO river_migration SELECT * FROM kept_river")
	expect(200, "ok")
	// A database that a newer program has migrated is no hindrance to an older one that still runs.
	exec("INSERT INTO schema_migrations (name, group_id) VALUES ('9999', 1)")
	expect(200, "ok")
	exec("ALTER TABLE schema_migrations RENAME TO elsewhere")
	exec("CREATE VIEW schema_migrations AS SELECT 1 AS nothing")
	expect(503, "the state of the migrations cannot be read")
}
