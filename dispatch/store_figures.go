package dispatch

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// backlog is what waits to be delivered, and how the webhooks' circuits stand.
type backlog struct {
	Depth     int64   `bun:"depth"`
	OldestDue float64 `bun:"oldest_due"`
	Closed    int64   `bun:"closed"`
	Open      int64   `bun:"opened"`
	HalfOpen  int64   `bun:"half_open"`
}

// backlog counts. A held delivery is not due: it waits for its circuit.
func (store) backlog(ctx context.Context, db bun.IDB) (backlog, error) {
	var b backlog
	err := db.NewRaw(`
		SELECT d.depth, d.oldest_due, w.closed, w.opened, w.half_open
		  FROM (SELECT count(*) AS depth,
		               greatest(0, coalesce(max(extract(epoch FROM now() - coalesce(next_attempt_at, queued_at)))
		                                    FILTER (WHERE status <> 'HELD'), 0))::float8 AS oldest_due
		          FROM deliveries WHERE status IN `+open+`) AS d,
		       (SELECT count(*) FILTER (WHERE circuit_state = 'CLOSED') AS closed,
		               count(*) FILTER (WHERE circuit_state = 'OPEN') AS opened,
		               count(*) FILTER (WHERE circuit_state = 'HALF_OPEN') AS half_open
		          FROM webhooks WHERE deleted_at IS NULL) AS w`).Scan(ctx, &b)
	if err != nil {
		return b, fmt.Errorf("count what waits to be delivered: %w", err)
	}
	return b, nil
}
