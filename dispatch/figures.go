package dispatch

import (
	"context"
	"time"

	"github.com/enrichd/enrichd/internal/metrics"
)

// The figures about what waits to be delivered are the same on every node, and
// no older than figuresFresh; figuresWithin bounds looking them up.
const (
	figuresFresh  = 5 * time.Second
	figuresWithin = 2 * time.Second
)

var figures = []metrics.Figure{
	{Name: "webhook_queue_depth", Help: "Deliveries that have not ended.", Kind: metrics.Gauge},
	{Name: "webhook_oldest_due_seconds", Help: "How long the delivery that is due longest has been due.", Kind: metrics.Gauge},
	{Name: "webhook_circuits", Help: "Webhooks by the state of their circuit.", Kind: metrics.Gauge, Labels: []string{"state"}},
}

// Measure adds the figures about what waits to be delivered. While the database is away they are left out.
func (s *Service) Measure(m *metrics.Metrics) {
	m.Sample(figures, figuresFresh, func(emit metrics.Emit) {
		ctx, cancel := context.WithTimeout(context.Background(), figuresWithin)
		defer cancel()
		b, err := s.store.backlog(ctx, s.DB)
		if err != nil {
			s.Log.WarnContext(ctx, "count the webhook backlog", "err", err)
			return
		}
		emit("webhook_queue_depth", float64(b.Depth))
		emit("webhook_oldest_due_seconds", b.OldestDue)
		emit("webhook_circuits", float64(b.Closed), "closed")
		emit("webhook_circuits", float64(b.Open), "open")
		emit("webhook_circuits", float64(b.HalfOpen), "half_open")
	})
}
