//go:build unix

// Package pgserver runs a private PostgreSQL for those who have none: it finds
// the binaries, makes a data directory, starts the server for as long as this
// process lives, and lets other processes of ours attach to it.
//
// # Who may connect
//
// The server listens on a unix socket only, in a directory of mode 0700, and
// authenticates by the kernel's word on who is calling ("peer"): the user that
// the server runs as, the user that started it, and root. There is no password
// to leak and no port that another local user could reach.
//
// # As root
//
// PostgreSQL refuses to run as root, so a root launcher drops the server to the
// user "postgres", else "nobody", who owns the data; files that the server only
// reads stay root's, so that a compromised server cannot redirect a root write.
//
// # Its life
//
// A lock file (flock, so it dies with its holder) makes the launcher unique in
// its directory. On Linux the kernel interrupts the server when the launcher
// dies; elsewhere, and whenever that was not enough, the next launcher finds the
// old server through its pid file, stops it and starts its own.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// User is the role that owns everything in the private server.
	User = "enrichd"
	// Database is the database that Start makes sure of, and DSN("") names.
	Database = "enrichd"

	startTimeout = 60 * time.Second
	fastTimeout  = 20 * time.Second
	socketLimit  = 100
)

// ErrRunning says that another process holds the server of this directory.
var ErrRunning = errors.New("a private PostgreSQL already runs on this directory")

// ErrNotRunning says that no process holds a server on this directory.
var ErrNotRunning = errors.New("no private PostgreSQL runs on this directory")

// Config says which server to run. Only Dir is required.
type Config struct {
	// Dir belongs to this package alone: data, socket, log, lock. It is created
	// when missing. DefaultDir is a good one.
	Dir string
	// Bin is the directory of the postgres binaries (ENRICHD_POSTGRES_BIN); empty searches.
	Bin string
	// Fast gives up safety for speed, for tests: nothing is flushed, so the data is
	// made anew after any end but an orderly Stop, and after a change of version.
	Fast bool
	// Transient is set by a holder that lives for one command: whoever starts a
	// server on the same directory meanwhile waits for it instead of being refused.
	Transient bool
	// Settings override the server's parameters.
	Settings map[string]string
	// Log hears what takes time; nil is silent.
	Log *slog.Logger
}

