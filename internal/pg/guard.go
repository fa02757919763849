package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/uptrace/bun/driver/pgdriver"
)

// ErrAborted is the result of committing a transaction in which a statement had
// failed: nothing of it was kept. The first failure is wrapped beside it.
var ErrAborted = errors.New("transaction was aborted by an earlier error")

// ErrNUL refuses a statement with a NUL byte, which PostgreSQL cannot store and
// the driver would leave out without a word. Inputs are checked at the edge
// (fault.Text); this is the last line.
var ErrNUL = errors.New("statement holds a NUL byte")

// connector opens guarded connections, trying its hosts in order.
type connector struct {
	hosts  []*pgdriver.Connector
	params map[string]string
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var failures []error
	for _, host := range c.hosts {
		conn, err := c.connect(ctx, host)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, deadline(ctx, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("connect to PostgreSQL: %w", errors.Join(failures...))
}

func (c *connector) connect(ctx context.Context, host *pgdriver.Connector) (driver.Conn, error) {
	var dialed *wire
	raw, err := host.Connect(context.WithValue(ctx, dialedKey{}, &dialed))
	if err != nil {
		if dialed != nil {
			_ = dialed.Close()
		}
		return nil, err
	}
	conn := raw.(*pgdriver.Conn)
	if err := c.session(ctx, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &guarded{Conn: conn, wire: dialed}, nil
}

// session sets every parameter in one round trip. A server on a system that
// cannot notice a client's hang-up refuses client_connection_check_interval;
// it then runs without.
func (c *connector) session(ctx context.Context, conn *pgdriver.Conn) error {
	_, err := conn.ExecContext(ctx, setStatement(c.params, ""), nil)
	if Code(err) == "22023" {
		_, err = conn.ExecContext(ctx, setStatement(c.params, "client_connection_check_interval"), nil)
	}
	if Code(err) == "42704" {
		return fmt.Errorf("session parameters (PostgreSQL 14 or newer is needed): %w", err)
	}
	if err != nil {
		return fmt.Errorf("session parameters: %w", err)
	}
	return nil
}

func setStatement(params map[string]string, without string) string {
	var names []string
	for name := range params {
		if name != without {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	for i, name := range names {
		names[i] = "set_config(" + quote(name) + ", " + quote(params[name]) + ", false)"
	}
	return "SELECT " + strings.Join(names, ", ")
}

func (c *connector) Driver() driver.Driver { return guardDriver{} }

// guardDriver exists because database/sql asks for one; connections come from the connector only.
type guardDriver struct{}

func (guardDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("pg: open through pg.Open")
}

// guarded is one connection. database/sql gives it to one goroutine at a time,
// so that its state needs no lock.
type guarded struct {
	*pgdriver.Conn
	wire *wire
	inTx bool
	// aborted is the first error of the open transaction that no savepoint has undone.
	aborted error
	// ending says that COMMIT goes, or went, with a statement.
	ending bool
	count  *Count
	// prepared are the statements that came with arguments.
	prepared prepared
}

// note remembers a failure inside a transaction, and turns a socket's timeout
// into the context error it was.
func (g *guarded) note(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	err = deadline(ctx, err)
	if g.inTx && g.aborted == nil {
		g.aborted = err
	}
	return err
}

func (g *guarded) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := checkText(query, args); err != nil {
		return nil, g.note(ctx, err)
	}
	if len(args) > 0 {
		return g.execPrepared(ctx, query, args)
	}
	if err := g.ask(ctx, query); err != nil {
		return nil, g.note(ctx, err)
	}
	release := watch(ctx, g.Conn)
	res, err := g.Conn.ExecContext(ctx, query, args)
	if err = release(err); err != nil {
		return nil, g.note(ctx, nameNUL(query, err))
	}
	if g.inTx && rollsBackTo(query) {
		g.aborted = nil
	}
	return res, nil
}

func (g *guarded) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := checkText(query, args); err != nil {
		return nil, g.note(ctx, err)
	}
	if len(args) > 0 {
		return g.queryPrepared(ctx, query, args)
	}
	if err := g.ask(ctx, query); err != nil {
		return nil, g.note(ctx, err)
	}
	release := watch(ctx, g.Conn)
	rows, err := g.Conn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, g.note(ctx, nameNUL(query, release(err)))
	}
	return &guardedRows{Rows: rows, conn: g, ctx: ctx, release: release}, nil
}

func (g *guarded) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := checkText(query, nil); err != nil {
		return nil, g.note(ctx, err)
	}
	g.counted(ctx, "PREPARE "+query)
	stmt, err := g.Conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, g.note(ctx, err)
	}
	return &guardedStmt{Stmt: stmt, conn: g, query: query}, nil
}

// ask is called before each statement: it counts the round trip, and lets COMMIT
// travel with the statement that the transaction ends with.
func (g *guarded) ask(ctx context.Context, query string) error {
	if g.ending {
		return errAfterLast
	}
	g.counted(ctx, query)
	if g.inTx && g.aborted == nil && endsWith(ctx) {
		g.wire.sendBehind("COMMIT")
		g.ending = true
	}
	return nil
}

