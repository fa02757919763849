package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// present ends the duration of a position that goes on.
const present = "Present"

// span is when a position was held, as people write it: "2023 - Present", "2019 - 2022", "2021"; "" when unknown.
func (p Position) span() string {
	start, end := "", ""
	if p.StartYear > 0 {
		start = strconv.Itoa(p.StartYear)
	}
	switch {
	case p.Current:
		end = present
	case p.EndYear > 0:
		end = strconv.Itoa(p.EndYear)
	}
	switch {
	case start == "" && end == "" || start == end:
		return start
	case end == "":
		return "From " + start
	case start == "" && end != present:
		return "Until " + end
	case start == "":
		return end
	}
	return start + " - " + end
}

// length is how long a position was held, counted to now while it goes on:
// "2 years", "7 months"; "" when its beginning or end is unknown. Where no
// month is known, whole years are counted.
func (p Position) length(now time.Time) string {
	from, to, ok := p.months(now)
	if !ok {
		return ""
	}
	byYear := p.StartMonth == 0 || !p.Current && p.EndMonth == 0
	return spell(to-from, byYear)
}

// months is the half-open range of months in which a position was held.
func (p Position) months(now time.Time) (from, to int, ok bool) {
	if p.StartYear == 0 || !p.Current && p.EndYear == 0 {
		return 0, 0, false
	}
	to = monthOf(now) + 1
	from = p.begins()
	if !p.Current {
		to = p.ends() + 1
		if p.EndMonth == 0 {
			to = p.EndYear * 12
		}
	}
	if p.StartMonth == 0 && p.Current {
		to = now.UTC().Year() * 12
	}
	return from, max(from, to), true
}

func spell(months int, byYear bool) string {
	years := months / 12
	switch {
	case years == 1:
		return "1 year"
	case years > 1:
		return fmt.Sprintf("%d years", years)
	case byYear:
		return "less than a year"
	case months == 1:
		return "1 month"
	}
	return fmt.Sprintf("%d months", months)
}

// overlapOnce sums ranges of months; what several of them cover counts once.
func overlapOnce(ranges [][2]int) int {
	slices.SortFunc(ranges, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	total, end := 0, 0
	for _, r := range ranges {
		from := max(r[0], end)
		if r[1] > from {
			total += r[1] - from
			end = r[1]
		}
	}
	return total
}
