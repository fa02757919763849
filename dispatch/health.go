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

// HealthOf returns how deliveries of the last hours went to webhooks that the
// caller has already been given, by webhook id. hours is 1 to 720.
func (s *Service) HealthOf(ctx context.Context, webhookIDs []string, hours int) (map[string]*WebhookHealth, error) {
	if hours < 1 || hours > longestHealth {
		return nil, fault.Invalid("hours", "must be between 1 and %d, not %d", longestHealth, hours)
	}
	return s.store.health(ctx, s.DB, webhookIDs, hours)
}
