package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/enrichd/enrichd/internal/wake"
)

// activityPoll is how long a follower trusts that no wake-up was lost.
const activityPoll = 5 * time.Second

// FollowActivity streams what is of note to the asking company, oldest first
// behind the cursor and then as it happens; "" is from now on. kinds narrow it
// when given. Replay and live are one loop, so nothing is skipped between them.
// The channel closes with ctx, or when the database fails for longer than a poll. A malformed cursor is an InvalidInput.
func (s *Service) FollowActivity(ctx context.Context, w wake.Waker, cursor string, kinds ...ActivityKind) (<-chan *Activity, error) {
	p, err := asking(ctx)
	if err != nil {
		return nil, err
	}
	if cursor == "" {
		cursor, err = s.ActivityEnd(ctx)
	}
	if err != nil {
		return nil, err
	}
	// Listen first, then look: what comes between is seen by the look.
	kick := make(chan struct{}, 1)
	topic := CompanyTopic(p.Company.ID)
	cancel := w.Notify(func(ids []string) {
		if ids == nil || slices.Contains(ids, topic) {
			select {
			case kick <- struct{}{}:
			default:
			}
		}
	})
	first, err := s.ActivitySince(ctx, cursor, kinds...)
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan *Activity)
	go func() {
		defer close(out)
		defer cancel()
		s.pour(ctx, out, kick, cursor, first, kinds)
	}()
	return out, nil
}

func (s *Service) pour(ctx context.Context, out chan<- *Activity, kick <-chan struct{}, cursor string, found []*Activity, kinds []ActivityKind) {
	poll := time.NewTicker(activityPoll)
	defer poll.Stop()
	failed := false
	for {
		for _, a := range found {
			select {
			case out <- a:
				cursor = a.Cursor()
			case <-ctx.Done():
				return
			}
		}
		if len(found) < activityPage {
			select {
			case <-kick:
			case <-poll.C:
			case <-ctx.Done():
				return
			}
		}
		var err error
		found, err = s.ActivitySince(ctx, cursor, kinds...)
		switch {
		case err == nil:
			failed = false
		case failed || ctx.Err() != nil:
			return // the client comes back with its cursor
		default:
			failed = true
			s.Log.WarnContext(ctx, "read company activity", "err", err)
		}
	}
}
