package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/enrichd/enrichd/internal/config"
	"github.com/enrichd/enrichd/internal/pgserver"
)

// databaseName is the one database of a private server.
const databaseName = "enrichd"

// holdTime says how long a command needs the private server.
type holdTime bool

const (
	whileServing holdTime = false // as long as the service runs: refused when another process holds the server
	forCommand   holdTime = true  // for one command: attaches to the server that a running service holds
)

// openDatabase gives the DSN to use, and what to call when done with it.
// Without DATABASE_URL that is a private server, started here unless a running
// service holds it already.
func openDatabase(ctx context.Context, c *config.Config, hold holdTime, log *slog.Logger) (dsn string, stop func() error, err error) {
	if c.DatabaseURL != "" {
		return string(c.DatabaseURL), func() error { return nil }, nil
	}
	dir := pgserver.DefaultDir()
	if c.StateDir != "" {
		dir = filepath.Join(c.StateDir, "postgres") // the folder belongs to the server alone
	}
	if hold == forCommand {
		running, err := pgserver.Attach(dir)
		if err == nil {
			return running.DSN(databaseName), running.Stop, nil
		}
		if !errors.Is(err, pgserver.ErrNotRunning) {
			return "", nil, fmt.Errorf("attach to the private PostgreSQL in %s: %w", dir, err)
		}
	}
	server, err := pgserver.Start(ctx, pgserver.Config{
		Dir: dir, Bin: c.PostgresBin, Transient: bool(hold), Log: log,
	})
	if errors.Is(err, pgserver.ErrRunning) && hold == forCommand {
		// A service came up between the two looks.
		running, attachErr := pgserver.Attach(dir)
		if attachErr == nil {
			return running.DSN(databaseName), running.Stop, nil
		}
	}
	if errors.Is(err, pgserver.ErrRunning) {
		return "", nil, fmt.Errorf("another enrichd uses the private PostgreSQL in %s: stop it, or give this one its own ENRICHD_STATE_DIR, or let both use one DATABASE_URL", dir)
	}
	if err != nil {
		return "", nil, err
	}
	return server.DSN(databaseName), server.Stop, nil
}
