package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/enrichd/enrichd/internal/pg"
)

const (
	sweepEvery  = 2 * time.Second
	rescueBatch = 1000
)

// Node keeps this process's sign of life in the database and frees the jobs of
// processes that died. River alone notices a dead node only by the age of its
// jobs (45 s and a sweep); a session advisory lock is gone with the process, so
// its work goes on within seconds. A node that merely lost its connection is
// taken for dead too: its jobs then run twice, which the guarded settlement
// makes harmless.
type Node struct {
	ID  string
	DSN string // for a pgx connection of its own
	// Connect is how that connection is made, as pg.Open's are.
	Connect []pg.Option
	Worker  *Worker
	Log     *slog.Logger

	cancel context.CancelFunc
	done   chan struct{}
}

// Start registers the node and begins to look after the others. It frees what
// dead nodes left before it returns.
func (n *Node) Start(ctx context.Context) error {
	conn, err := n.register(ctx)
	if err != nil {
		return err
	}
	if err := n.sweep(ctx, conn); err != nil {
		n.Log.WarnContext(ctx, "look for dead nodes", "err", err)
	}
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.done = make(chan struct{})
	go n.run(ctx, conn)
	return nil
}

// Stop takes the node off the register. Call it after the worker has stopped.
func (n *Node) Stop(context.Context) error {
	if n.cancel != nil {
		n.cancel()
		<-n.done
	}
	return nil
}

func (n *Node) register(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pg.Connect(ctx, n.DSN, n.Connect...)
	if err != nil {
		return nil, fmt.Errorf("register node: %w", err)
	}
	// The lock comes first: a row without a lock would look dead.
	_, err = conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('enrichd node ' || $1, 0))`, n.ID)
	if err == nil {
		_, err = conn.Exec(ctx, `INSERT INTO nodes (id) VALUES ($1) ON CONFLICT (id) DO NOTHING`, n.ID)
	}
	if err != nil {
		conn.Close(ctx)
		return nil, fmt.Errorf("register node: %w", err)
	}
	return conn, nil
}

func (n *Node) run(ctx context.Context, conn *pgx.Conn) {
	defer close(n.done)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if conn != nil {
				bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
				if _, err := conn.Exec(bye, `DELETE FROM nodes WHERE id = $1`, n.ID); err != nil {
					n.Log.WarnContext(bye, "take node off the register", "err", err)
				}
				conn.Close(bye)
				cancel()
			}
			return
		case <-tick.C:
		}
		var err error
		if conn == nil {
			conn, err = n.register(ctx)
		} else {
			err = n.sweep(ctx, conn)
		}
		if err != nil && ctx.Err() == nil {
			n.Log.WarnContext(ctx, "keep the register of nodes", "err", err)
			if conn != nil && (conn.IsClosed() || conn.Ping(ctx) != nil) {
				conn.Close(ctx)
				conn = nil
			}
		}
	}
}

// sweep frees the jobs of every registered node whose lock is free.
func (n *Node) sweep(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT id FROM nodes WHERE id <> $1`, n.ID)
	if err != nil {
		return fmt.Errorf("read nodes: %w", err)
	}
	others, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read nodes: %w", err)
	}
	for _, id := range others {
		var dead bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended('enrichd node ' || $1, 0))`, id).Scan(&dead); err != nil {
			return fmt.Errorf("try node %s: %w", id, err)
		}
		if !dead {
			continue
		}
		// While we hold the dead node's lock no other node frees the same jobs.
		freed, err := n.free(ctx, id)
		if err == nil {
			_, err = conn.Exec(ctx, `DELETE FROM nodes WHERE id = $1`, id)
		}
		if _, unlock := conn.Exec(ctx, `SELECT pg_advisory_unlock(hashtextextended('enrichd node ' || $1, 0))`, id); err == nil {
			err = unlock
		}
		if err != nil {
			return fmt.Errorf("free the jobs of node %s: %w", id, err)
		}
		n.Log.InfoContext(ctx, "node died, its jobs go on", "node", id, "jobs", freed)
	}
	return nil
}

// free makes a dead node's running jobs available again, as River's own rescuer
// would later. A job on its last attempt is made available too, by River's rule
// that attempts are counted when a job is fetched: it is the worker that ends it.
func (n *Node) free(ctx context.Context, node string) (int, error) {
	total := 0
	for {
		res, err := n.Worker.Client.JobList(ctx, river.NewJobListParams().
			States(rivertype.JobStateRunning).First(rescueBatch).
			Where("attempted_by[array_upper(attempted_by, 1)] = @node", river.NamedArgs{"node": node}))
		if err != nil {
			return total, fmt.Errorf("list its jobs: %w", err)
		}
		if len(res.Jobs) == 0 {
			return total, nil
		}
		now := time.Now().UTC()
		p := &riverdriver.JobRescueManyParams{StuckHorizon: now.Add(time.Hour)}
		for _, job := range res.Jobs {
			note, err := json.Marshal(rivertype.AttemptError{At: now, Attempt: job.Attempt, Error: "node died", Trace: ""})
			if err != nil {
				return total, fmt.Errorf("note the loss: %w", err)
			}
			p.ID = append(p.ID, job.ID)
			p.Error = append(p.Error, note)
			p.FinalizedAt = append(p.FinalizedAt, nil)
			p.ScheduledAt = append(p.ScheduledAt, now)
			p.State = append(p.State, string(rivertype.JobStateAvailable))
		}
		if _, err := n.Worker.Client.Driver().GetExecutor().JobRescueMany(ctx, p); err != nil {
			return total, fmt.Errorf("rescue %d jobs: %w", len(p.ID), err)
		}
		total += len(p.ID)
	}
}
