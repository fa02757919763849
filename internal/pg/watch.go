package pg

import (
	"context"
	"sync/atomic"

	"github.com/uptrace/bun/driver/pgdriver"
)

type longReadKey struct{}

// LongRead marks ctx so that cancelling it ends the statement at once, which
// costs the connection. Without it a statement runs to its end whatever becomes
// of the caller: cheap for short ones, since a new connection costs as much as
// fifty statements, and a wave of callers hanging up must not empty the pool.
func LongRead(ctx context.Context) context.Context {
	return context.WithValue(ctx, longReadKey{}, true)
}

// watch closes conn when ctx, marked by LongRead, is done. The returned function
// ends the watch: it waits for a close that has begun, so that the connection
// never goes back to the pool under it, and gives the context's error for the
// socket's.
func watch(ctx context.Context, conn *pgdriver.Conn) func(error) error {
	if ctx.Done() == nil || ctx.Value(longReadKey{}) == nil {
		return func(err error) error { return err }
	}
	var ended atomic.Bool
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close()
	})
	return func(err error) error {
		if ended.Swap(true) {
			return err
		}
		if stop() {
			return err
		}
		<-closed
		return context.Cause(ctx)
	}
}
