package pg

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// AdvisoryLock waits for the named lock of the whole database on a connection of
// its own and holds it until unlock is called or this process ends: it is a
// session lock, so a killed holder leaves nothing behind. ctx bounds the wait.
func AdvisoryLock(ctx context.Context, dsn, name string, opts ...Option) (unlock func(), err error) {
	conn, err := Connect(ctx, dsn, opts...)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey(name)); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", lockKey(name))
		_ = conn.Close(ctx)
	}, nil
}

// lockKey maps a name to the 64 bits that PostgreSQL locks.
func lockKey(name string) int64 {
	sum := sha256.Sum256([]byte("enrichd:" + name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}
