package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/enrichd/enrichd/internal/jobs"
)

// The periodic jobs. Each handles everything that is due, not one tick, and runs
// on start as well, because River keeps the next run of a periodic job in memory
// only: a server that was off for three months closes three periods. Each is
// unique within its period, and harmless when two nodes run it at once all the same.
const (
	cyclePeriod = time.Hour
	sweepPeriod = time.Minute
	auditPeriod = 15 * time.Minute
	// The longest that one run of each may take.
	cycleTime = 10 * time.Minute
	sweepTime = time.Minute
	auditTime = 10 * time.Minute
)

// CycleArgs is the job that closes billing periods.
type CycleArgs struct{}

// Kind names the job to River.
func (CycleArgs) Kind() string { return "billing_cycle" }

// InsertOpts makes the job unique by its period.
func (CycleArgs) InsertOpts() river.InsertOpts { return upkeep(cyclePeriod) }

// SweepArgs is the job that ends what has expired: credits, and holds of runs that are no more.
type SweepArgs struct{}

// Kind names the job to River.
func (SweepArgs) Kind() string { return "billing_sweep" }

// InsertOpts makes the job unique by its period.
func (SweepArgs) InsertOpts() river.InsertOpts { return upkeep(sweepPeriod) }

// AuditArgs is the job that proves the books.
type AuditArgs struct{}

// Kind names the job to River.
func (AuditArgs) Kind() string { return "billing_audit" }

// InsertOpts makes the job unique by its period.
func (AuditArgs) InsertOpts() river.InsertOpts { return upkeep(auditPeriod) }

func upkeep(period time.Duration) river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueUpkeep, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: period}}
}

// CycleWorker closes every period that has ended, and numbers what is due.
type CycleWorker struct {
	river.WorkerDefaults[CycleArgs]
	Ledger *Ledger
}

// Timeout bounds one run.
func (*CycleWorker) Timeout(*river.Job[CycleArgs]) time.Duration { return cycleTime }

// Work implements river.Worker.
func (w *CycleWorker) Work(ctx context.Context, _ *river.Job[CycleArgs]) error {
	done, err := w.Ledger.CloseDue(ctx)
	if n := len(done.Invoices) + done.Empty; n > 0 || len(done.Numbered) > 0 {
		w.Ledger.Log.InfoContext(ctx, "closed billing periods", "periods", n, "invoices", len(done.Invoices), "numbered", len(done.Numbered))
	}
	return err
}

// SweepWorker ends what has expired.
type SweepWorker struct {
	river.WorkerDefaults[SweepArgs]
	Ledger *Ledger
	Runs   Runs
}

// Timeout bounds one run.
func (*SweepWorker) Timeout(*river.Job[SweepArgs]) time.Duration { return sweepTime }

// Work implements river.Worker.
func (w *SweepWorker) Work(ctx context.Context, _ *river.Job[SweepArgs]) error {
	_, swept := w.Ledger.Sweep(ctx)
	n, reaped := w.Ledger.Reap(ctx, w.Runs)
	if n > 0 {
		w.Ledger.Log.WarnContext(ctx, "released what abandoned runs held", "runs", n)
	}
	return errors.Join(swept, reaped)
}

// AuditWorker proves the books and records the result.
type AuditWorker struct {
	river.WorkerDefaults[AuditArgs]
	Ledger *Ledger
}

// Timeout bounds one run.
func (*AuditWorker) Timeout(*river.Job[AuditArgs]) time.Duration { return auditTime }

// Work implements river.Worker.
func (w *AuditWorker) Work(ctx context.Context, _ *river.Job[AuditArgs]) error {
	p, err := w.Ledger.Prove(ctx)
	if err != nil {
		return err
	}
	for _, f := range p.Findings {
		w.Ledger.Log.ErrorContext(ctx, "the books do not add up", slog.String("invariant", f.Invariant),
			slog.String("account", f.AccountID), slog.Int64("entry", f.Entry), slog.String("detail", f.Detail))
	}
	return w.Ledger.Record(ctx, p)
}

// AddWorkers adds this package's workers, and returns its periodic jobs.
func (l *Ledger) AddWorkers(workers *river.Workers, runs Runs) []*river.PeriodicJob {
	river.AddWorker(workers, &CycleWorker{Ledger: l})
	river.AddWorker(workers, &SweepWorker{Ledger: l, Runs: runs})
	river.AddWorker(workers, &AuditWorker{Ledger: l})
	every := func(period time.Duration, args river.JobArgs) *river.PeriodicJob {
		return river.NewPeriodicJob(river.PeriodicInterval(period),
			func() (river.JobArgs, *river.InsertOpts) { return args, nil }, &river.PeriodicJobOpts{RunOnStart: true})
	}
	return []*river.PeriodicJob{every(cyclePeriod, CycleArgs{}), every(sweepPeriod, SweepArgs{}), every(auditPeriod, AuditArgs{})}
}

// Chain turns on the chain over the entries of every account, for good: from the
// next entry on each carries a digest of itself and of the chain before it.
func (l *Ledger) Chain(ctx context.Context) error {
	if err := enableChain(ctx, l.DB); err != nil {
		return fmt.Errorf("turn on the ledger's chain: %w", err)
	}
	return nil
}
