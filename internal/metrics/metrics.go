// Package metrics is every figure that the program publishes about itself. No
// label holds a company, a key, a profile or a URL: figures about those are
// queries. Every method may be called on a nil *Metrics, and does nothing then.
package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the figures that events add up to. Figures that are looked up
// when somebody asks are added with Sample.
type Metrics struct {
	// Registry is what /metrics shows.
	Registry *prometheus.Registry

	requests, operations                *prometheus.HistogramVec
	rejected, runs, profiles            *prometheus.CounterVec
	attempts, limited, authFailed       *prometheus.CounterVec
	attemptTime, deliveryTime, eventLag prometheus.Histogram
	captures, conflicts, refused        prometheus.Counter
	replays                             *prometheus.CounterVec
}

// The bounds of histograms, in seconds.
var (
	requestBounds  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	lagBounds      = []float64{.001, .0025, .005, .01, .02, .04, .08, .16, .32, .64, 1.28, 5}
	deliveryBounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120, 600, 3600, 21_600, 86_400}
	attemptBounds  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

// New makes a registry with every figure of this package, the runtime's and the process's.
func New() *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	m.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	histogram := func(name, help string, bounds []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds})
		m.Registry.MustRegister(h)
		return h
	}
	histograms := func(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
		m.Registry.MustRegister(h)
		return h
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.Registry.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.Registry.MustRegister(c)
		return c
	}
	m.requests = histograms("http_server_request_duration_seconds", "Time to answer a request.", requestBounds, "route", "method", "status")
	m.operations = histograms("graphql_operation_duration_seconds", "Time of GraphQL queries and mutations; only operations of our own have a name.", requestBounds, "type", "name", "outcome")
	m.rejected = counters("graphql_rejected_total", "GraphQL requests and operations refused before they ran.", "reason")
	m.limited = counters("ratelimit_rejected_total", "Calls refused because a bucket was empty.", "bucket")
	m.authFailed = counters("auth_failures_total", "Callers who could not sign in.", "reason")
	m.runs = counters("enrichment_runs_total", "Runs that ended.", "outcome")
	m.profiles = counters("enrichment_profiles_total", "Profiles that ended in a run.", "outcome")
	m.eventLag = histogram("run_events_lag_seconds", "From an event to the moment this process could hand it to subscribers.", lagBounds)
	m.attempts = counters("webhook_attempts_total", "Webhook attempts, by what followed and by class of status or error.", "outcome", "class")
	m.attemptTime = histogram("webhook_attempt_duration_seconds", "Time of one webhook attempt.", attemptBounds)
	m.deliveryTime = histogram("webhook_delivery_latency_seconds", "From the commit of an event to the receiver's 2xx.", deliveryBounds)
	m.captures = counter("billing_captures_total", "Credits captured.")
	m.conflicts = counter("billing_capture_conflicts_total", "Captures that existed already, which is how a second execution of a job shows.")
	m.refused = counter("billing_reserve_rejected_total", "Runs refused for want of credits.")
	m.replays = counters("idempotency_replays_total", "Calls answered with what an earlier call with the same key had made.", "operation")
	for _, operation := range KeyedOperations {
		m.replays.WithLabelValues(operation)
	}
	return m
}

// Request counts an answered request. route is a pattern, never a path. traceID is
// that of a trace that is kept, "" for none: an exemplar leads from the bucket to it.
func (m *Metrics) Request(route, method, status, traceID string, took time.Duration) {
	if m == nil {
		return
	}
	h := m.requests.WithLabelValues(route, method, status)
	if e, ok := h.(prometheus.ExemplarObserver); ok && traceID != "" {
		e.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": traceID})
		return
	}
	h.Observe(took.Seconds())
}

// Operation counts a GraphQL query or mutation that ran. name is "other" but for operations of our own.
func (m *Metrics) Operation(kind, name, outcome string, took time.Duration) {
	if m != nil {
		m.operations.WithLabelValues(kind, name, outcome).Observe(took.Seconds())
	}
}

// Rejected counts a GraphQL request or operation refused with a code of the allow-list.
func (m *Metrics) Rejected(code string) {
	if m != nil {
		m.rejected.WithLabelValues(code).Inc()
	}
}

// Limited counts a call that an empty bucket refused.
func (m *Metrics) Limited(bucket string) {
	if m != nil {
		m.limited.WithLabelValues(bucket).Inc()
	}
}

// AuthFailed counts a caller who could not sign in.
func (m *Metrics) AuthFailed(reason string) {
	if m != nil {
		m.authFailed.WithLabelValues(reason).Inc()
	}
}

// RunEnded counts a run that reached a final status.
func (m *Metrics) RunEnded(status string) {
	if m != nil {
		m.runs.WithLabelValues(status).Inc()
	}
}

// ProfileEnded counts a profile that reached its outcome.
func (m *Metrics) ProfileEnded(outcome string) {
	if m != nil {
		m.profiles.WithLabelValues(outcome).Inc()
	}
}

// EventRead measures how old an event is when it can be handed on.
func (m *Metrics) EventRead(lag time.Duration) {
	if m != nil {
		m.eventLag.Observe(max(0, lag.Seconds()))
	}
}

// Attempt counts a webhook attempt: what followed, "2xx" or such or a class of
// error, and how long it took. latency is from the event's commit, for one that was delivered, else 0.
func (m *Metrics) Attempt(outcome, class string, took, latency time.Duration) {
	if m == nil {
		return
	}
	m.attempts.WithLabelValues(outcome, class).Inc()
	m.attemptTime.Observe(took.Seconds())
	if latency > 0 {
		m.deliveryTime.Observe(latency.Seconds())
	}
}

// Captured counts credits captured, and captures that were there already.
func (m *Metrics) Captured(captured, there int) {
	if m != nil {
		m.captures.Add(float64(captured))
		m.conflicts.Add(float64(max(0, there)))
	}
}

// ReserveRefused counts a run refused for want of credits.
func (m *Metrics) ReserveRefused() {
	if m != nil {
		m.refused.Inc()
	}
}

// KeyedOperations are all that take an idempotency key, by the name that
// GraphQL has for them; the last two are commands only.
var KeyedOperations = []string{
	"startEnrichment", "retryFailedProfiles", "importProfiles", "erasePerson", "redeliver",
	"grantCredits", "purchaseCredits", "adjustCredits", "refundCredits",
}

// Replayed counts a call answered from an earlier one. operation is one of KeyedOperations.
func (m *Metrics) Replayed(operation string) {
	if m == nil {
		return
	}
	if !slices.Contains(KeyedOperations, operation) {
		operation = "other"
	}
	m.replays.WithLabelValues(operation).Inc()
}
