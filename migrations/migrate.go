package migrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/enrichd/enrichd/internal/pg"
)

// table records which of ours have run; River keeps its own.
const table = "schema_migrations"

// Step is one migration and whether this database has it.
type Step struct {
	// Name is "0001_access" for ours, "river_006" for River's.
	Name    string
	Applied bool
	// AppliedAt is zero for a pending step, and for River's.
	AppliedAt time.Time
}

// Up brings the database of dsn to the schema of this program: our migrations,
// then River's, under one advisory lock of the session, so that processes which
// start together take turns and a killed one leaves no lock behind. Each of ours
// is committed together with its record. Nothing is changed when all is there.
func Up(ctx context.Context, dsn string, log *slog.Logger, opts ...pg.Option) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if pending, err := Pending(ctx, dsn, opts...); err == nil && len(pending) == 0 {
		return nil
	}
	unlock, err := pg.AdvisoryLock(ctx, dsn, "migrations", opts...)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer unlock()
	if err := upOurs(ctx, dsn, log, opts); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := upRivers(ctx, dsn, log, opts); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Status lists every step this program knows, in order.
func Status(ctx context.Context, dsn string, opts ...pg.Option) ([]Step, error) {
	db, err := pg.Open(dsn, 1, opts...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	return statusOn(ctx, db)
}

func statusOn(ctx context.Context, db *bun.DB) ([]Step, error) {
	applied, err := appliedOurs(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("migration status: %w", err)
	}
	var steps []Step
	names, err := names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		at, ok := applied[name[:strings.IndexByte(name, '_')]]
		steps = append(steps, Step{Name: name, Applied: ok, AppliedAt: at})
	}
	rivers, err := statusRiver(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("migration status: %w", err)
	}
	return append(steps, rivers...), nil
}

// Pending lists the names of the steps that Up would run.
func Pending(ctx context.Context, dsn string, opts ...pg.Option) ([]string, error) {
	return pendingOf(Status(ctx, dsn, opts...))
}

// PendingOn is Pending over a database that is open: what this program knows and
// the database lacks, ours and River's. A database that is ahead of the program lacks nothing.
func PendingOn(ctx context.Context, db *bun.DB) ([]string, error) {
	return pendingOf(statusOn(ctx, db))
}

func pendingOf(steps []Step, err error) (pending []string, _ error) {
	for _, s := range steps {
		if !s.Applied {
			pending = append(pending, s.Name)
		}
	}
	return pending, err
}

// Fingerprint is a short hash of every migration file and of River's, for naming
// a database that was made from exactly these.
func Fingerprint() (string, error) {
	sum := sha256.New()
	names, err := fs.Glob(Files, "*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := Files.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s\n%d\n%s\n", name, len(text), text)
	}
	rivers, err := riverSteps()
	if err != nil {
		return "", err
	}
	for _, m := range rivers {
		fmt.Fprintf(sum, "river %d\n%s\n", m.Version, m.SQLUp)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// names are our migrations without their ending, in order.
func names() ([]string, error) {
	files, err := fs.Glob(Files, "*.up.sql")
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(strings.TrimSuffix(file, ".up.sql"), ".tx")
	}
	return files, nil
}

func upOurs(ctx context.Context, dsn string, log *slog.Logger, opts []pg.Option) error {
	// Two connections: one in the migration's transaction, one beside it for the record.
	db, err := pg.Open(dsn, 2, append(opts, pg.StatementTimeout(0))...)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	found := migrate.NewMigrations()
	if err := found.Discover(Files); err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	migrator := migrate.NewMigrator(db, found,
		migrate.WithTableName(table),
		migrate.WithLocksTableName(table+"_locks"),
		migrate.WithMarkAppliedOnSuccess(true),
		migrate.WithUpsert(true),
		// Bun records a step after its transaction. A process killed between the two
		// would run the step again, so the record is made inside; Bun finds it there.
		migrate.AfterMigration(func(ctx context.Context, tx bun.IConn, m *migrate.Migration) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+table+" (name, group_id) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", m.Name, m.GroupID)
			return err
		}),
	)
	if err := migrator.Init(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	began := time.Now()
	group, err := migrator.Migrate(ctx)
	if err != nil {
		return err
	}
	if n := len(group.Migrations); n > 0 {
		log.Info("migrated", "steps", n, "last", group.Migrations[n-1].String(), "in", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

func upRivers(ctx context.Context, dsn string, log *slog.Logger, opts []pg.Option) error {
	pool, err := pg.OpenPool(ctx, dsn, 2, opts...)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("river: %w", err)
	}
	result, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("river: %w", err)
	}
	if n := len(result.Versions); n > 0 {
		log.Info("migrated the job queue", "steps", n)
	}
	return nil
}

// appliedOurs maps the number of each applied migration to when it ran.
func appliedOurs(ctx context.Context, db *bun.DB) (map[string]time.Time, error) {
	var rows []struct {
		Name       string
		MigratedAt time.Time
	}
	if ok, err := exists(ctx, db, table); err != nil || !ok {
		return nil, err
	}
	if err := db.NewSelect().Table(table).Column("name", "migrated_at").Scan(ctx, &rows); err != nil {
		return nil, err
	}
	applied := make(map[string]time.Time, len(rows))
	for _, row := range rows {
		applied[row.Name] = row.MigratedAt
	}
	return applied, nil
}

func statusRiver(ctx context.Context, db *bun.DB) ([]Step, error) {
	known, err := riverSteps()
	if err != nil {
		return nil, err
	}
	var versions []int
	if ok, err := exists(ctx, db, "river_migration"); err != nil {
		return nil, err
	} else if ok {
		if err := db.NewSelect().Table("river_migration").Column("version").Scan(ctx, &versions); err != nil {
			return nil, err
		}
	}
	applied := make(map[int]bool, len(versions))
	for _, v := range versions {
		applied[v] = true
	}
	var steps []Step
	for _, m := range known {
		steps = append(steps, Step{Name: fmt.Sprintf("river_%03d", m.Version), Applied: applied[m.Version]})
	}
	return steps, nil
}

func riverSteps() ([]rivermigrate.Migration, error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return nil, fmt.Errorf("river's migrations: %w", err)
	}
	steps := migrator.AllVersions()
	if len(steps) == 0 {
		return nil, errors.New("river brings no migrations")
	}
	return steps, nil
}

func exists(ctx context.Context, db *bun.DB, table string) (bool, error) {
	var ok bool
	err := db.NewSelect().ColumnExpr("to_regclass(?) IS NOT NULL", table).Scan(ctx, &ok)
	return ok, err
}
