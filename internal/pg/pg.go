// Package pg opens PostgreSQL through Bun and is the only way to a transaction.
//
// Everything goes through a guard around the driver (guard.go) that closes what
// pgdriver leaves open: a COMMIT that reports success for a transaction the
// server rolled back, timeouts that are not context errors, TLS that verifies
// nothing, sockets of failed handshakes, and statements cut short by a NUL.
package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// The bounds that every session gets unless the DSN names its own.
const (
	// DefaultStatementTimeout ends a statement on the server before the driver's
	// own read timeout would kill the connection.
	DefaultStatementTimeout = 8 * time.Second
	// TxTimeout bounds one transaction of InTx, waiting for a connection included.
	TxTimeout = 5 * time.Second
)

// Option changes how Open and OpenPool connect.
type Option func(*options)

type options struct {
	statementTimeout time.Duration
	allowInsecure    bool
}

// StatementTimeout replaces DefaultStatementTimeout; zero lifts the bound, for
// migrations and maintenance. The driver's read timeout follows it.
func StatementTimeout(d time.Duration) Option {
	return func(o *options) { o.statementTimeout = d }
}

// AllowInsecure lets a connection to another host go without verified TLS. Only
// for networks that are trusted by themselves, such as a container's own.
func AllowInsecure(allow bool) Option {
	return func(o *options) { o.allowInsecure = allow }
}

func resolve(opts []Option) options {
	o := options{statementTimeout: DefaultStatementTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Open connects the application's pool of conns connections to dsn, which is
// read as libpq reads it: a postgres:// URL or key=value words, PG* variables
// and password files included; a unix socket is ?host=/dir. It opens nothing
// yet. The error is about the DSN: malformed, or TLS that would not be verified.
func Open(dsn string, conns int, opts ...Option) (*bun.DB, error) {
	connector, err := newConnector(dsn, resolve(opts))
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	// The same number twice: a pool that lets idle connections go spends its time opening them.
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return bun.NewDB(pool, pgdialect.New()), nil
}

// OpenPool opens a pgx pool of at most conns connections on the same DSN, under
// the same TLS rule, for what pgdriver cannot do: working River's jobs and LISTEN.
func OpenPool(ctx context.Context, dsn string, conns int, opts ...Option) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", hideDSN(err))
	}
	if err := checkTLS(&config.ConnConfig.Config, resolve(opts)); err != nil {
		return nil, err
	}
	config.MaxConns = int32(conns)
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = applicationName
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database pool: %w", err)
	}
	return pool, nil
}

// Connect opens one pgx connection on the same DSN, under the same TLS rule, for
// what holds a session of its own: LISTEN, advisory locks.
func Connect(ctx context.Context, dsn string, opts ...Option) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", hideDSN(err))
	}
	if err := checkTLS(&config.Config, resolve(opts)); err != nil {
		return nil, err
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = applicationName
	}
	return pgx.ConnectConfig(ctx, config)
}

// InTx runs f in one short READ COMMITTED transaction and commits when f
// returns nil; an error or a panic of f rolls back. It is detached from ctx's
// cancellation and bounded by TxTimeout, because a cancelled statement costs
// pgdriver its connection; ctx is looked at before the transaction and before
// the commit only. A transaction that lost a statement to an error never reports
// success, even when f swallowed that error: the result is then ErrAborted.
func InTx(ctx context.Context, db *bun.DB, f func(ctx context.Context, tx bun.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	state := new(txState)
	inner, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), txKey{}, state), TxTimeout)
	defer cancel()
	err := db.RunInTx(inner, nil, func(inner context.Context, tx bun.Tx) error {
		if err := f(inner, tx); err != nil || state.ended {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("transaction: %w", err)
	}
	for _, hook := range state.hooks {
		hook()
	}
	return nil
}

// txState is what InTx and the statements of its transaction tell each other.
type txState struct {
	hooks []func()
	ended bool // COMMIT went with a statement
}

type (
	txKey   struct{}
	lastKey struct{}
)

// AfterCommit has f called once the transaction of InTx that ctx belongs to has
// committed, and never when it rolls back. f must not block.
func AfterCommit(ctx context.Context, f func()) {
	state := ctx.Value(txKey{}).(*txState)
	state.hooks = append(state.hooks, f)
}

// Last marks ctx so that the statement under it is the last of its transaction:
// COMMIT travels with it, in one round trip. When it fails, the transaction is
// rolled back as ever. When it succeeds, all is committed: only what needs
// nothing of its result may be last, and nothing may follow.
func Last(ctx context.Context) context.Context {
	return context.WithValue(ctx, lastKey{}, true)
}

// endsWith reports whether the transaction of ctx ends with the statement under ctx, and notes it.
func endsWith(ctx context.Context) bool {
	if ctx.Value(lastKey{}) == nil {
		return false
	}
	state, ok := ctx.Value(txKey{}).(*txState)
	if ok {
		state.ended = true
	}
	return ok
}

var (
	// errAfterLast refuses a statement behind the last one.
	errAfterLast = errors.New("pg: the transaction had its last statement")
	// errCommitted answers a rollback that came too late.
	errCommitted = errors.New("pg: the transaction was committed with its last statement")
)
