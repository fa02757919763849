package dispatch

import (
	"bytes"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkDeliver sends b.N events to one receiver on this machine, published
// ten to a transaction as fast as they can be, and reports deliveries a second
// from the first commit to the last recorded outcome.
func BenchmarkDeliver(b *testing.B) {
	s := setup(b)
	rc := s.receive(false, nil)
	s.webhook(rc.URL, nil)
	s.workers = 256
	s.work()
	data := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 1000)...), '"')
	b.ResetTimer()
	for left := b.N; left > 0; left -= 10 {
		var events []Event
		for range min(left, 10) {
			events = append(events, s.event(func(e *Event) { e.Data = data }))
		}
		s.publish(events...)
	}
	for s.count(`SELECT count(*) FROM deliveries WHERE status = 'DELIVERED'`) < b.N {
		time.Sleep(20 * time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	if n := len(rc.seen()); n != b.N {
		b.Errorf("%d of %d arrived", n, b.N)
	}
}

// BenchmarkLatency publishes one event each 5 ms (200 a second) and reports how
// long it takes from commit to arrival.
func BenchmarkLatency(b *testing.B) {
	s := setup(b)
	rc := s.receive(false, nil)
	s.webhook(rc.URL, nil)
	s.workers = 256
	s.work()
	sent := map[string]time.Time{}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for i := range b.N {
		<-tick.C
		e := s.event(func(e *Event) { e.Data = []byte(strconv.Itoa(i)) })
		s.publish(e)
		sent[strconv.Itoa(i)] = time.Now()
	}
	s.ended(b.N)
	var took []time.Duration
	for _, a := range rc.seen() {
		n := a.Body[bytes.LastIndexByte(a.Body, ':')+1 : len(a.Body)-1]
		took = append(took, a.At.Sub(sent[string(n)]))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}
