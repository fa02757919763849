package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	highlightsShown = 3   // of one position
	highlightLength = 200 // characters
)

// job is one position that one or more records give.
type job struct {
	Position
	value
}

// experience takes every accepted position, newest first.
func (f *fuser) experience(c *Candidate) []job {
	jobs := f.jobs()
	for _, j := range jobs {
		e := Experience{Role: j.Role, Highlights: j.Highlights, Evidence: j.evidence(), Duration: filled(j.span())}
		e.Company = filled(j.Company)
		c.Experience = append(c.Experience, e)
		c.AllFacts = append(c.AllFacts, j.fact(FieldExperience, struct {
			Role       string   `json:"role"`
			Company    *string  `json:"company,omitempty"`
			Duration   *string  `json:"duration,omitempty"`
			Highlights []string `json:"highlights"`
		}{e.Role, e.Company, e.Duration, e.Highlights}, j.confidence))
	}
	return jobs
}

// jobs merges the positions that records give, keeps the accepted, and puts them newest first.
func (f *fuser) jobs() []job {
	var jobs []job
	held := slices.Clone(f.holdings(FieldExperience))
	// The best dated claims come first, so that undated ones join them, whatever source they are from.
	slices.SortStableFunc(held, func(a, b holding) int {
		return cmp.Or(-cmp.Compare(dated(a.claim.Pos), dated(b.claim.Pos)), cmp.Compare(b.confidence, a.confidence))
	})
	for _, h := range held {
		p := h.claim.Pos
		if p == nil || strings.TrimSpace(p.Role) == "" || p.ends() < p.begins() {
			continue
		}
		i := slices.IndexFunc(jobs, func(j job) bool { return samePosition(j.Position, *p) })
		if i < 0 {
			jobs = append(jobs, job{Position: *p})
			i = len(jobs) - 1
			jobs[i].Highlights = []string{}
			jobs[i].key = organisationKey(p.Company) + "|" + Fold(p.Role)
		}
		jobs[i].join(*p)
		jobs[i].holdings = append(jobs[i].holdings, h)
	}
	for i := range jobs {
		jobs[i].settle()
	}
	jobs = slices.DeleteFunc(jobs, func(j job) bool { return rounded(j.confidence) < f.cfg.Accept })
	slices.SortFunc(jobs, func(a, b job) int {
		return cmp.Or(cmp.Compare(b.ends(), a.ends()), cmp.Compare(b.begins(), a.begins()), survival(a.value, b.value))
	})
	return jobs
}

// join fills what the position does not know yet from another account of it.
func (j *job) join(p Position) {
	if j.Company == "" {
		j.Company = p.Company
	}
	if j.StartYear == 0 {
		j.StartYear, j.StartMonth = p.StartYear, p.StartMonth
	}
	if j.EndYear == 0 && !j.Current {
		j.EndYear, j.EndMonth, j.Current = p.EndYear, p.EndMonth, p.Current
	}
	for _, h := range p.Highlights {
		if h = clip(strings.TrimSpace(h), highlightLength); h != "" && len(j.Highlights) < highlightsShown && !slices.Contains(j.Highlights, h) {
			j.Highlights = append(j.Highlights, h)
		}
	}
}

// samePosition says whether two accounts are of one position: the same role
// at the same company, in years that do not contradict each other.
func samePosition(a, b Position) bool {
	if Fold(a.Role) != Fold(b.Role) {
		return false
	}
	if ca, cb := organisationKey(a.Company), organisationKey(b.Company); ca != "" && cb != "" && ca != cb {
		return false
	}
	agree := func(x, y int) bool { return x == 0 || y == 0 || x == y }
	return agree(a.StartYear, b.StartYear) && agree(a.EndYear, b.EndYear) &&
		!(a.Current && b.EndYear != 0) && !(b.Current && a.EndYear != 0)
}

// dated counts what a position says about its time and place.
func dated(p *Position) int {
	n := 0
	if p == nil {
		return n
	}
	for _, has := range []bool{p.StartYear != 0, p.EndYear != 0 || p.Current, p.StartMonth != 0, p.Company != ""} {
		if has {
			n++
		}
	}
	return n
}

// farFuture stands for "still going on" where months are compared.
const farFuture = 9999 * 12

// begins and ends are months since year 0; unknown beginnings are 0 and unknown ends as early as the beginning.
func (p Position) begins() int {
	if p.StartYear == 0 {
		return 0
	}
	return p.StartYear*12 + max(p.StartMonth-1, 0)
}

func (p Position) ends() int {
	switch {
	case p.Current:
		return farFuture
	case p.EndYear == 0:
		return p.begins()
	case p.EndMonth == 0:
		return p.EndYear*12 + 11
	}
	return p.EndYear*12 + p.EndMonth - 1
}

func positionText(p Position) string {
	if p.Company == "" {
		return p.Role
	}
	return p.Role + " at " + p.Company
}

// clip cuts a text to at most n characters, at a character.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:n-1])) + "…"
}

func filled(s string) *string {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return &s
}
