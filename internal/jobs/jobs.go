// Package jobs holds the two River clients: one that only inserts, inside the
// caller's Bun transaction, and one that works, on a pgx pool. It knows no
// domain; worker types live there and are handed over by cmd.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/pg"
)

// The queues. A slow webhook receiver never takes a profile's slot, because each has its own workers.
const (
	QueueEnrich  = "enrich"
	QueueWebhook = "webhook"
	QueueUpkeep  = "upkeep" // periodic sweeps
)

// The settings of engine.md.
const (
	fetchCooldown  = 10 * time.Millisecond
	fetchPoll      = 200 * time.Millisecond
	jobTimeout     = 12 * time.Second // a profile's 10 s and the settling
	rescueAfter    = 45 * time.Second // above every job's own timeout; dead nodes are noticed much sooner, see Node
	keepCompleted  = 10 * time.Minute
	upkeepWorkers  = 4
	softStopWindow = 12 * time.Second
)

// Inserter puts jobs into the caller's transaction, and announces them behind its commit.
type Inserter struct {
	client *river.Client[*sql.Tx]
	wake   Announcer
}

// Announcer sends a notification that carries no data of its own; many equal ones may become one.
type Announcer interface {
	// Announce notifies topic of the current schema: the channel "schema.topic".
	Announce(topic, payload string)
}

// NewInserter makes the insert-only client over db. wake may be nil: then workers
// find new jobs when they poll, every 200 ms.
func NewInserter(db *bun.DB, wake Announcer, log *slog.Logger) (*Inserter, error) {
	client, err := river.NewClient[*sql.Tx](driver{riverdatabasesql.New(db.DB)}, &river.Config{Logger: quiet(log)})
	if err != nil {
		return nil, fmt.Errorf("river inserter: %w", err)
	}
	return &Inserter{client, wake}, nil
}

// insertTopic and the payload are what a River worker listens to (contract_test.go).
const insertTopic = "river_insert"

// announce tells the workers of the jobs' queues, once they are committed.
func (i *Inserter) announce(ctx context.Context, params []river.InsertManyParams) {
	if i.wake == nil {
		return
	}
	queues := map[string]struct{}{}
	for _, p := range params {
		queue := river.QueueDefault
		if p.InsertOpts != nil && p.InsertOpts.Queue != "" {
			queue = p.InsertOpts.Queue
		}
		queues[queue] = struct{}{}
	}
	pg.AfterCommit(ctx, func() {
		for queue := range queues {
			i.wake.Announce(insertTopic, fmt.Sprintf(`{"queue": %q}`, queue))
		}
	})
}

// InsertMany inserts params as jobs that exist exactly when tx commits; no params is no statement.
func (i *Inserter) InsertMany(ctx context.Context, tx bun.Tx, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	if len(params) == 0 {
		return nil, nil
	}
	res, err := i.client.InsertManyTx(ctx, tx.Tx, params)
	if err != nil {
		return nil, fmt.Errorf("insert %d jobs: %w", len(params), err)
	}
	i.announce(ctx, params)
	return res, nil
}

// Add inserts params as InsertMany does, without reading the rows back: for
// many jobs whose ids nobody needs. It works on pgdriver because the guard
// prepares what has arguments (contract_test.go), and is one statement, which
// pg.Last may end the transaction with.
func (i *Inserter) Add(ctx context.Context, tx bun.Tx, params []river.InsertManyParams) error {
	if len(params) == 0 {
		return nil
	}
	if _, err := i.client.InsertManyFastTx(ctx, tx.Tx, params); err != nil {
		return fmt.Errorf("insert %d jobs: %w", len(params), err)
	}
	i.announce(ctx, params)
	return nil
}

// Cancel cancels one job when tx commits; a running job's context is cancelled. An unknown job is no error.
func (i *Inserter) Cancel(ctx context.Context, tx bun.Tx, id int64) error {
	if _, err := i.client.JobCancelTx(ctx, tx.Tx, id); err != nil && err != rivertype.ErrNotFound {
		return fmt.Errorf("cancel job %d: %w", id, err)
	}
	return nil
}

// RetryNow makes a waiting job due when tx commits. A running job is left
// alone, and running says so: when it snoozes, it may do so for long. An unknown job is no error.
func (i *Inserter) RetryNow(ctx context.Context, tx bun.Tx, id int64) (running bool, err error) {
	job, err := i.client.JobRetryTx(ctx, tx.Tx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("retry job %d: %w", id, err)
	}
	return job.State == rivertype.JobStateRunning, nil
}

// WorkerConfig is what a working client needs besides its workers.
type WorkerConfig struct {
	NodeID         string
	EnrichWorkers  int // profiles at once on this node; 0: none of that queue
	WebhookWorkers int // deliveries at once on this node; 0: none of that queue
	Periodic       []*river.PeriodicJob
	Log            *slog.Logger
}

// Worker is the working client.
type Worker struct {
	Client *river.Client[pgx.Tx]
}

// NewWorker makes the working client on pool. Start and Stop it.
func NewWorker(pool *pgxpool.Pool, workers *river.Workers, c WorkerConfig) (*Worker, error) {
	queues := map[string]river.QueueConfig{QueueUpkeep: {MaxWorkers: upkeepWorkers}}
	if c.EnrichWorkers > 0 {
		queues[QueueEnrich] = river.QueueConfig{MaxWorkers: c.EnrichWorkers}
	}
	if c.WebhookWorkers > 0 {
		queues[QueueWebhook] = river.QueueConfig{MaxWorkers: c.WebhookWorkers}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID:                          c.NodeID,
		Queues:                      queues,
		Workers:                     workers,
		PeriodicJobs:                c.Periodic,
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           fetchPoll,
		JobTimeout:                  jobTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		CompletedJobRetentionPeriod: keepCompleted,
		SoftStopTimeout:             softStopWindow,
		Logger:                      quiet(c.Log),
	})
	if err != nil {
		return nil, fmt.Errorf("river worker: %w", err)
	}
	return &Worker{client}, nil
}

// Start begins to fetch jobs. It is detached from ctx: only Stop ends it.
func (w *Worker) Start(ctx context.Context) error {
	if err := w.Client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start river: %w", err)
	}
	return nil
}

// Stop stops fetching, lets running jobs finish for 12 s, then cancels them.
func (w *Worker) Stop(ctx context.Context) error {
	if err := w.Client.Stop(ctx); err != nil {
		return fmt.Errorf("stop river: %w", err)
	}
	return nil
}

// quiet keeps River's own chatter below our warnings.
func quiet(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(levelFloor{log.Handler(), slog.LevelWarn})
}

type levelFloor struct {
	slog.Handler
	floor slog.Level
}

func (h levelFloor) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.floor && h.Handler.Enabled(ctx, l)
}

func (h levelFloor) WithAttrs(as []slog.Attr) slog.Handler {
	return levelFloor{h.Handler.WithAttrs(as), h.floor}
}

func (h levelFloor) WithGroup(name string) slog.Handler {
	return levelFloor{h.Handler.WithGroup(name), h.floor}
}