// Server is a running private PostgreSQL: started by this process, or attached to.
type Server struct {
	state state
	dir   string
	log   *slog.Logger
	users *os.File
	fast  bool

	// The rest is the launcher's only.
	lock *os.File
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs the private server of c.Dir until Stop, or until this process ends.
// ctx bounds the start only. Errors: ErrRunning, NoBinaries, OtherVersion, or
// what the system said.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("private PostgreSQL: %w", err)
	}
	s := &Server{dir: dir, log: c.Log, done: make(chan struct{})}
	if err := s.start(ctx, c); err != nil {
		s.release()
		return nil, fmt.Errorf("private PostgreSQL in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, c Config) error {
	began := time.Now()
	owner, err := accountFor(s.path("data"))
	if err != nil {
		return err
	}
	// Before anything is created or touched: there must be binaries, of the right version.
	if _, err := chooseBinaries(c.Bin, s.path("data"), c.Fast); err != nil {
		return err
	}
	if err := makeReachable(s.dir, owner); err != nil {
		return err
	}
	if s.lock, err = acquireLock(ctx, s.dir); err != nil {
		return err
	}
	if s.users, err = openLockFile(s.path("users")); err != nil {
		return err
	}
	if err := s.clearAway(ctx); err != nil {
		return err
	}
	// Looked at again under the lock: somebody may have just initialised it.
	binaries, err := chooseBinaries(c.Bin, s.path("data"), c.Fast)
	if err != nil {
		return err
	}
	if s.fast = c.Fast; s.fast {
		if err := s.discardUnclean(binaries); err != nil {
			return err
		}
	}
	fresh, err := s.initialise(ctx, binaries, owner)
	if err != nil {
		return err
	}
	initialised := time.Since(began)
	socket, err := socketDir(s.dir, owner)
	if err != nil {
		return err
	}
	s.state = state{
		Launcher: os.Getpid(), Socket: socket, Version: binaries.version, Transient: c.Transient, StartedAt: began.UTC(),
	}
	if err := s.launch(ctx, c, binaries, owner); err != nil {
		return err
	}
	if err := s.ensureDatabase(ctx); err != nil {
		return err
	}
	if err := s.state.write(s.dir); err != nil {
		return err
	}
	s.log.Info("private PostgreSQL is up", "version", binaries.version, "dir", s.dir, "fresh", fresh,
		"initialised_in", initialised.Round(time.Millisecond), "up_in", time.Since(began).Round(time.Millisecond))
	return nil
}

// DSN returns the URL of one database of this server, as libpq, pgx and pg.Open
// read it; "" is Database. It holds no secret.
func (s *Server) DSN(database string) string {
	if database == "" {
		database = Database
	}
	u := url.URL{Scheme: "postgres", User: url.User(User), Path: "/" + database,
		RawQuery: url.Values{"host": {s.state.Socket}, "port": {"5432"}}.Encode()}
	return u.String()
}

// Version is the server's, as "15.18".
func (s *Server) Version() string { return s.state.Version }

// Attached reports whether another process runs the server.
func (s *Server) Attached() bool { return s.lock == nil }

// Done is closed when the server that this process runs has ended, whether
// stopped or by itself; nil, which never is ready, for an attached server.
func (s *Server) Done() <-chan struct{} {
	if s.Attached() {
		return nil
	}
	return s.done
}

// Stop stops the server with a fast shutdown (sessions are ended, data is
// flushed) after giving attached processes a moment to leave. On an attached
// server it only detaches. Calling it again does nothing.
func (s *Server) Stop() error {
	if s.users == nil {
		return nil
	}
	defer s.release()
	if s.Attached() {
		guests.Delete(s)
		return nil
	}
	// Held through the shutdown, so that nobody attaches to a server on its way out.
	waitForUsers(s.users, usersGrace)
	removeState(s.dir)
	began := time.Now()
	if err := s.shutDown(); err != nil {
		return fmt.Errorf("stop private PostgreSQL in %s: %w", s.dir, err)
	}
	removeShortSocketDir(s.state.Socket, s.dir)
	if s.fast && s.err == nil {
		_ = os.WriteFile(s.path(cleanMark), nil, 0o600) // without it the data is made anew, which is safe
	}
	s.log.Info("private PostgreSQL stopped", "dir", s.dir, "stopped_in", time.Since(began).Round(time.Millisecond))
	return nil
}

// Idle reports whether no attached process uses the server right now.
func (s *Server) Idle() bool {
	if !tryLock(s.users, syscall.LOCK_EX) {
		return false
	}
	unlock(s.users)
	return true
}

// StopIfIdle stops the server unless an attached process uses it, with no moment
// between the look and the stop in which one could come.
func (s *Server) StopIfIdle() (stopped bool, err error) {
	if !tryLock(s.users, syscall.LOCK_EX) {
		return false, nil
	}
	return true, s.Stop()
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// release gives the locks back, and ends a server that did not come up.
func (s *Server) release() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.shutDown()
	}
	for _, f := range []*os.File{s.users, s.lock} {
		if f != nil {
			_ = f.Close()
		}
	}
	s.users = nil
}

// parameters are the server's, beneath c.Settings.
func (s *Server) parameters(c Config) []string {
	values := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": s.state.Socket,
		"unix_socket_permissions": "0700",
		"port":                    "5432",
		"hba_file":                s.path("pg_hba.conf"),
		"ident_file":              s.path("pg_ident.conf"),
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"max_wal_size":            "1GB",
		"checkpoint_timeout":      "15min",
		"wal_compression":         "on",
		"jit":                     "off", // every statement here is shorter than compiling one
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_min_messages":        "warning",
		"log_line_prefix":         "%m [%p] %d ",
		"log_checkpoints":         "off",
		"cluster_name":            "enrichd",
	}
	if c.Fast {
		for name, value := range map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"autovacuum": "off", "wal_level": "minimal", "max_wal_senders": "0", "max_connections": "400",
		} {
			values[name] = value
		}
	}
	for name, value := range c.Settings {
		values[name] = value
	}
	var args []string
	for name, value := range values {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

func (s *Server) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("first connection: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", Database).Scan(&exists); err != nil {
		return fmt.Errorf("look for database %s: %w", Database, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{Database}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", Database, err)
	}
	return nil
}

// environment keeps what the caller's shell says about PostgreSQL and language
// away from the server.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "PG") || strings.HasPrefix(entry, "LC_") ||
			strings.HasPrefix(entry, "LANG") || strings.HasPrefix(entry, "ENRICHD_") || strings.HasPrefix(entry, "DATABASE_URL=")
	})
	return append(env, "LC_ALL=C")
}
