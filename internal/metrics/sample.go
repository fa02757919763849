package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kind says what a sampled figure is.
type Kind = prometheus.ValueType

// The kinds.
const (
	Counter = prometheus.CounterValue
	Gauge   = prometheus.GaugeValue
)

// Figure is a figure that is looked up when somebody asks.
type Figure struct {
	Name, Help string
	Kind       Kind
	// Labels are the names of the labels that every value has.
	Labels []string
}

// Emit hands over one value of a figure with its labels.
type Emit func(figure string, value float64, labels ...string)

// Sample adds figures that look finds out together. It is asked at most once
// every fresh, and what it said is repeated meanwhile; 0 asks every time. It is never asked twice at once.
func (m *Metrics) Sample(figures []Figure, fresh time.Duration, look func(Emit)) {
	s := &sampler{fresh: fresh, look: look, desc: map[string]*prometheus.Desc{}, kind: map[string]Kind{}}
	for _, f := range figures {
		s.desc[f.Name] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
		s.kind[f.Name] = f.Kind
	}
	m.Registry.MustRegister(s)
}

type sampler struct {
	fresh time.Duration
	look  func(Emit)
	desc  map[string]*prometheus.Desc
	kind  map[string]Kind

	mu   sync.Mutex
	read time.Time
	said []prometheus.Metric
}

// Describe implements prometheus.Collector.
func (s *sampler) Describe(out chan<- *prometheus.Desc) {
	for _, d := range s.desc {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *sampler) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh == 0 || time.Since(s.read) >= s.fresh {
		s.said = s.said[:0]
		s.look(func(figure string, value float64, labels ...string) {
			v, err := prometheus.NewConstMetric(s.desc[figure], s.kind[figure], value, labels...)
			if err != nil {
				v = prometheus.NewInvalidMetric(s.desc[figure], err)
			}
			s.said = append(s.said, v)
		})
		s.read = time.Now()
	}
	for _, v := range s.said {
		out <- v
	}
}
