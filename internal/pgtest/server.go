package pgtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/migrations"
)

const (
	templatePrefix = "enrichd_template_"
	makingInfix    = "_making_"
	clonePrefix    = "enrichd_test_"
)

// server is where this process makes its databases.
type server struct {
	base string
	// idle connections to it. Not a pool, whose goroutines would look like leaks of the tests.
	idle chan *pgx.Conn
	// modern servers copy files only when told to; older ones know nothing else.
	modern bool

	once         sync.Once
	templateName string
	templateErr  error
}

var shared struct {
	sync.Mutex
	server *server
}

// theServer is this process's connection to the shared server. A failure is not
// remembered, so that a later test tries again.
func theServer(ctx context.Context) (*server, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		return shared.server, nil
	}
	base := os.Getenv("ENRICHD_TEST_DATABASE_URL")
	if base == "" {
		private, err := attach(ctx)
		if err != nil {
			return nil, err
		}
		base = private.DSN("postgres")
	}
	s := &server{base: base, idle: make(chan *pgx.Conn, 4)}
	var version int
	err := s.use(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version)
	})
	if err != nil {
		return nil, err
	}
	s.modern = version >= 150000
	shared.server = s
	return s, nil
}

// use runs f on a connection with the right to make databases.
func (s *server) use(ctx context.Context, f func(conn *pgx.Conn) error) error {
	var conn *pgx.Conn
	select {
	case conn = <-s.idle:
	default:
		var err error
		if conn, err = pgx.Connect(ctx, s.base); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	err := f(conn)
	if conn.IsClosed() {
		return err
	}
	select {
	case s.idle <- conn:
	default:
		_ = conn.Close(ctx)
	}
	return err
}

func (s *server) exec(ctx context.Context, statement string) error {
	return s.use(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

func (s *server) dsn(database string) string { return withDatabase(s.base, database) }

// template returns the database that holds the current migrations, making it
// when this is the first process to need it.
func (s *server) template(ctx context.Context) (string, error) {
	s.once.Do(func() { s.templateName, s.templateErr = s.makeTemplate(context.WithoutCancel(ctx)) })
	return s.templateName, s.templateErr
}

func (s *server) makeTemplate(ctx context.Context) (string, error) {
	fingerprint, err := migrations.Fingerprint()
	if err != nil {
		return "", err
	}
	name := templatePrefix + fingerprint
	unlock, err := pg.AdvisoryLock(ctx, s.base, name, pg.AllowInsecure(true))
	if err != nil {
		return "", err
	}
	defer unlock()
	var ready bool
	err = s.use(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&ready)
	})
	if err != nil || ready {
		return name, err
	}
	// Made under a name of its own and renamed, so that a killed process leaves no
	// half-made template. The lock holds in one database only: whoever comes by
	// another way makes one as well, and the first to rename wins.
	making := fmt.Sprintf("%s%s%d", name, makingInfix, os.Getpid())
	if err := s.drop(ctx, making); err != nil {
		return "", err
	}
	if err := s.clone(ctx, making, "template0"); err != nil {
		return "", err
	}
	if err := migrations.Up(ctx, s.dsn(making), slog.New(slog.DiscardHandler), pg.AllowInsecure(true)); err != nil {
		return "", errors.Join(err, s.drop(ctx, making))
	}
	// Nobody may connect: a connection would stand in the way of every copy.
	if err := s.exec(ctx, "ALTER DATABASE "+quoted(making)+" ALLOW_CONNECTIONS false"); err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	const duplicateDatabase = "42P04"
	if err := s.exec(ctx, "ALTER DATABASE "+quoted(making)+" RENAME TO "+quoted(name)); pg.Code(err) == duplicateDatabase {
		return name, s.drop(ctx, making)
	} else if err != nil {
		return "", fmt.Errorf("template: %w", err)
	}
	return name, nil
}

func (s *server) clone(ctx context.Context, name, template string) error {
	statement := "CREATE DATABASE " + quoted(name) + " TEMPLATE " + quoted(template)
	if s.modern {
		statement += " STRATEGY FILE_COPY"
	}
	if err := s.exec(ctx, statement); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

func (s *server) drop(ctx context.Context, name string) error {
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+quoted(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}
	return nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// sweep drops what killed tests left, and all but the newest templates. Only for
// a server that nobody else uses.
func sweep(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database ORDER BY oid DESC")
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	const templatesKept = 4
	templates := 0
	var failures []error
	for _, name := range names {
		if strings.HasPrefix(name, templatePrefix) && !strings.Contains(name, makingInfix) {
			if templates++; templates <= templatesKept {
				continue
			}
		} else if !strings.HasPrefix(name, clonePrefix) && !strings.HasPrefix(name, templatePrefix) {
			continue
		}
		if _, err := conn.Exec(ctx, "DROP DATABASE "+quoted(name)+" WITH (FORCE)"); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
