package pipeline

import (
	"slices"
	"strings"
	"time"
)

// positions says of the newest accepted positions why they count.
func (e *evaluation) positions(criteria []criterion, stated bool) {
	for i, j := range e.jobs[:min(len(e.jobs), positionsShown)] {
		item := RationaleItem{
			Title: j.Role, Company: filled(j.Company), Duration: filled(j.length(e.known.Now)),
			Relevance: e.relevance(j, criteria, stated), Evidence: e.c.Experience[i].Evidence,
		}
		e.c.DetailedRationale = append(e.c.DetailedRationale, item)
		e.say(fieldDetailedRationale, struct {
			Title     string  `json:"title"`
			Company   *string `json:"company,omitempty"`
			Duration  *string `json:"duration,omitempty"`
			Relevance string  `json:"relevance"`
		}{item.Title, item.Company, item.Duration, item.Relevance}, item.Evidence)
	}
}

// relevance names the criteria that a position itself speaks for: the title by its role, skills by its words.
func (e *evaluation) relevance(j job, criteria []criterion, stated bool) string {
	if !stated {
		return "An accepted position; there is no role brief to weigh it against"
	}
	text := j.Role + " . " + strings.Join(j.Highlights, " . ")
	var supports []string
	for _, c := range criteria {
		switch c.name {
		case "title":
			if titleFit(e.known.Seed.Brief.Title, j.Role) >= 0.5 {
				supports = append(supports, "the title sought")
			}
		case "location", "description":
		default:
			if mentions(text, c.name) {
				supports = append(supports, c.name)
			}
		}
	}
	if len(supports) == 0 {
		return "Supports no criterion of the role brief by itself"
	}
	return clip("Supports "+strings.Join(supports, ", "), 200)
}

// years is how long the accepted positions lasted together, time covered by
// several counting once; "" when no position has dates.
func (e *evaluation) years() string {
	var ranges [][2]int
	byYear := false
	for _, j := range e.jobs {
		if from, to, ok := j.months(e.known.Now); ok {
			ranges = append(ranges, [2]int{from, to})
			byYear = byYear || j.StartMonth == 0
		}
	}
	if total := overlapOnce(slices.Clone(ranges)); total > 0 {
		return spell(total, byYear)
	}
	return ""
}

// monthOf counts months since year 0.
func monthOf(t time.Time) int { return t.UTC().Year()*12 + int(t.UTC().Month()) - 1 }
