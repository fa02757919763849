package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// subscriptions measures what waiting subscriptions hold: resident memory of a server beside what it held without them.
func subscriptions(ctx context.Context, dsn string) (result, error) {
	r := result{
		Name: "subscriptions", Unit: "KiB RSS a socket",
		What:    "10,000 sockets with one idle subscription each, every one to a run of its own; resident memory after a collection, in a process of its own",
		Against: "gqlgen's own server and WebSocket transport (coder/websocket), the same schema, service and clients",
	}
	h, err := newHouse(ctx, dsn, 1)
	if err != nil {
		return r, err
	}
	defer h.close(ctx)
	runs, err := h.runs(ctx, 10_000)
	if err != nil {
		return r, err
	}
	for _, side := range []struct {
		kind string
		into *[]float64
	}{{"ours", &r.OursEach}, {"stock", &r.RefEach}} {
		for _, shape := range []struct{ sockets, each int }{{10_000, 1}, {1000, 10}} {
			held, err := idle(ctx, side.kind, dsn, h.tenants[0].company, runs, shape.sockets, shape.each)
			if err != nil {
				return r, fmt.Errorf("%s, %d sockets: %w", side.kind, shape.sockets, err)
			}
			name := fmt.Sprintf("%dx%d", shape.sockets, shape.each)
			n := float64(shape.sockets * shape.each)
			if shape.each == 1 {
				*side.into = append(*side.into, round(held.kib/n))
			}
			r.part(side.kind, name+" KiB a subscription", held.kib/n)
			r.part(side.kind, name+" KiB a subscription, before the collection", held.grown/n)
			r.part(side.kind, name+" goroutines a subscription", float64(held.goroutines)/n)
			r.part(side.kind, name+" goroutines left after all had gone", float64(held.left))
			r.part(side.kind, name+" KiB left of all when they had gone", held.leftKiB)
			r.part(side.kind, name+" KiB more left when as many again had come and gone", held.moreKiB)
		}
	}
	return r, nil
}

// holding is what so many idle subscriptions hold, and what stays when they have gone.
type holding struct {
	kib, grown, leftKiB, moreKiB float64
	goroutines, left             int
}

func idle(ctx context.Context, kind, dsn, company string, runs []string, sockets, each int) (h holding, err error) {
	e, err := startEdge(ctx, kind, dsn, company)
	if err != nil {
		return h, err
	}
	defer e.stop()
	// What a server makes at its first connections is not counted with any of them.
	if err := e.crowd(runs[:100], 100, 1, func() error { return nil }); err != nil {
		return h, err
	}
	before, err := e.settled(0)
	if err != nil {
		return h, err
	}
	err = e.crowd(runs, sockets, each, func() error {
		full, err := e.usage()
		h.kib, h.grown = float64(full.RSS-before.RSS)/1024, float64(full.Grown-before.RSS)/1024
		h.goroutines = full.Goroutines - before.Goroutines
		return err
	})
	if err != nil {
		return h, err
	}
	after, err := e.settled(before.Goroutines)
	if err != nil {
		return h, err
	}
	h.leftKiB = float64(after.RSS-before.RSS) / 1024
	if err := e.crowd(runs, sockets, each, func() error { return nil }); err != nil {
		return h, err
	}
	again, err := e.settled(before.Goroutines)
	h.left, h.moreKiB = again.Goroutines-before.Goroutines, float64(again.RSS-after.RSS)/1024
	return h, err
}

// settled waits until a server has no more than so many goroutines, or 0: until their number stands still, and says what it holds then.
func (e *edge) settled(goroutines int) (u usage, err error) {
	for last, end := -1, time.Now().Add(30*time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if u, err = e.usage(); err != nil || u.Goroutines == last && goroutines == 0 || u.Goroutines <= goroutines {
			return u, err
		}
		last = u.Goroutines
	}
	return u, nil
}

// crowd opens sockets with so many subscriptions each, calls during, and closes them.
func (e *edge) crowd(runs []string, sockets, each int, during func() error) error {
	all := make([]*wire, sockets)
	var g errgroup.Group
	g.SetLimit(16)
	for i := range all {
		g.Go(func() error {
			w, err := connect(e.addr, 512)
			if err != nil {
				return err
			}
			all[i] = w
			for j := range each {
				if err := w.follow(fmt.Sprint(j), runs[(i*each+j)%len(runs)]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil {
		err = during()
	}
	for _, w := range all {
		if w != nil {
			w.Close()
		}
	}
	return err
}

// runs makes open runs of ten profiles, as they stand while they wait for a worker.
func (h *house) runs(ctx context.Context, n int) ([]string, error) {
	rows, err := h.pool.Query(ctx, `
INSERT INTO runs (id, company_id, api_key_id, status, total, queued, stages, reserved, last_sequence)
SELECT 'enr_' || gen_random_uuid(), $1, 'bench', 'RUNNING', 10, 10, '[]', 10, 2 FROM generate_series(1, $2::int) RETURNING id`, h.tenants[0].company, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