// Ping is a statement like any other, or its timeout would not be a context error.
func (g *guarded) Ping(ctx context.Context) error {
	_, err := g.ExecContext(ctx, "SELECT 1", nil)
	return err
}

func (g *guarded) Prepare(query string) (driver.Stmt, error) {
	return g.PrepareContext(context.Background(), query)
}

func (g *guarded) Begin() (driver.Tx, error) {
	return g.BeginTx(context.Background(), driver.TxOptions{})
}

// BeginTx begins with the first statement, in its round trip. It allows READ
// COMMITTED only: the guards in our statements do the rest, and pgdriver would
// send anything else as two statements in one.
func (g *guarded) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	switch sql.IsolationLevel(opts.Isolation) {
	case sql.LevelDefault, sql.LevelReadCommitted:
	default:
		return nil, fmt.Errorf("isolation level %s: every transaction is READ COMMITTED", sql.IsolationLevel(opts.Isolation))
	}
	begin := "BEGIN"
	if opts.ReadOnly {
		begin = "BEGIN READ ONLY"
	}
	if !g.IsValid() {
		return nil, driver.ErrBadConn
	}
	g.wire.sendAhead(begin)
	g.count = counter(ctx)
	g.inTx, g.aborted, g.ending = true, nil, false
	return guardedTx{g}, nil
}

// ResetSession refuses a connection whose transaction was never ended, and one
// that the server has closed meanwhile: database/sql then takes another, while a
// transaction that begins with its first statement could not be tried again.
func (g *guarded) ResetSession(ctx context.Context) error {
	if g.inTx || !g.wire.alive() {
		return driver.ErrBadConn
	}
	return g.Conn.ResetSession(ctx)
}

// Raw returns the driver's own connection, for database/sql's Conn.Raw.
func (g *guarded) Raw() *pgdriver.Conn { return g.Conn }

type guardedTx struct{ conn *guarded }

// Commit rolls back and says so when a statement of the transaction had failed:
// the server answers COMMIT with ROLLBACK then, which pgdriver takes for success.
func (t guardedTx) Commit() error {
	aborted := t.conn.aborted
	if aborted == nil {
		return t.end("COMMIT")
	}
	if err := t.end("ROLLBACK"); err != nil {
		_ = t.conn.Close() // the server rolls back when the session goes
	}
	return fmt.Errorf("%w: %w", ErrAborted, aborted)
}

func (t guardedTx) Rollback() error {
	late := t.conn.ending && t.conn.aborted == nil
	if err := t.end("ROLLBACK"); err != nil || !late {
		return err
	}
	return errCommitted
}

func (t guardedTx) end(command string) error {
	count := t.conn.count
	t.conn.inTx, t.conn.aborted, t.conn.count, t.conn.ending = false, nil, nil, false
	idle, ending := t.conn.wire.idle(), t.conn.wire.sent
	t.conn.wire.forget()
	if idle { // nothing was asked: there is nothing to end
		return nil
	}
	if !ending {
		count.add(command)
	}
	_, err := t.conn.Conn.ExecContext(context.Background(), command, nil)
	return err
}

type guardedStmt struct {
	driver.Stmt
	conn  *guarded
	query string
}

func (s *guardedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := checkText("", args); err != nil {
		return nil, s.conn.note(ctx, err)
	}
	if err := s.conn.ask(ctx, s.query); err != nil {
		return nil, s.conn.note(ctx, err)
	}
	release := watch(ctx, s.conn.Conn)
	res, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err = release(err); err != nil {
		return nil, s.conn.note(ctx, err)
	}
	return res, nil
}

func (s *guardedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := checkText("", args); err != nil {
		return nil, s.conn.note(ctx, err)
	}
	if err := s.conn.ask(ctx, s.query); err != nil {
		return nil, s.conn.note(ctx, err)
	}
	release := watch(ctx, s.conn.Conn)
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, s.conn.note(ctx, release(err))
	}
	return &guardedRows{Rows: rows, conn: s.conn, ctx: ctx, release: release}, nil
}

// guardedRows notices an error that comes with a later row, or behind the last
// one that was asked for.
type guardedRows struct {
	driver.Rows
	conn    *guarded
	ctx     context.Context
	release func(error) error
}

func (r *guardedRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return r.conn.note(r.ctx, r.release(err))
}

func (r *guardedRows) Close() error {
	return r.conn.note(r.ctx, r.release(r.Rows.Close()))
}

func rollsBackTo(query string) bool {
	const prefix = "ROLLBACK TO"
	query = strings.TrimSpace(query)
	return len(query) > len(prefix) && strings.EqualFold(query[:len(prefix)], prefix)
}

// nameNUL recognises the syntax error that Bun makes, on purpose, out of a value with a NUL byte.
func nameNUL(query string, err error) error {
	if Code(err) == "42601" && strings.Contains(query, "?!(bun: string contains a NUL byte") {
		return fmt.Errorf("%w: %w", ErrNUL, err)
	}
	return err
}

func checkText(query string, args []driver.NamedValue) error {
	if strings.IndexByte(query, 0) >= 0 {
		return ErrNUL
	}
	for _, arg := range args {
		if s, ok := arg.Value.(string); ok && strings.IndexByte(s, 0) >= 0 {
			return ErrNUL
		}
	}
	return nil
}
