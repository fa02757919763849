package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	fanSockets = 500
	fanEvents  = 1200
	fanBatch   = 40 // events in one commit
	fanRounds  = 5
	paceEvents = 100
	paceEvery  = 50 * time.Millisecond // 20 events a second to 500 sockets: 10,000 messages
)

// fanout measures how fast the events of one run reach all that follow it, from
// the commit of another process on; and how late they are when there is no hurry.
func fanout(ctx context.Context, dsn string) (result, error) {
	r := result{
		Name: "fanout", Unit: "messages/s",
		What:    fmt.Sprintf("%d events of about 350 bytes, committed %d at a time, to %d sockets; every socket heard all, in order", fanEvents, fanBatch, fanSockets),
		Against: "gqlgen's own server and WebSocket transport (coder/websocket), the same schema, service, database and clients",
	}
	h, err := newHouse(ctx, dsn, 1)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)
	for range fanRounds {
		for _, side := range []struct {
			kind string
			into *[]float64
		}{{"ours", &r.OursEach}, {"stock", &r.RefEach}} {
			e, err := startEdge(ctx, side.kind, dsn, h.tenants[0].company)
			if err != nil {
				return r, err
			}
			perSecond, lag, err := h.fan(ctx, e)
			e.stop()
			if err != nil {
				return r, fmt.Errorf("%s: %w", side.kind, err)
			}
			*side.into = append(*side.into, perSecond)
			r.part(side.kind, "ms from commit to client at 10,000 messages/s, p50", lag.p50)
			r.part(side.kind, "ms from commit to client at 10,000 messages/s, p99", lag.p99)
		}
	}
	return r, nil
}

type lags struct{ p50, p99 float64 }

// fan opens the sockets on one run and sends through them, first in haste and then at a pace.
func (h *house) fan(ctx context.Context, e *edge) (perSecond float64, lag lags, err error) {
	runs, err := h.runs(ctx, 1)
	if err != nil {
		return 0, lag, err
	}
	all := make([]*wire, fanSockets)
	defer func() {
		for _, w := range all {
			if w != nil {
				w.Close()
			}
		}
	}()
	var g errgroup.Group
	g.SetLimit(16)
	for i := range all {
		g.Go(func() (err error) {
			if all[i], err = connect(e.addr, 32<<10); err != nil {
				return err
			}
			return all[i].follow("progress", runs[0])
		})
	}
	if err := g.Wait(); err != nil {
		return 0, lag, err
	}
	const first = 3 // sequence of the first event
	began := time.Now()
	heard := h.listen(all, first, fanEvents, nil)
	for n := first; n < first+fanEvents; n += fanBatch {
		if err := h.commit(ctx, runs[0], n, fanBatch); err != nil {
			return 0, lag, err
		}
	}
	if _, err := heard(); err != nil {
		return 0, lag, err
	}
	perSecond = rate(fanEvents*fanSockets, time.Since(began))

	sent := make([]time.Time, paceEvents)
	heard = h.listen(all, first+fanEvents, paceEvents, sent)
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for i := range sent {
		<-tick.C
		sent[i] = time.Now()
		if err := h.commit(ctx, runs[0], first+fanEvents+i, 1); err != nil {
			return 0, lag, err
		}
	}
	late, err := heard()
	if err != nil {
		return 0, lag, err
	}
	slices.Sort(late)
	ms := func(q float64) float64 {
		return round(float64(late[int(q*float64(len(late)-1))].Microseconds()) / 1000)
	}
	return perSecond, lags{ms(0.5), ms(0.99)}, nil
}

// listen reads n events on every socket and checks that they come in order. With
// sent, it says how long after its commit began each was heard.
func (h *house) listen(all []*wire, first, n int, sent []time.Time) (wait func() ([]time.Duration, error)) {
	var g errgroup.Group
	var mu sync.Mutex
	var late []time.Duration
	for _, w := range all {
		g.Go(func() error {
			buf := make([]byte, 4096)
			mine := make([]time.Duration, 0, len(sent))
			_ = w.SetReadDeadline(time.Now().Add(5 * time.Minute))
			for next := first; next < first+n; {
				b, err := w.hear(buf)
				if err != nil {
					return err
				}
				switch got := sequenceIn(b); {
				case got == 0: // a ping
					continue
				case got != next:
					return fmt.Errorf("heard event %d where %d was due", got, next)
				case sent != nil:
					mine = append(mine, time.Since(sent[got-first]))
				}
				next++
			}
			mu.Lock()
			late = append(late, mine...)
			mu.Unlock()
			return nil
		})
	}
	return func() ([]time.Duration, error) {
		err := g.Wait()
		return late, err
	}
}

// commit writes events first to first+n-1 of a run, and announces them.
func (h *house) commit(ctx context.Context, run string, first, n int) error {
	_, err := h.pool.Exec(ctx, `
INSERT INTO run_events (run_id, sequence, kind, occurred_at, data)
SELECT $1, s, 'ProfileAdvanced', now(), json_build_object('sequence', s, 'occurredAt', now(),
       'progress', json_build_object('total', 10, 'queued', 3, 'active', 4, 'enriched', 3),
       'profileId', 'prof_0193d7b2-8d3e-7c41-9b1a-3f2f6f0a1c55', 'stage', 'LOOKUP', 'outcome', 'ACTIVE',
       'fieldsChanged', json_build_array('name', 'headline', 'emails'), 'waitingOn', json_build_array('github'))
  FROM generate_series($2::int, $2::int + $3::int - 1) AS s`, run, first, n)
	h.wake.Publish(run)
	return err
}
