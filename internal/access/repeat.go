package access

import (
	"context"

	"github.com/enrichd/enrichd/internal/fault"
)

// maxRepeatDays bounds a repeat window: what was found a year ago is no answer of today.
const maxRepeatDays = 365

// SetRepeatWindow sets for how many days an unchanged repeat is free and served
// from store; 0 is off. Every node follows within half a minute.
func (s *Service) SetRepeatWindow(ctx context.Context, companyID string, days int) error {
	if days < 0 || days > maxRepeatDays {
		return fault.Invalid("repeatWindowDays", "is between 0 and %d", maxRepeatDays)
	}
	known, err := s.Store.setRepeatWindow(ctx, s.DB, companyID, days)
	if err == nil && !known {
		err = noCompany("id", companyID)
	}
	return err
}
