//go:build unix

package pgserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	usersGrace = 3 * time.Second
	socketName = ".s.PGSQL.5432"
)

// state is what a launcher tells the processes that attach.
type state struct {
	Launcher   int       `json:"launcher"`
	Postmaster int       `json:"postmaster"`
	Socket     string    `json:"socket"`
	Version    string    `json:"version"`
	Transient  bool      `json:"transient,omitempty"`
	StartedAt  time.Time `json:"startedAt"`
}

func statePath(dir string) string { return filepath.Join(dir, "state.json") }

func removeState(dir string) { _ = os.Remove(statePath(dir)) }

func (s state) write(dir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next := statePath(dir) + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	return os.Rename(next, statePath(dir))
}

func readState(dir string) (s state, err error) {
	text, err := os.ReadFile(statePath(dir))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// guests keeps attached servers reachable until Stop. A caller may keep the DSN
// only, and the collector would then close the file whose lock says that we are here.
var guests sync.Map

// Attach returns the server that another process runs on dir, waiting for one
// that is just coming up. While attached, an orderly Stop of that process waits
// a moment for this one. ErrNotRunning when nobody holds the directory.
func Attach(dir string) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("attach to private PostgreSQL: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("attach to private PostgreSQL: %w", err)
	}
	defer func() { _ = lock.Close() }()
	users, err := openLockFile(filepath.Join(dir, "users"))
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(startTimeout + fastTimeout); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if tryLock(lock, syscall.LOCK_SH) {
			_ = users.Close()
			return nil, ErrNotRunning
		}
		if !tryLock(users, syscall.LOCK_SH) {
			continue // on its way out
		}
		if s, err := readState(dir); err == nil && answers(s.Socket) {
			attached := &Server{state: s, dir: dir, users: users}
			guests.Store(attached, true)
			return attached, nil
		}
		unlock(users)
	}
	_ = users.Close()
	return nil, fmt.Errorf("attach to private PostgreSQL in %s: its holder does not bring it up", dir)
}

func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", filepath.Join(socket, socketName), time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// acquireLock takes the directory for this process. A server that is up refuses
// us after a moment (an attaching process touches the lock too, to see whether it
// is held). One that is coming up or going down, or is held by one command only,
// is waited for.
func acquireLock(ctx context.Context, dir string) (*os.File, error) {
	lock, err := openLockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	const moment = 250 * time.Millisecond
	began := time.Now()
	var upSince time.Time
	for !tryLock(lock, syscall.LOCK_EX) {
		holder, err := readState(dir)
		up := err == nil && !holder.Transient
		if !up {
			upSince = time.Time{}
		} else if upSince.IsZero() {
			upSince = time.Now()
		}
		if up && time.Since(upSince) > moment || time.Since(began) > startTimeout {
			_ = lock.Close()
			return nil, fmt.Errorf("%w (process %d)", ErrRunning, holder.Launcher)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			_ = lock.Close()
			return nil, ctx.Err()
		}
	}
	return lock, nil
}

func openLockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return f, nil
}

func tryLock(f *os.File, how int) bool {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err == nil
		}
	}
}

func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// waitForUsers takes the users' lock alone, or gives up after grace.
func waitForUsers(users *os.File, grace time.Duration) {
	for until := time.Now().Add(grace); !tryLock(users, syscall.LOCK_EX) && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
}

const shortPrefix = "enrichd-pg-"

// socketDir returns a directory for the socket, owned by the server's user: run
// beneath dir, or a short one when the socket's path would not fit the system's
// limit (103 bytes on macOS, 107 on Linux).
func socketDir(dir string, owner account) (string, error) {
	socket := filepath.Join(dir, "run")
	if len(filepath.Join(socket, socketName)) < socketLimit && !strings.ContainsAny(socket, `,"'`) {
		if err := os.MkdirAll(socket, 0o700); err != nil {
			return "", fmt.Errorf("socket directory: %w", err)
		}
	} else {
		base := os.TempDir()
		if len(base) > 60 {
			base = "/tmp"
		}
		var err error
		if socket, err = os.MkdirTemp(base, shortPrefix); err != nil {
			return "", fmt.Errorf("socket directory: %w", err)
		}
	}
	if err := os.Chown(socket, owner.uid, owner.gid); err != nil {
		return "", fmt.Errorf("socket directory: %w", err)
	}
	return socket, nil
}

// removeShortSocketDir removes a socket directory that lies outside dir.
func removeShortSocketDir(socket, dir string) {
	if !strings.HasPrefix(filepath.Base(socket), shortPrefix) || filepath.Dir(socket) == dir {
		return
	}
	_ = os.Remove(filepath.Join(socket, socketName))
	_ = os.Remove(filepath.Join(socket, socketName+".lock"))
	_ = os.Remove(socket)
}
