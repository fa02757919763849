package access

import (
	"context"

	"github.com/enrichd/enrichd/internal/fault"
)

// Limits are figures that replace those of a plan. A zero figure is the plan's.
type Limits struct {
	// PerMinute and PerHour count requests, Burst is how many may come at once.
	PerMinute int64 `json:"perMinute,omitempty"`
	PerHour   int64 `json:"perHour,omitempty"`
	Burst     int64 `json:"burst,omitempty"`
}

// maxFigure keeps sums of limits far from overflow.
const maxFigure = 10_000_000

func (l *Limits) check() error {
	if l == nil {
		return nil
	}
	for name, n := range map[string]int64{"perMinute": l.PerMinute, "perHour": l.PerHour, "burst": l.Burst} {
		if n < 0 || n > maxFigure {
			return fault.Invalid(name, "is between 0 and %d", maxFigure)
		}
	}
	return nil
}

// SetCompanyLimits gives a company figures of its own; nil gives it the plan's
// again. Every node follows within half a minute.
func (s *Service) SetCompanyLimits(ctx context.Context, id string, l *Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	known, err := s.Store.setCompanyLimits(ctx, s.DB, id, l)
	if err == nil && !known {
		err = noCompany("id", id)
	}
	return err
}
