//go:build unix

package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// initialise makes the data directory unless there is one. initdb works under a
// temporary name, so that a half-made directory is never taken for a whole one.
func (s *Server) initialise(ctx context.Context, b binaries, owner account) (fresh bool, err error) {
	if err := writeAuthentication(s.dir, owner); err != nil {
		return false, err
	}
	data := s.path("data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return false, nil
	}
	s.log.Info("making a private PostgreSQL", "dir", s.dir, "binaries", b.dir)
	making, err := os.MkdirTemp(s.dir, "making-")
	if err != nil {
		return false, fmt.Errorf("data directory: %w", err)
	}
	if err := os.Chown(making, owner.uid, owner.gid); err != nil {
		return false, fmt.Errorf("data directory: %w", err)
	}
	// Without sync for speed; --sync-only flushes the whole directory once.
	for _, args := range [][]string{
		{"--pgdata=" + making, "--username=" + User, "--auth=reject", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"},
		{"--pgdata=" + making, "--sync-only"},
	} {
		if err := s.run(ctx, owner, filepath.Join(b.dir, "initdb"), args...); err != nil {
			_ = os.RemoveAll(making)
			return false, err
		}
	}
	// An empty data directory may stand there, made by hand.
	if err := os.Remove(data); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("%s is not a data directory and not empty: %w", data, err)
	}
	if err := os.Rename(making, data); err != nil {
		return false, fmt.Errorf("data directory: %w", err)
	}
	return true, syncDir(s.dir)
}

const cleanMark = "clean"

// discardUnclean removes data that was written without flushing and not stopped
// in order, or that these binaries cannot read.
func (s *Server) discardUnclean(b binaries) error {
	_, err := os.Stat(s.path(cleanMark))
	clean := err == nil
	_ = os.Remove(s.path(cleanMark))
	if clean && dataVersion(s.path("data")) == strconv.Itoa(b.major) {
		return nil
	}
	if err := os.RemoveAll(s.path("data")); err != nil {
		return fmt.Errorf("discard unclean data: %w", err)
	}
	return nil
}

func (s *Server) run(ctx context.Context, owner account, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir, cmd.Env = s.dir, environment()
	cmd.SysProcAttr = owner.process()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// launch starts postgres and waits until it takes connections.
func (s *Server) launch(ctx context.Context, c Config, b binaries, owner account) error {
	log, err := openLog(s.path("postgres.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	began, _ := log.Seek(0, 2)

	cmd := exec.Command(filepath.Join(b.dir, "postgres"), append([]string{"-D", s.path("data")}, s.parameters(c)...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir, cmd.Env = s.dir, environment()
	cmd.SysProcAttr = owner.process()
	dieWithParent(cmd.SysProcAttr)

	started := make(chan error, 1)
	go func() {
		// The kernel's parent-death signal follows the thread that started the
		// server, so this goroutine keeps its thread for as long as the server lives.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.err = cmd.Wait()
		close(s.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.cmd = cmd
	s.state.Postmaster = cmd.Process.Pid

	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	for {
		if pid, status := readPIDFile(s.path("data")); pid == cmd.Process.Pid && status == "ready" {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			s.cmd = nil
			return fmt.Errorf("postgres ended at once (%w): %s", s.err, logSince(s.path("postgres.log"), began))
		case <-timeout.C:
			return fmt.Errorf("postgres is not ready after %s: %s", startTimeout, logSince(s.path("postgres.log"), began))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// shutDown asks for a fast shutdown, then for an immediate one.
func (s *Server) shutDown() error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	for _, step := range []struct {
		signal os.Signal
		wait   time.Duration
	}{{syscall.SIGINT, fastTimeout}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		_ = cmd.Process.Signal(step.signal)
		select {
		case <-s.done:
			return nil
		case <-time.After(step.wait):
			s.log.Warn("private PostgreSQL is slow to stop", "signal", step.signal.String(), "waited", step.wait)
		}
	}
	return errors.New("postgres does not end")
}

// clearAway removes what a killed launcher left: its state, half-made
// directories, a socket directory, and a server that outlived it.
func (s *Server) clearAway(ctx context.Context) error {
	if old, err := readState(s.dir); err == nil {
		defer removeShortSocketDir(old.Socket, s.dir)
	}
	removeState(s.dir)
	if halves, err := filepath.Glob(s.path("making-*")); err == nil {
		for _, half := range halves {
			_ = os.RemoveAll(half)
		}
	}
	return s.stopOrphan(ctx)
}

// stopOrphan ends the server that the pid file names, if it is one on this very
// directory, and removes a pid file that names anything else: PostgreSQL itself
// would take any living process of its user with that number for a server.
func (s *Server) stopOrphan(ctx context.Context) error {
	data := s.path("data")
	pid, _ := readPIDFile(data)
	if pid == 0 {
		return nil
	}
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL}
	waits := []time.Duration{fastTimeout, 5 * time.Second, 5 * time.Second}
	for i, signal := range signals {
		if !serves(pid, data) {
			break
		}
		s.log.Warn("stopping the PostgreSQL that a killed process left behind", "pid", pid, "signal", signal.String())
		_ = syscall.Kill(pid, signal)
		for until := time.Now().Add(waits[i]); serves(pid, data) && time.Now().Before(until); {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if serves(pid, data) {
		return fmt.Errorf("the old postgres, process %d, does not end", pid)
	}
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("stale pid file: %w", err)
	}
	return nil
}

// readPIDFile returns the process and the status of postmaster.pid; zero when there is none.
// Line 1 is the process, line 8 its status (PostgreSQL, miscadmin.h).
func readPIDFile(data string) (pid int, status string) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, ""
	}
	lines := strings.Split(string(text), "\n")
	pid, _ = strconv.Atoi(strings.TrimSpace(lines[0]))
	if pid < 0 { // a single-user backend writes its number negated
		pid = -pid
	}
	if len(lines) >= 8 {
		status = strings.TrimSpace(lines[7])
	}
	return pid, status
}

const logKept = 8 << 20

// openLog appends to the server's log; a log that has grown large starts afresh, its predecessor kept once.
func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > logKept {
		_ = os.Rename(path, path+".1")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("server log: %w", err)
	}
	return f, nil
}

// logSince returns the end of what the server wrote after offset.
func logSince(path string, offset int64) string {
	text, err := os.ReadFile(path)
	if err != nil || int64(len(text)) <= offset {
		return "see " + path
	}
	text = text[offset:]
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return strings.TrimSpace(string(text))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
