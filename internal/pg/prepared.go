package pg

import (
	"context"
	"database/sql/driver"
)

// maxPrepared is how many statements one connection keeps prepared. Statements
// with arguments are few: River's, and the hot ones of the money path.
const maxPrepared = 64

// prepared keeps a connection's server-side statements by their text. Without
// it pgdriver writes the arguments into the text, so that the server parses and
// plans a long statement anew each time, which is more than half of what
// accepting a run costs; and it loses count of $n behind an apostrophe in a comment.
type prepared struct {
	byText map[string]*guardedStmt
	order  []string // oldest first
}

// statement gives the prepared form of query, preparing it at its first use on this connection.
func (g *guarded) statement(ctx context.Context, query string) (*guardedStmt, error) {
	if s := g.prepared.byText[query]; s != nil {
		return s, nil
	}
	made, err := g.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := made.(*guardedStmt)
	if g.prepared.byText == nil {
		g.prepared.byText = map[string]*guardedStmt{}
	}
	if len(g.prepared.order) == maxPrepared {
		g.forget(g.prepared.order[0])
	}
	g.prepared.byText[query] = s
	g.prepared.order = append(g.prepared.order, query)
	return s, nil
}

// forget drops a statement that the server will not run again as it is.
func (g *guarded) forget(query string) {
	s := g.prepared.byText[query]
	if s == nil {
		return
	}
	delete(g.prepared.byText, query)
	for i, q := range g.prepared.order {
		if q == query {
			g.prepared.order = append(g.prepared.order[:i], g.prepared.order[i+1:]...)
			break
		}
	}
	if err := s.Stmt.Close(); err != nil {
		_ = g.Conn.Close() // out of step with the server: the pool opens another
	}
}

// stale reports whether err says that a prepared statement no longer fits: its
// tables changed their shape, or the server lost it.
func stale(err error) bool {
	switch Code(err) {
	case "0A000", "26000":
		return true
	}
	return false
}

func (g *guarded) execPrepared(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := g.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	if stale(err) {
		g.forget(query)
	}
	return res, err
}

func (g *guarded) queryPrepared(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := g.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if stale(err) {
		g.forget(query)
	}
	return rows, err
}
