package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/fault"
	"github.com/enrichd/enrichd/internal/pg"
)

// longestOverlap is how long an old secret may go on signing, in hours.
const longestOverlap = 168

// RotateSecretInput asks for a new secret.
type RotateSecretInput struct {
	ID string
	// OverlapHours is how long the old secret signs beside the new one, 0 to 168; 0 revokes it now.
	OverlapHours int
}

// Rotation is what a rotation made.
type Rotation struct {
	Webhook *Webhook
	Secret  string // "whsec_…"; shown once, never again
	// OldExpiresAt is when the old secret ceases to sign; nil when it has already.
	OldExpiresAt *time.Time
}

// RotateSecret gives a webhook a new secret, which signs at once. Until the
// overlap ends the old one signs beside it, and alone in the older contract's
// header, whose receivers know a single secret. Refusals: NotFound,
// InvalidInput; Conflict while an overlap still runs, because at most two
// secrets sign, except that 0 hours revokes both old ones.
func (s *Service) RotateSecret(ctx context.Context, in RotateSecretInput) (*Rotation, error) {
	if in.OverlapHours < 0 || in.OverlapHours > longestOverlap {
		return nil, fault.Invalid("overlapHours", "must be between 0 and %d, not %d", longestOverlap, in.OverlapHours)
	}
	r := new(Rotation)
	err := pg.InTx(ctx, s.DB, func(ctx context.Context, tx bun.Tx) error {
		if _, err := s.own(ctx, tx, in.ID); err != nil {
			return err
		}
		now, overlapEnds, err := s.store.lockSecrets(ctx, tx, in.ID)
		if err != nil {
			return err
		}
		if overlapEnds != nil && in.OverlapHours > 0 {
			return fault.Conflict{State: "ROTATING", Head: fault.Head{
				Message: fmt.Sprintf("Two secrets sign until %s; rotate after that, or with no overlap to revoke both", overlapEnds.UTC().Format(time.RFC3339)),
				Field:   []string{"id"},
			}}
		}
		ends := now.Add(time.Duration(in.OverlapHours) * time.Hour)
		if in.OverlapHours > 0 {
			r.OldExpiresAt = &ends
		}
		secret, shown := s.newSecret(in.ID, now)
		if err := s.store.rotate(ctx, tx, secret, ends); err != nil {
			return err
		}
		r.Secret = shown
		r.Webhook, err = s.own(ctx, tx, in.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "webhook secret rotated", "webhook", in.ID, "overlap_hours", in.OverlapHours)
	return r, nil
}
