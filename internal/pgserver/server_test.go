//go:build unix

package pgserver_test

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgserver"
)

func TestStart(t *testing.T) {
	t.Parallel()
	t.Run("makes a server that both drivers reach, and keeps its data", func(t *testing.T) {
		t.Parallel()
		dir := stateDir(t)
		began := time.Now()
		s, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		cold := time.Since(began)
		db, err := pg.Open(s.DSN(""), 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE kept AS SELECT 'yes' AS answer"); err != nil {
			t.Fatal(err)
		}
		if got := text(t, s.DSN("enrichd"), "SELECT answer FROM kept"); got != "yes" {
			t.Fatalf("got %q", got)
		}
		if got := text(t, s.DSN("postgres"), "SELECT current_setting('listen_addresses')"); got != "" {
			t.Fatalf("listens on %q", got)
		}
		_ = db.Close()
		began = time.Now()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		stop := time.Since(began)
		if err := s.Stop(); err != nil {
			t.Fatalf("a second stop: %v", err)
		}
		began = time.Now()
		s = start(t, pgserver.Config{Dir: dir})
		warm := time.Since(began)
		if got := text(t, s.DSN(""), "SELECT answer FROM kept"); got != "yes" {
			t.Fatalf("got %q", got)
		}
		t.Logf("cold %s, stop %s, warm %s", cold.Round(time.Millisecond), stop.Round(time.Millisecond), warm.Round(time.Millisecond))
	})
	t.Run("is refused beside a running one, in this process and in another", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		s := start(t, pgserver.Config{Dir: dir})
		if _, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir}); !errors.Is(err, pgserver.ErrRunning) {
			t.Fatalf("got %v, want ErrRunning", err)
		}
		if line := as(t, "", "hold", dir).says(t); !strings.Contains(line, pgserver.ErrRunning.Error()) {
			t.Fatalf("the other process says %q", line)
		}
		if text(t, s.DSN(""), "SELECT 'alive'") != "alive" {
			t.Fatal("the first was disturbed")
		}
	})
	t.Run("waits for the end of a command that holds the directory", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		holder := as(t, "", "hold-transient", dir)
		holder.ready(t)
		time.AfterFunc(400*time.Millisecond, func() { _ = holder.in.Close() })
		start(t, pgserver.Config{Dir: dir})
	})
	t.Run("uses a short directory for the socket when its own is too deep", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(stateDir(t), strings.Repeat("deep/", 25))
		s := start(t, pgserver.Config{Dir: dir})
		u, err := url.Parse(s.DSN(""))
		if err != nil {
			t.Fatal(err)
		}
		socket := u.Query().Get("host")
		if len(socket) > 80 || strings.HasPrefix(socket, dir) {
			t.Fatalf("socket in %s", socket)
		}
		if line := as(t, "", "attach", dir).says(t); !strings.HasPrefix(line, "ready") {
			t.Fatalf("attaching: %s", line)
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the socket's directory is left: %v", err)
		}
	})
	t.Run("tells when the server ended by itself", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		s := start(t, pgserver.Config{Dir: dir})
		if err := syscall.Kill(postmaster(t, dir), syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.Done():
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was told")
		}
	})
	t.Run("says what the server said when it does not come up", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir, Settings: map[string]string{"shared_buffers": "nonsense"}})
		if err == nil || !strings.Contains(err.Error(), "shared_buffers") {
			t.Fatalf("got %v", err)
		}
		start(t, pgserver.Config{Dir: dir})
	})
	t.Run("refuses data of another major version and touches nothing", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := listing(t, dir)
		_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir})
		other, ok := errors.AsType[pgserver.OtherVersion](err)
		if !ok || other.Has != "9" || !strings.Contains(err.Error(), "pg_upgrade") {
			t.Fatalf("got %v, want OtherVersion", err)
		}
		if after := listing(t, dir); after != before {
			t.Fatalf("something was touched:\n%s\nwas\n%s", after, before)
		}
	})
	t.Run("says how to install PostgreSQL when there is none", func(t *testing.T) {
		t.Parallel()
		dir := stateDir(t)
		_, err := pgserver.Start(t.Context(), pgserver.Config{Dir: dir, Bin: t.TempDir()})
		if _, ok := errors.AsType[pgserver.NoBinaries](err); !ok {
			t.Fatalf("got %v, want NoBinaries", err)
		}
		for _, word := range []string{"install", "ENRICHD_POSTGRES_BIN", "DATABASE_URL"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not say %s", err, word)
			}
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("something was made: %v", err)
		}
	})
}

