package rest

import (
	"math"
	"net/http"
	"time"

	"github.com/enrichd/enrichd/internal/access"
)

// usageTotals are the four aggregates. A company billed in credits has no
// minutes, and the other way round: what does not apply is left out.
type usageTotals struct {
	TotalInterviews  int          `json:"totalInterviews"`
	BreakdownByCost  []usageShare `json:"breakdownByCostKey"`
	TotalMinutesUsed *float64     `json:"totalMinutesUsed,omitempty"`
	TotalCreditsUsed *float64     `json:"totalCreditsUsed,omitempty"`
}

type usageShare struct {
	CostKey     string   `json:"costKey"`
	Events      int64    `json:"events"`
	MinutesUsed *float64 `json:"minutesUsed,omitempty"`
	CreditsUsed *float64 `json:"creditsUsed,omitempty"`
}

type usageCompany struct {
	CompanyID     string `json:"companyId"`
	CompanyName   string `json:"companyName"`
	BillingSystem string `json:"billingSystem"`
	usageTotals
}

type usageBody struct {
	Companies []usageCompany `json:"companies"`
	usageTotals
}

const (
	usageDays    = 30  // without start
	maxUsageDays = 366 // of one report
)

func (a *API) billingUsage(w http.ResponseWriter, req *http.Request) error {
	from, to, err := usageRange(req, time.Now())
	if err != nil {
		return err
	}
	companies := access.From(req.Context()).Managed()
	ids := make([]string, len(companies))
	for i, c := range companies {
		ids[i] = c.ID
	}
	report, err := a.Billing.UsageReport(req.Context(), ids, from, to)
	if err != nil {
		return err
	}
	body := usageBody{Companies: make([]usageCompany, len(companies)), usageTotals: usageTotals{BreakdownByCost: []usageShare{}}}
	var events [2]int64 // by unit: credits, minutes
	var used [2]float64
	var billed [2]bool
	for i, c := range companies {
		unit, amount, system := 0, float64(report[i].Credits), "credits"
		if a.Open.inMinutes(c.ID) {
			unit, amount, system = 1, minutes(report[i].Credits, a.Open.minutesPerCredit()), "minutes"
		}
		events[unit] += report[i].Events
		used[unit] = math.Round((used[unit]+amount)*1e4) / 1e4
		billed[unit] = true
		body.Companies[i] = usageCompany{c.ID, c.Name, system, a.totals(unit, report[i].Events, amount)}
	}
	// An ATS key may manage companies of both kinds; then the totals have both units.
	for unit, any := range billed {
		if any {
			body.usageTotals = body.plus(a.totals(unit, events[unit], used[unit]))
		}
	}
	general.answer(w, http.StatusOK, body)
	return nil
}

// minutes converts credits, rounded to what a binary fraction may show without a tail of digits.
func minutes(credits int64, each float64) float64 { return math.Round(float64(credits)*each*1e4) / 1e4 }

// totals of one unit, 0 for credits and 1 for minutes. What never happened has no row.
func (a *API) totals(unit int, events int64, amount float64) usageTotals {
	share := usageShare{CostKey: a.Open.costKey(), Events: events}
	t := usageTotals{BreakdownByCost: []usageShare{}}
	if unit == 0 {
		share.CreditsUsed, t.TotalCreditsUsed = &amount, &amount
	} else {
		share.MinutesUsed, t.TotalMinutesUsed = &amount, &amount
	}
	if events > 0 {
		t.BreakdownByCost = append(t.BreakdownByCost, share)
	}
	return t
}

// plus joins the totals of two units: one row for the cost key, with both figures.
func (t usageTotals) plus(o usageTotals) usageTotals {
	if t.TotalMinutesUsed == nil && t.TotalCreditsUsed == nil {
		return o
	}
	t.TotalMinutesUsed = o.TotalMinutesUsed
	switch {
	case len(t.BreakdownByCost) == 0:
		t.BreakdownByCost = o.BreakdownByCost
	case len(o.BreakdownByCost) > 0:
		t.BreakdownByCost[0].Events += o.BreakdownByCost[0].Events
		t.BreakdownByCost[0].MinutesUsed = o.BreakdownByCost[0].MinutesUsed
	}
	return t
}

// usageRange reads start and end, both whole UTC days when they are dates; the
// answer's end is excluded, so that the last day is in.
func usageRange(req *http.Request, now time.Time) (from, to time.Time, err error) {
	q := &object{}
	read := func(name string, otherwise time.Time, after time.Duration) time.Time {
		text := req.URL.Query().Get(name)
		if text == "" {
			return otherwise
		}
		if day, err := time.Parse(time.DateOnly, text); err == nil {
			return day.Add(after)
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			q.problem(name, "must be an ISO 8601 date such as 2024-01-15")
			return otherwise
		}
		return at.UTC().Truncate(24 * time.Hour).Add(after)
	}
	const day = 24 * time.Hour
	tomorrow := now.UTC().Truncate(day).Add(day)
	to = read("end", tomorrow, day)
	from = read("start", to.Add(-usageDays*day), 0)
	switch {
	case len(q.problems) > 0:
	case from.Year() < 2000 || to.Year() > 9999:
		q.problem("start", "is out of range")
	case !from.Before(to):
		q.problem("end", "must not be before start")
	case to.Sub(from) > maxUsageDays*day:
		q.problem("end", "the range is longer than %d days", maxUsageDays)
	}
	return from, to, q.err()
}
