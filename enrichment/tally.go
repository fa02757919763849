package enrichment

import "github.com/enrichd/enrichd/internal/metrics"

// tally counts what one transaction did to runs, for the metrics, once it is committed.
type tally struct {
	// again are outcomes that were there already: a job ran twice.
	again    int
	captured int
	outcomes []Outcome
	open     map[string]bool // runs that had not ended before
	statuses []Status
}

// note counts the outcomes before the books are written.
func (t *tally) note(books map[string]*book) {
	t.open = map[string]bool{}
	for id, b := range books {
		t.open[id] = !b.run.Status.Final()
		t.captured += len(b.captured)
		for m := range b.changed {
			if !m.Outcome.Open() {
				t.outcomes = append(t.outcomes, m.Outcome)
			}
		}
	}
}

// ended counts the runs that writing the books has ended.
func (t *tally) ended(books map[string]*book) {
	for id, b := range books {
		if t.open[id] && b.run.Status.Final() {
			t.statuses = append(t.statuses, b.run.Status)
		}
	}
}

func (t *tally) publish(m *metrics.Metrics) {
	m.Captured(t.captured, t.again)
	for _, o := range t.outcomes {
		m.ProfileEnded(string(o))
	}
	for _, s := range t.statuses {
		m.RunEnded(string(s))
	}
}
