package dispatch

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

const (
	resumeBlock = 32 // held deliveries made due at a time
	resumeFor   = 20 * time.Second
	resumePause = 100 * time.Millisecond // between looks
)

// resume makes held deliveries of a webhook due, oldest first, a block as soon
// as less than a block is due. done says that there is nothing left to do: none
// is held, or the circuit is open again. It ends after resumeFor in any case.
func (s *Service) resume(ctx context.Context, webhookID string) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, resumeFor)
	defer cancel()
	look := time.NewTicker(resumePause)
	defer look.Stop()
	for {
		err := s.briefly(ctx, func(ctx context.Context) (err error) {
			done, err = s.resumeSome(ctx, webhookID)
			return err
		})
		if err != nil || done {
			return done, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-look.C:
		}
	}
}

// resumeSome wakes at most one block. A delivery whose job runs at this moment
// has seen the open circuit and is about to sleep on it, so its turn comes at a later look.
func (s *Service) resumeSome(ctx context.Context, webhookID string) (done bool, err error) {
	err = pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		held, err := s.store.heldBlock(ctx, tx, webhookID, resumeBlock)
		if err != nil || held == nil {
			done = err == nil
			return err
		}
		var due []string
		for _, d := range held {
			running := false
			if d.JobID != nil {
				if running, err = s.Jobs.RetryNow(ctx, tx, *d.JobID); err != nil {
					return err
				}
			}
			if !running {
				due = append(due, d.ID)
			}
		}
		return s.store.unhold(ctx, tx, due)
	})
	return done, err
}
