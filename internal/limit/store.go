package limit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// order asks for tokens of one bucket, and books what was used of the last lease.
type order struct {
	Owner  string  `json:"owner"`
	Bucket Bucket  `json:"bucket"`
	Used   int64   `json:"used"`
	Need   int64   `json:"need"`
	Want   int64   `json:"want"`
	Burst  int64   `json:"burst"`
	Every  float64 `json:"every"` // seconds
	Hour   int64   `json:"hour"`
}

// lent is the answer to an order.
type lent struct {
	granted, remaining, hourLeft int64
	wait                         time.Duration
}

var leaseSQL = pg.Named(`
	SELECT l.granted, l.remaining, l.wait, l.hour_left
	FROM jsonb_to_recordset(:orders::jsonb) AS o(owner text, bucket text, used bigint, need bigint, want bigint, burst bigint, every double precision, hour bigint),
	     LATERAL rate_lease(o.owner, o.bucket, :node, o.used, o.need, o.want, o.burst, o.every, o.hour, :ttl) AS l`, "orders", "node", "ttl")

// lease places orders in one round trip. Rows are locked in the order given:
// keys before companies, so that two nodes never wait for each other.
func lease(ctx context.Context, db *bun.DB, node string, ttl time.Duration, orders []order) ([]lent, error) {
	text, err := json.Marshal(orders)
	if err != nil {
		return nil, fmt.Errorf("lease tokens: %w", err)
	}
	rows, err := db.DB.QueryContext(ctx, leaseSQL, string(text), node, ttl.Seconds())
	if err != nil {
		return nil, fmt.Errorf("lease tokens: %w", err)
	}
	defer rows.Close()
	var out []lent
	for rows.Next() {
		var l lent
		var wait float64
		if err := rows.Scan(&l.granted, &l.remaining, &wait, &l.hourLeft); err != nil {
			return nil, fmt.Errorf("lease tokens: %w", err)
		}
		l.wait = time.Duration(wait * float64(time.Second))
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("lease tokens: %w", err)
	}
	if len(out) != len(orders) {
		return nil, fmt.Errorf("lease tokens: %d answers to %d orders", len(out), len(orders))
	}
	return out, nil
}
