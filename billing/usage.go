package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/enrichd/enrichd/internal/fault"
)

// UsageInterval is the width of a usage point; points begin at full UTC hours, days or months.
type UsageInterval string

// The intervals, spelled as in GraphQL.
const (
	Hour  UsageInterval = "HOUR"
	Day   UsageInterval = "DAY"
	Month UsageInterval = "MONTH"
)

// maxPoints bounds one answer: a leap year of days, a month and a half of hours.
const maxPoints = 1200

// UsagePoint is what was captured in one interval.
type UsagePoint struct {
	Start    time.Time `bun:"start"`
	Captured int64     `bun:"captured"`
	// Profiles counts distinct profiles.
	Profiles int `bun:"profiles"`
}

// UsageDimension is what usage can be told apart by.
type UsageDimension string

// The dimensions, spelled as in GraphQL.
const (
	// ByKey tells apart the API keys that started the runs.
	ByKey UsageDimension = "KEY"
	// ByOutcome tells apart how the captured profiles ended; those that are free are never captured.
	ByOutcome UsageDimension = "OUTCOME"
)

// UsageShare is what was captured for one value of a dimension.
type UsageShare struct {
	// Value is a key's id or an outcome; "" where the entry says none.
	Value    string `bun:"value"`
	Captured int64  `bun:"captured"`
	// Profiles counts distinct profiles.
	Profiles int `bun:"profiles"`
}

// CompanyUsage is what one company captured in a period.
type CompanyUsage struct {
	CompanyID string `bun:"company_id"`
	// Events counts captures: profiles that succeeded and cost something.
	Events int64 `bun:"events"`
	// Credits is what they cost.
	Credits int64 `bun:"credits"`
}

// UsageReport returns what each of the companies captured from from, included,
// to to, excluded, by the ledger's clock, in the order of the ids. A company
// without an account used nothing.
func (l *Ledger) UsageReport(ctx context.Context, companyIDs []string, from, to time.Time) ([]CompanyUsage, error) {
	report := make([]CompanyUsage, len(companyIDs))
	if len(companyIDs) == 0 {
		return report, nil
	}
	rows, err := usageOf(ctx, l.DB, companyIDs, from, to)
	if err != nil {
		return nil, fmt.Errorf("usage of %d companies: %w", len(companyIDs), err)
	}
	byCompany := make(map[string]CompanyUsage, len(rows))
	for _, u := range rows {
		byCompany[u.CompanyID] = u
	}
	for i, id := range companyIDs {
		report[i] = byCompany[id]
		report[i].CompanyID = id
	}
	return report, nil
}

// Usage returns what an account captured from from, included, to to, excluded:
// one point for each interval that the range touches, in order, those without
// any usage included.
func (l *Ledger) Usage(ctx context.Context, accountID string, from, to time.Time, every UsageInterval) ([]*UsagePoint, error) {
	from, to = from.UTC(), to.UTC()
	if !from.Before(to) {
		return nil, fault.Invalid("to", "must be after from")
	}
	points := []*UsagePoint{}
	for at := every.floor(from); at.Before(to); at = every.next(at) {
		if points = append(points, &UsagePoint{Start: at}); len(points) > maxPoints {
			return nil, fault.Invalid("to", "the range has more than %d intervals", maxPoints)
		}
	}
	rows, err := usagePoints(ctx, l.DB, accountID, from, to, every)
	if err != nil {
		return nil, fmt.Errorf("usage of %s: %w", accountID, err)
	}
	i := 0
	for _, row := range rows {
		for i < len(points) && points[i].Start.Before(row.Start) {
			i++
		}
		if i < len(points) && points[i].Start.Equal(row.Start) {
			points[i].Captured, points[i].Profiles = row.Captured, row.Profiles
		}
	}
	return points, nil
}

// UsageBy returns what an account captured from from, included, to to, excluded,
// for each value of a dimension, the largest share first.
func (l *Ledger) UsageBy(ctx context.Context, accountID string, by UsageDimension, from, to time.Time) ([]*UsageShare, error) {
	if !from.Before(to) {
		return nil, fault.Invalid("to", "must be after from")
	}
	shares, err := usageShares(ctx, l.DB, accountID, by, from, to)
	if err != nil {
		return nil, fmt.Errorf("usage of %s by %s: %w", accountID, by, err)
	}
	return shares, nil
}

// floor is the begin of the interval that holds a time in UTC.
func (i UsageInterval) floor(at time.Time) time.Time {
	switch i {
	case Hour:
		return at.Truncate(time.Hour)
	case Month:
		return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	default:
		return at.Truncate(24 * time.Hour)
	}
}

func (i UsageInterval) next(at time.Time) time.Time {
	switch i {
	case Hour:
		return at.Add(time.Hour)
	case Month:
		return at.AddDate(0, 1, 0)
	default:
		return at.Add(24 * time.Hour)
	}
}
