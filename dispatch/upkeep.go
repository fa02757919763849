package dispatch

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// Maintain keeps the attempt log's months, gives deliveries that lost their job
// a new one, and forgets old activity. It is safe to run on any node at any time.
func (s *Service) Maintain(ctx context.Context, now time.Time) error {
	config := s.Config.withDefaults()
	made, dropped, err := s.store.maintainAttempts(ctx, s.DB, now, config.KeepAttempts)
	if err != nil {
		return err
	}
	adopted, err := s.adoptOrphans(ctx)
	if err != nil {
		return err
	}
	forgotten, err := s.store.forget(ctx, s.DB, now.Add(-config.KeepActivity))
	if err != nil {
		return err
	}
	if made+dropped+adopted+forgotten > 0 {
		s.Log.InfoContext(ctx, "dispatch upkeep", "months_made", made, "months_dropped", dropped, "deliveries_adopted", adopted, "forgotten", forgotten)
	}
	return nil
}

const orphansAtOnce = 500

func (s *Service) adoptOrphans(ctx context.Context) (total int, err error) {
	for {
		n := 0
		err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
			rows, err := s.store.orphans(ctx, tx, orphansAtOnce)
			n = len(rows)
			if err != nil || n == 0 {
				return err
			}
			if err := s.enqueue(ctx, tx, rows, priorityFirst); err != nil {
				return err
			}
			return s.store.adopt(ctx, tx, rows)
		})
		total += n
		if err != nil || n < orphansAtOnce {
			return total, err
		}
	}
}
