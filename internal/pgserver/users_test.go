//go:build unix

package pgserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/enrichd/enrichd/internal/pgserver"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
}

// homeOf makes a directory that belongs to a user.
func homeOf(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Dir(stateDir(t))
	who := credential(t, name)
	if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "postgres")
}

func TestAsANormalUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, name := range []string{"nobody", "postgres"} {
		t.Run(name+" runs a server, which is attached to by the same user and by root", func(t *testing.T) {
			t.Parallel()
			dir := homeOf(t, name)
			holder := as(t, name, "hold", dir)
			holder.ready(t)
			as(t, name, "attach", dir).ready(t)
			s, err := pgserver.Attach(dir)
			if err != nil {
				t.Fatal(err)
			}
			if text(t, s.DSN(""), "SELECT 'alive'") != "alive" {
				t.Fatal("not alive")
			}
			_ = s.Stop()
		})
	}
	t.Run("another user is kept out by the directory, and by the kernel's word behind it", func(t *testing.T) {
		t.Parallel()
		dir := homeOf(t, "postgres")
		dsn := as(t, "postgres", "hold", dir).ready(t)
		if line := as(t, "nobody", "connect", dsn).says(t); !strings.Contains(line, "permission denied") {
			t.Fatalf("got in, or failed otherwise: %s", line)
		}
		for _, path := range []string{filepath.Dir(dir), dir, filepath.Join(dir, "run")} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "run", ".s.PGSQL.5432"), 0o777); err != nil {
			t.Fatal(err)
		}
		if line := as(t, "nobody", "connect", dsn).says(t); !strings.Contains(line, "28000") {
			t.Fatalf("got in, or failed otherwise: %s", line)
		}
	})
	t.Run("data of another user is refused", func(t *testing.T) {
		t.Parallel()
		dir := homeOf(t, "postgres")
		holder := as(t, "postgres", "hold", dir)
		holder.ready(t)
		_ = holder.in.Close()
		if line := holder.says(t); line != "stopped" {
			t.Fatal(line)
		}
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if line := as(t, "nobody", "hold", dir).says(t); !strings.Contains(line, "belongs to user") {
			t.Fatalf("nobody: %s", line)
		}
	})
}

func TestAsRoot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	t.Run("drops to another user, who owns the data and nothing that root writes", func(t *testing.T) {
		t.Parallel()
		dir := stateDir(t)
		start(t, pgserver.Config{Dir: dir})
		for name, byRoot := range map[string]bool{".": true, "lock": true, "state.json": true, "pg_hba.conf": true, "postgres.log": true, "data": false, "run": false} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if uid := info.Sys().(*syscall.Stat_t).Uid; (uid == 0) != byRoot {
				t.Errorf("%s belongs to user %d", name, uid)
			}
			if info.Mode().Perm()&0o022 != 0 {
				t.Errorf("%s may be written by others: %s", name, info.Mode())
			}
		}
	})
	t.Run("says which directory is closed to the server's user", func(t *testing.T) {
		t.Parallel()
		// Elsewhere than among this user's temporary files, a closed directory stays closed.
		closed, err := os.MkdirTemp("/var/tmp", "closed")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(closed) })
		dir := filepath.Join(closed, "a", "b", "c")
		line := as(t, "", "hold", dir, "TMPDIR=/tmp").says(t)
		if !strings.Contains(line, closed+" is closed to it") || !strings.Contains(line, "ENRICHD_STATE_DIR") {
			t.Fatalf("got %s", line)
		}
		info, err := os.Stat(closed)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("mode %v, %v", info.Mode(), err)
		}
	})
}
