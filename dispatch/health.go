package dispatch

import (
	"context"

	"github.com/enrichd/enrichd/internal/fault"
)

// WebhookHealth is how a webhook's deliveries went lately, tests left out.
type WebhookHealth struct {
	Delivered, Failed    int // deliveries that ended, by how
	P50Millis, P95Millis int // of whole attempts; 0 without any
}

const (
	longestHealth = 720 // hours; attempts are kept for 30 days
	// healthSample is how many of the newest deliveries the percentiles look at, so that a busy webhook costs no more than a quiet one.
	healthSample = 5000
)

// Health returns how deliveries of the last hours went to a webhook that the
// caller has already been given. hours is 1 to 720.
func (s *Service) Health(ctx context.Context, w *Webhook, hours int) (*WebhookHealth, error) {
	if hours < 1 || hours > longestHealth {
		return nil, fault.Invalid("hours", "must be between 1 and %d, not %d", longestHealth, hours)
	}
	return s.store.health(ctx, s.DB, w.ID, hours)
}
