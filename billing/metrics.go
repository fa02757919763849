package billing

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTime bounds the database's part of one scrape.
const scrapeTime = 2 * time.Second

var (
	descViolations = prometheus.NewDesc("billing_audit_violations", "Broken invariants that the last audit of the ledger found.", nil, nil)
	descAge        = prometheus.NewDesc("billing_audit_age_seconds", "Time since the last audit of the ledger; -1 before the first.", nil, nil)
	descHolds      = prometheus.NewDesc("billing_open_holds", "Runs that hold credits.", nil, nil)
)

type collector struct{ *Ledger }

// Collector returns the ledger's metrics. They are read from the database at each
// scrape, so that every node says the same whichever node made the audit.
func (l *Ledger) Collector() prometheus.Collector { return collector{l} }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- descViolations
	out <- descAge
	out <- descHolds
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	f, err := figures(ctx, c.DB)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descViolations, err)
		return
	}
	out <- prometheus.MustNewConstMetric(descViolations, prometheus.GaugeValue, float64(f.Violations))
	out <- prometheus.MustNewConstMetric(descAge, prometheus.GaugeValue, f.Age)
	out <- prometheus.MustNewConstMetric(descHolds, prometheus.GaugeValue, float64(f.Holds))
}
