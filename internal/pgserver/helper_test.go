//go:build unix

package pgserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/enrichd/enrichd/internal/pgserver"
)

// The test binary plays other processes of ours: it starts a server and holds it
// until its input closes, or does one thing with a running one.
const (
	roleEnv = "PGSERVER_TEST_ROLE"
	dirEnv  = "PGSERVER_TEST_DIR"
)

func TestMain(m *testing.M) {
	role, dir := os.Getenv(roleEnv), os.Getenv(dirEnv)
	if role == "" {
		code := m.Run()
		for _, dir := range shared.dirs {
			_ = os.RemoveAll(dir)
		}
		os.Exit(code)
	}
	if err := play(role, dir); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func play(role, dir string) error {
	ctx := context.Background()
	switch role {
	case "hold", "hold-transient":
		s, err := pgserver.Start(ctx, pgserver.Config{Dir: dir, Transient: role == "hold-transient"})
		if err != nil {
			return err
		}
		fmt.Println("ready", s.DSN(""))
		_, _ = io.Copy(io.Discard, os.Stdin)
		if err := s.Stop(); err != nil {
			return err
		}
		fmt.Println("stopped")
	case "attach":
		s, err := pgserver.Attach(dir)
		if err != nil {
			return err
		}
		if err := query(ctx, s.DSN("")); err != nil {
			return err
		}
		fmt.Println("ready", s.DSN(""))
		_, _ = io.Copy(io.Discard, os.Stdin)
		return s.Stop()
	case "connect": // dir is a DSN
		if err := query(ctx, dir); err != nil {
			return err
		}
		fmt.Println("ready")
	}
	return nil
}

func query(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var one int
	return conn.QueryRow(ctx, "SELECT 1").Scan(&one)
}

// shared are directories that outlive the test that made them.
var shared struct {
	sync.Mutex
	dirs []string
}

func sharedDir() (string, error) {
	dir, err := os.MkdirTemp("", "pgserver-test-")
	if err != nil {
		return "", err
	}
	shared.Lock()
	defer shared.Unlock()
	shared.dirs = append(shared.dirs, dir)
	return dir, os.Chmod(dir, 0o755)
}

// binary copies the test binary to where every user may run it.
var binary = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := sharedDir()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "helper")
	return path, os.WriteFile(path, text, 0o755)
})

// process is another process of ours.
type process struct {
	*exec.Cmd
	in    io.Closer
	out   *bufio.Reader
	lines chan string
}

// as starts the helper in a role, as another user when name is not "".
func as(t *testing.T, name, role, dir string, env ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir), env...)
	cmd.Dir = "/"
	if name != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t, name)}
		cmd.Env = append(cmd.Env, "HOME=/nonexistent", "USER="+name)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: cmd, in: in, out: bufio.NewReader(out), lines: make(chan string, 10)}
	go func() {
		defer close(p.lines)
		for {
			line, err := p.out.ReadString('\n')
			if err != nil {
				return
			}
			p.lines <- strings.TrimSpace(line)
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		timer := time.AfterFunc(40*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
	})
	return p
}

// says returns the helper's next line.
func (p *process) says(t *testing.T) string {
	t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-time.After(60 * time.Second):
		t.Fatal("the helper says nothing")
		return ""
	}
}

// ready waits for the helper's server and returns its DSN.
func (p *process) ready(t *testing.T) string {
	t.Helper()
	line := p.says(t)
	dsn, ok := strings.CutPrefix(line, "ready")
	if !ok {
		t.Fatalf("the helper says %q", line)
	}
	return strings.TrimSpace(dsn)
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, _ = p.Process.Wait()
}

func credential(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("there is no user %s here: %v", name, err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// stateDir returns a directory for a server, as a newcomer would choose one.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "postgres")
}

// seed is a data directory made once, since initdb takes a second.
var seed = sync.OnceValues(func() (string, error) {
	dir, err := sharedDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "postgres")
	s, err := pgserver.Start(context.Background(), pgserver.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	return dir, s.Stop()
})

// seeded returns a directory in which a server has run before.
func seeded(t *testing.T) string {
	t.Helper()
	from, err := seed()
	if err != nil {
		t.Fatal(err)
	}
	dir := stateDir(t)
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("cp", "-a", from, dir).Run(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start runs a server in this process and stops it with the test.
func start(t *testing.T, c pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exec1(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, dsn, sql string) (s string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func gone(t *testing.T, pid int, within time.Duration) {
	t.Helper()
	for until := time.Now().Add(within); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("process %d still lives after %s", pid, within)
		}
	}
}
