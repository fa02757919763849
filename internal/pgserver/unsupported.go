//go:build !unix

// Package pgserver runs a private PostgreSQL; on this system it only says that it cannot.
package pgserver

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
)

// User and Database are the names used by the private server elsewhere.
const (
	User     = "enrichd"
	Database = "enrichd"
)

var (
	// ErrRunning never happens here.
	ErrRunning = errors.New("a private PostgreSQL already runs on this directory")
	// ErrNotRunning is what Attach finds here.
	ErrNotRunning = errors.New("no private PostgreSQL runs on this directory")
)

var errUnsupported = errors.New("a private PostgreSQL needs unix sockets, which this system lacks; set DATABASE_URL to a running PostgreSQL")

// Config is as on other systems.
type Config struct {
	Dir       string
	Bin       string
	Fast      bool
	Transient bool
	Settings  map[string]string
	Log       *slog.Logger
}

// Server is never made on this system.
type Server struct{}

// Start always fails and says what to do instead.
func Start(context.Context, Config) (*Server, error) { return nil, errUnsupported }

// Attach finds nothing.
func Attach(string) (*Server, error) { return nil, ErrNotRunning }

// DefaultDir is the user's configuration directory.
func DefaultDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "enrichd", "postgres")
}

// DSN is empty.
func (*Server) DSN(string) string { return "" }

// Version is empty.
func (*Server) Version() string { return "" }

// Attached is false.
func (*Server) Attached() bool { return false }

// Done never is ready.
func (*Server) Done() <-chan struct{} { return nil }

// Idle is true.
func (*Server) Idle() bool { return true }

// StopIfIdle does nothing.
func (*Server) StopIfIdle() (bool, error) { return true, nil }

// Stop does nothing.
func (*Server) Stop() error { return nil }
