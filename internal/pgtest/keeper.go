//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/enrichd/enrichd/internal/pgserver"
)

// The shared server belongs to no test process, since go test runs one per
// package, in parallel, and kills them as it likes. The first process that finds
// none starts a keeper: this same binary again, detached, which holds the server
// and ends it after nobody has been attached for a while. Being attached is a
// lock on a file, so a killed process lets go as surely as one that ends.
const (
	keeperEnv = "ENRICHD_PGTEST_KEEPER"
	idleLimit = 20 * time.Second
)

func init() {
	if dir := os.Getenv(keeperEnv); dir != "" {
		if err := keep(dir); err != nil && !errors.Is(err, pgserver.ErrRunning) {
			fmt.Fprintln(os.Stderr, "keeper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// home is the shared server's directory: this user's, on this machine's temporary files.
func home() (string, error) {
	dir := filepath.Join(os.TempDir(), "enrichd-pgtest-"+strconv.Itoa(os.Geteuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if stat := info.Sys().(*syscall.Stat_t); !info.IsDir() || int(stat.Uid) != os.Geteuid() {
		return "", fmt.Errorf("%s belongs to somebody else", dir)
	}
	return dir, nil
}

// attach joins the shared server, starting its keeper when there is none. The
// attachment lasts as long as this process.
func attach(ctx context.Context) (*pgserver.Server, error) {
	dir, err := home()
	if err != nil {
		return nil, fmt.Errorf("shared test server: %w", err)
	}
	server, err := pgserver.Attach(filepath.Join(dir, "server"))
	if !errors.Is(err, pgserver.ErrNotRunning) {
		return server, err
	}
	// One process at a time starts a keeper; the others then find it.
	gate, err := os.OpenFile(filepath.Join(dir, "gate"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("shared test server: %w", err)
	}
	defer func() { _ = gate.Close() }()
	if err := syscall.Flock(int(gate.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("shared test server: %w", err)
	}
	return awaitKeeper(ctx, dir)
}

func awaitKeeper(ctx context.Context, dir string) (*pgserver.Server, error) {
	keeper := 0
	for {
		server, err := pgserver.Attach(filepath.Join(dir, "server"))
		if !errors.Is(err, pgserver.ErrNotRunning) {
			return server, err
		}
		if keeper == 0 {
			if keeper, err = startKeeper(dir); err != nil {
				return nil, fmt.Errorf("start the shared test server: %w", err)
			}
		}
		var status syscall.WaitStatus
		if ended, err := syscall.Wait4(keeper, &status, syscall.WNOHANG, nil); err == nil && ended == keeper {
			text, _ := os.ReadFile(filepath.Join(dir, "keeper.log"))
			return nil, fmt.Errorf("the shared test server did not start: %s", strings.TrimSpace(string(text)))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the shared test server did not start: %w", ctx.Err())
		}
	}
}

// startKeeper returns the keeper's process. Nothing here waits for it: it
// outlives us, and a goroutine that did would look like a leak of the tests.
func startKeeper(dir string) (pid int, err error) {
	binary, err := os.Executable()
	if err != nil {
		return 0, err
	}
	// Its output goes to a file: go test waits for whoever holds its pipe.
	log, err := os.Create(filepath.Join(dir, "keeper.log"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), keeperEnv+"="+dir)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release()
}

// keep is the keeper's whole life.
func keep(dir string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	server, err := pgserver.Start(ctx, pgserver.Config{
		Dir: filepath.Join(dir, "server"), Bin: os.Getenv("ENRICHD_POSTGRES_BIN"), Fast: true, Log: log,
	})
	if err != nil {
		return err
	}
	if err := sweep(ctx, server.DSN("postgres")); err != nil {
		log.Warn("sweep", "error", err)
	}

	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	lastUsed := time.Now()
	for {
		select {
		case <-server.Done():
			return errors.New("postgres ended by itself")
		case <-stop:
			return server.Stop()
		case <-tick.C:
			if !server.Idle() {
				lastUsed = time.Now()
			}
			if time.Since(lastUsed) < idleLimit {
				continue
			}
			if stopped, err := server.StopIfIdle(); stopped {
				return err
			}
		}
	}
}
