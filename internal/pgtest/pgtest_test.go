//go:build unix

package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/enrichd/enrichd/internal/pgtest"
)

const roleEnv = "PGTEST_TEST_ROLE"

// TestMain lets this binary play another package's tests.
func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "" {
		os.Exit(m.Run())
	}
	m.Run()
}

// TestBorrowUntilKilled is the other package: it borrows a database, says so and
// waits until it is told to end, or killed.
func TestBorrowUntilKilled(t *testing.T) {
	if os.Getenv(roleEnv) == "" {
		t.Skip("a role in another test")
	}
	fmt.Println("\nDSN", pgtest.New(t).DSN)
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// borrower is another test process with a database; its DSN.
func borrower(t *testing.T, env ...string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestBorrowUntilKilled$")
	cmd.Env = append(append(os.Environ(), roleEnv+"=borrow"), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	found := make(chan string, 8)
	go func() {
		var said strings.Builder
		buf := make([]byte, 4096)
		for {
			n, err := out.Read(buf)
			said.Write(buf[:n])
			if _, rest, ok := strings.Cut(said.String(), "\nDSN "); ok && strings.Contains(rest, "\n") {
				found <- strings.SplitN(rest, "\n", 2)[0]
			}
			if err != nil {
				found <- "" // read only when it has borrowed nothing
				return
			}
		}
	}()
	select {
	case dsn := <-found:
		if dsn == "" {
			t.Fatal("the other process borrows nothing")
		}
		return cmd, dsn
	case <-time.After(time.Minute):
		t.Fatal("the other process borrows nothing")
		return nil, ""
	}
}

func ask(ctx context.Context, dsn string) (server string, err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, "SELECT pg_postmaster_start_time()::text").Scan(&server)
	return server, err
}

func TestNew(t *testing.T) {
	t.Parallel()
	t.Run("lends a migrated database to both drivers", func(t *testing.T) {
		t.Parallel()
		db := pgtest.New(t)
		var n int
		if err := db.Bun.NewRaw("SELECT count(*) FROM companies, river_job").Scan(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
		if err := db.Pool(t).QueryRow(t.Context(), "SELECT count(*) FROM companies").Scan(&n); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("keeps tests apart, and drops what it lent", func(t *testing.T) {
		t.Parallel()
		var names sync.Map
		t.Run("borrowers", func(t *testing.T) {
			for range 4 {
				t.Run("one", func(t *testing.T) {
					t.Parallel()
					db := pgtest.New(t)
					if _, taken := names.LoadOrStore(db.Name, true); taken {
						t.Fatal("lent twice")
					}
					if _, err := db.Bun.ExecContext(t.Context(), "CREATE TABLE mine (x int)"); err != nil {
						t.Fatal(err)
					}
				})
			}
		})
		left := pgtest.Empty(t)
		names.Range(func(name, _ any) bool {
			var there bool
			if err := left.Bun.NewRaw("SELECT EXISTS (SELECT FROM pg_database WHERE datname = ?)", name).Scan(t.Context(), &there); err != nil || there {
				t.Errorf("%s is left: %v", name, err)
			}
			return true
		})
	})
	t.Run("outlives the process that was there first", func(t *testing.T) {
		t.Parallel()
		// A server of its own, found where this user's temporary files are.
		home := "TMPDIR=" + t.TempDir()
		first, dsn := borrower(t, home)
		before, err := ask(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		_, other := borrower(t, home)
		if err := first.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_, _ = first.Process.Wait()
		if after, err := ask(t.Context(), other); err != nil || after != before {
			t.Fatalf("started %s, now %s, %v", before, after, err)
		}
		stopKeeper(t, other)
	})
	t.Run("uses the server that the environment names", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		_, dsn := borrower(t, "ENRICHD_TEST_DATABASE_URL="+db.DSN, "TMPDIR=/nonexistent")
		mine, err := ask(t.Context(), db.DSN)
		if err != nil {
			t.Fatal(err)
		}
		if theirs, err := ask(t.Context(), dsn); err != nil || theirs != mine {
			t.Fatalf("another server: %s, not %s, %v", theirs, mine, err)
		}
	})
}

// stopKeeper ends the keeper of a server that was made for one test, and waits
// for the server's end, so that its directory can go.
func stopKeeper(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var data string
	if err := conn.QueryRow(t.Context(), "SELECT current_setting('hba_file')").Scan(&data); err != nil {
		t.Fatal(err)
	}
	state := strings.TrimSuffix(data, "pg_hba.conf") + "state.json"
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	var keeper int
	if _, rest, ok := strings.Cut(string(text), `"launcher":`); ok {
		_, _ = fmt.Sscanf(rest, "%d", &keeper)
	}
	if keeper <= 1 {
		t.Fatalf("no keeper in %s", text)
	}
	if err := syscall.Kill(keeper, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(30 * time.Second); syscall.Kill(keeper, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the keeper does not end")
		}
	}
}

// complaint collects what a test would have been failed with.
type complaint struct {
	testing.TB
	texts []string
}

func (c *complaint) Helper() {}

func (c *complaint) Errorf(format string, args ...any) {
	c.texts = append(c.texts, fmt.Sprintf(format, args...))
}

func TestAudit(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	t.Run("asks nothing of a database without a ledger", func(t *testing.T) {
		c := &complaint{TB: t}
		if pgtest.Audit(c, db); len(c.texts) != 0 {
			t.Fatalf("complained: %q", c.texts)
		}
	})
	t.Run("complains about every row", func(t *testing.T) {
		const sql = `CREATE FUNCTION billing_audit() RETURNS TABLE (account text, problem text) LANGUAGE sql AS $$ SELECT 'acc', p FROM unnest(ARRAY['negative', 'lost']) AS p $$`
		if _, err := db.Bun.ExecContext(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		c := &complaint{TB: t}
		if pgtest.Audit(c, db); len(c.texts) != 2 || !strings.Contains(c.texts[0], "negative") {
			t.Fatalf("complained: %q", c.texts)
		}
		if _, err := db.Bun.ExecContext(t.Context(), "DROP FUNCTION billing_audit"); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	pgtest.New(b)
	for b.Loop() {
		pgtest.New(b)
	}
}
