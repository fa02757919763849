package pg

import (
	"context"
	"slices"
	"sync"
)

// Count collects the round trips made under one context.
type Count struct {
	mu    sync.Mutex
	texts []string
}

type countKey struct{}

// CountStatements returns a context under which every round trip of a
// connection from Open is counted: statements, prepares, COMMIT and ROLLBACK.
// BEGIN travels with the first statement, and COMMIT with one under Last: they
// are no round trips then. Opening a connection is not counted. For tests and benchmarks.
func CountStatements(ctx context.Context) (context.Context, *Count) {
	c := new(Count)
	return context.WithValue(ctx, countKey{}, c), c
}

// N is the number of round trips so far.
func (c *Count) N() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.texts)
}

// Statements are the texts sent so far, in order.
func (c *Count) Statements() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.texts)
}

func (c *Count) add(text string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.texts = append(c.texts, text)
	c.mu.Unlock()
}

func counter(ctx context.Context) *Count {
	c, _ := ctx.Value(countKey{}).(*Count)
	return c
}

func (g *guarded) counted(ctx context.Context, text string) { counter(ctx).add(text) }