func TestFast(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	s := start(t, pgserver.Config{Dir: dir, Fast: true})
	exec1(t, s.DSN(""), "CREATE TABLE kept (x int)")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, pgserver.Config{Dir: dir, Fast: true})
	if text(t, s.DSN(""), "SELECT coalesce(to_regclass('kept')::text, 'gone')") != "kept" {
		t.Fatal("an orderly stop lost the data")
	}
	if err := syscall.Kill(postmaster(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, pgserver.Config{Dir: dir, Fast: true})
	if text(t, s.DSN(""), "SELECT coalesce(to_regclass('kept')::text, 'gone')") != "gone" {
		t.Fatal("data that was never flushed outlived a crash")
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	t.Run("finds nothing where nothing runs", func(t *testing.T) {
		t.Parallel()
		dir := stateDir(t)
		if _, err := pgserver.Attach(dir); !errors.Is(err, pgserver.ErrNotRunning) {
			t.Fatalf("never used: %v", err)
		}
		if err := start(t, pgserver.Config{Dir: dir}).Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := pgserver.Attach(dir); !errors.Is(err, pgserver.ErrNotRunning) {
			t.Fatalf("stopped: %v", err)
		}
	})
	t.Run("joins the server of another process and leaves it running", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		holder := as(t, "", "hold", dir)
		dsn := holder.ready(t)
		s, err := pgserver.Attach(dir)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := pgserver.Attach(dir); err != nil || again.Stop() != nil {
			t.Fatalf("a second guest: %v", err)
		}
		if !s.Attached() || s.DSN("") != dsn {
			t.Fatalf("attached %t to %s, want %s", s.Attached(), s.DSN(""), dsn)
		}
		exec1(t, s.DSN(""), "CREATE TABLE x (y int)")
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if text(t, dsn, "SELECT 'alive'") != "alive" {
			t.Fatal("detaching stopped it")
		}
	})
	t.Run("waits for a server that is coming up", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		holder := as(t, "", "hold", dir)
		for {
			s, err := pgserver.Attach(dir)
			if errors.Is(err, pgserver.ErrNotRunning) {
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Stop() }()
			if text(t, s.DSN(""), "SELECT 'alive'") != "alive" {
				t.Fatal("not alive")
			}
			break
		}
		holder.ready(t)
	})
	t.Run("holds an orderly stop back for a moment", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		s := start(t, pgserver.Config{Dir: dir})
		if !s.Idle() {
			t.Fatal("in use by nobody")
		}
		guest, err := pgserver.Attach(dir)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.GC()
		if s.Idle() {
			t.Fatal("idle with a guest")
		}
		if stopped, err := s.StopIfIdle(); stopped || err != nil {
			t.Fatalf("stopped %t, %v", stopped, err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Stop() }()
		select {
		case <-done:
			t.Fatal("did not wait")
		case <-time.After(150 * time.Millisecond):
		}
		_ = guest.Stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestKilled(t *testing.T) {
	t.Parallel()
	t.Run("launcher: the server goes with it, and the next one finds everything committed", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		holder := as(t, "", "hold", dir)
		dsn := holder.ready(t)
		exec1(t, dsn, "CREATE TABLE kept AS SELECT 'yes' AS answer")
		server := postmaster(t, dir)
		holder.kill(t)
		if runtime.GOOS == "linux" {
			gone(t, server, 20*time.Second)
		}
		began := time.Now()
		s := start(t, pgserver.Config{Dir: dir})
		t.Logf("up again in %s", time.Since(began).Round(time.Millisecond))
		if got := text(t, s.DSN(""), "SELECT answer FROM kept"); got != "yes" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("launcher: a next one that comes at once waits for the old server's end", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		holder := as(t, "", "hold", dir)
		exec1(t, holder.ready(t), "CREATE TABLE kept AS SELECT 'yes' AS answer")
		holder.kill(t)
		s := start(t, pgserver.Config{Dir: dir})
		if got := text(t, s.DSN(""), "SELECT answer FROM kept"); got != "yes" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("launcher and server: the stale pid file is no obstacle", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		holder := as(t, "", "hold", dir)
		exec1(t, holder.ready(t), "CREATE TABLE kept AS SELECT 'yes' AS answer")
		server := postmaster(t, dir)
		if err := syscall.Kill(server, syscall.SIGSTOP); err != nil { // so that it cannot tidy up
			t.Fatal(err)
		}
		holder.kill(t)
		if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		gone(t, server, 20*time.Second)
		if postmaster(t, dir) != server {
			t.Fatal("the pid file is gone: the test shows nothing")
		}
		began := time.Now()
		s := start(t, pgserver.Config{Dir: dir})
		t.Logf("up again in %s", time.Since(began).Round(time.Millisecond))
		if got := text(t, s.DSN(""), "SELECT answer FROM kept"); got != "yes" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("server that outlived its launcher is stopped first", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		orphan := runPostgres(t, dir)
		s := start(t, pgserver.Config{Dir: dir})
		if alive(orphan) {
			t.Fatal("the orphan lives on")
		}
		if text(t, s.DSN(""), "SELECT 'alive'") != "alive" {
			t.Fatal("not alive")
		}
	})
	t.Run("pid file that names a stranger is removed, and the stranger left alone", func(t *testing.T) {
		t.Parallel()
		dir := seeded(t)
		stranger := exec.Command("sleep", "60")
		stranger.SysProcAttr = asOwner(t, dir)
		if err := stranger.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = stranger.Process.Kill()
			_ = stranger.Wait()
		}()
		pidFile := filepath.Join(dir, "data", "postmaster.pid")
		if err := os.WriteFile(pidFile, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, pgserver.Config{Dir: dir})
		if !alive(stranger.Process.Pid) {
			t.Fatal("the stranger was killed")
		}
	})
}

// runPostgres starts a server on dir's data that nobody holds.
func runPostgres(t *testing.T, dir string) (pid int) {
	t.Helper()
	path, err := exec.LookPath("postgres")
	if err != nil {
		matches, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
		if len(matches) == 0 {
			t.Skip("the binaries are somewhere else")
		}
		path = matches[len(matches)-1]
	}
	cmd := exec.Command(path, "-D", filepath.Join(dir, "data"), "-c", "listen_addresses=", "-c", "unix_socket_directories="+filepath.Join(dir, "run"))
	cmd.Dir, cmd.SysProcAttr = "/", asOwner(t, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
		if strings.Contains(string(text), "ready") {
			return cmd.Process.Pid
		}
		if time.Now().After(until) {
			t.Fatal("postgres does not start")
		}
	}
}

// asOwner runs a process as the owner of dir's data.
func asOwner(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
}

// listing is every file beneath dir with its size and time.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			b.WriteString(path + " " + strconv.FormatInt(info.Size(), 10) + " " + info.ModTime().Format(time.RFC3339Nano) + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
