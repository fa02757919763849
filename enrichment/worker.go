package enrichment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/spans"
)

const (
	// profileTime is what each profile has from the start of its job.
	profileTime = 10 * time.Second
	// lateAfter is when a profile that still works says what it waits for.
	lateAfter       = 7 * time.Second
	profileAttempts = 3
	// orphanAge is how long an open profile without a live job is left alone:
	// longer than accepting, working and settling can take.
	orphanAge   = 20 * time.Second
	sweepBatch  = 500
	sweepPeriod = 10 * time.Second
)

// ProfileArgs is the job of one profile of one run. It holds ids only.
type ProfileArgs struct {
	Run     string `json:"run"`
	Profile string `json:"profile"`
}

// Kind names the job to River.
func (ProfileArgs) Kind() string { return "enrich_profile" }

// InsertOpts puts the job into its queue.
func (ProfileArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueEnrich, MaxAttempts: profileAttempts}
}

// jobsOf are the jobs of a run's open profiles.
func jobsOf(b *book) []river.InsertManyParams {
	var work []river.InsertManyParams
	for _, m := range b.members {
		if m.Outcome.Open() {
			work = append(work, river.InsertManyParams{Args: ProfileArgs{Run: b.run.ID, Profile: m.ProfileID}})
		}
	}
	return work
}

// ProfileWorker takes one profile through the pipeline and settles it. It
// returns nil once the profile has an outcome, whichever it is.
type ProfileWorker struct {
	river.WorkerDefaults[ProfileArgs]
	Service *Service
	Settler *Settler
	Live    *pipeline.Runner
	Sandbox *pipeline.Runner // for test keys: no network
	Log     *slog.Logger
}

// Timeout is a profile's time and what settling may take.
func (w *ProfileWorker) Timeout(*river.Job[ProfileArgs]) time.Duration {
	return profileTime + 5*time.Second
}

// Work implements river.Worker.
func (w *ProfileWorker) Work(ctx context.Context, job *river.Job[ProfileArgs]) error {
	began := time.Now()
	args := job.Args
	item, err := w.Service.Store.work(ctx, w.Service.DB, args.Run, args.Profile)
	if err != nil {
		return err // nothing is known of it yet; the sweep settles what stays open
	}
	if item == nil || !item.member.Outcome.Open() {
		return nil // settled by an earlier execution, or erased
	}
	company := item.member.CompanyID
	ctx, ended := spans.Begin(ctx, "profile", slog.String("run_id", args.Run), slog.String("company_id", company), slog.Int("attempt", job.Attempt))
	end := func(f Finish) error {
		err := w.Settler.Settle(ctx, args.Run, company, args.Profile, f)
		w.tell(ctx, job, company, f, time.Since(began), err)
		spans.Note(ctx, slog.String("outcome", string(f.Outcome)))
		return err
	}
	err = w.profile(ctx, job, item, company, began, end)
	ended(err)
	return err
}

// tell logs the end of a profile in one wide line.
func (w *ProfileWorker) tell(ctx context.Context, job *river.Job[ProfileArgs], company string, f Finish, took time.Duration, err error) {
	level, attrs := slog.LevelInfo, []slog.Attr{
		slog.String("run_id", job.Args.Run), slog.String("profile_id", job.Args.Profile), slog.String("company_id", company),
		slog.String("outcome", string(f.Outcome)), slog.Int("attempt", job.Attempt), slog.Int64("millis", took.Milliseconds()),
		slog.Int("sources_lost", len(f.Missing)),
	}
	if f.Failure != nil {
		attrs = append(attrs, slog.String("failure", f.Failure.Code))
	}
	if err != nil {
		level, attrs = slog.LevelWarn, append(attrs, slog.Any("err", err))
	}
	w.Log.LogAttrs(ctx, level, "profile", attrs...)
}

// profile takes an open profile to its end, which it hands to end.
func (w *ProfileWorker) profile(ctx context.Context, job *river.Job[ProfileArgs], item *work, company string, began time.Time, end func(Finish) error) error {
	args := job.Args
	input := pipeline.Input{ProfileID: args.Profile, Name: args.Profile}
	switch {
	case job.Attempt > profileAttempts:
		return end(failed("worker_lost", "the process that worked on this profile died each time", true))
	case item.status == StatusCancelling && item.member.Outcome == OutcomeQueued:
		return end(Finish{Outcome: OutcomeCancelled})
	case item.profile != nil && item.profile.Suppressed:
		return end(Finish{Outcome: OutcomeSuppressed})
	case item.profile != nil:
		input = item.profile.input()
	case !item.test || !reserved(args.Profile):
		return end(Finish{Outcome: OutcomeNotFound}) // erased since the run was accepted
	}

	t := &told{settler: w.Settler, run: args.Run, company: company, profile: args.Profile}
	t.tell(func(b *book, m *RunProfile, at time.Time) { b.begin(m, at, job.Attempt) })
	late := time.AfterFunc(lateAfter, func() { t.tell((*book).late) })
	res := w.run(ctx, item.test, args.Run, input, t, began)
	late.Stop()
	t.stop()
	if ctx.Err() != nil {
		return ctx.Err() // the node is stopping: another attempt starts afresh
	}

	f, err := w.judge(ctx, company, item.profile, res)
	if item.profile != nil {
		f.Fingerprint = item.profile.Fingerprint
	}
	if err == nil {
		err = end(f)
	}
	if err != nil && job.Attempt >= profileAttempts && ctx.Err() == nil && !pg.IsUnavailable(err) {
		// The last attempt settles: no run waits for ever.
		return errors.Join(err, end(failed("internal", "the result could not be stored", true)))
	}
	return err
}

// run gives the pipeline its ten seconds, and returns when they are over even if the pipeline does not.
func (w *ProfileWorker) run(ctx context.Context, test bool, run string, in pipeline.Input, p pipeline.Progress, began time.Time) pipeline.Result {
	runner := w.Live
	if test {
		runner = w.Sandbox
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(profileTime))
	defer cancel()
	results := make(chan pipeline.Result, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				w.Log.Error("pipeline panicked", "run_id", run, "profile_id", in.ProfileID, "panic", r, "stack", string(debug.Stack()))
				results <- pipeline.Result{Outcome: pipeline.Failed, FailureCode: "internal", FailureMessage: "a fault of ours", Retryable: true}
			}
		}()
		results <- runner.Run(ctx, run, in, p)
	}()
	select {
	case r := <-results:
		return r
	case <-ctx.Done():
		return pipeline.Result{
			Outcome: pipeline.TimedOut, FailureCode: "timeout", Retryable: true,
			FailureMessage: fmt.Sprintf("unsettled when its %d seconds ended", int(profileTime.Seconds())),
		}
	}
}

// judge turns the pipeline's result into an outcome. If the person objected
// meanwhile, or turns out by an identifier met on the way to be one who did,
// everything found is dropped.
func (w *ProfileWorker) judge(ctx context.Context, company string, p *Profile, r pipeline.Result) (Finish, error) {
	var own [][]byte
	name := ""
	if p != nil {
		own, name = p.PersonDigests, p.Name
	}
	found := foundDigests(w.Service.Box, company, name, r.Identifiers)
	objected, err := w.Service.Store.suppressedAny(ctx, w.Service.DB, company, slices.Concat(own, found))
	if err != nil {
		return Finish{}, err
	}
	if objected {
		return Finish{Outcome: OutcomeSuppressed}, nil
	}
	f := Finish{Outcome: Outcome(r.Outcome), Candidate: r.Candidate, Missing: r.Missing, Digests: found}
	if r.FailureCode != "" {
		f.Failure = &Failure{Code: r.FailureCode, Message: r.FailureMessage, Retryable: r.Retryable}
	}
	return f, nil
}

func failed(code, message string, retryable bool) Finish {
	return Finish{Outcome: OutcomeFailed, Failure: &Failure{Code: code, Message: message, Retryable: retryable}}
}

// SweepArgs is the periodic job that settles what no live job will.
type SweepArgs struct{}

// Kind names the job to River.
func (SweepArgs) Kind() string { return "enrich_sweep" }

// InsertOpts makes the job unique by its period.
func (SweepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueUpkeep, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: sweepPeriod}}
}

// SweepWorker settles open profiles whose job is gone as FAILED, so that no run
// waits for ever. It handles everything overdue, not one tick.
type SweepWorker struct {
	river.WorkerDefaults[SweepArgs]
	Service *Service
	Settler *Settler
}

// Work implements river.Worker.
func (w *SweepWorker) Work(ctx context.Context, _ *river.Job[SweepArgs]) error {
	orphans, err := w.Service.Store.orphans(ctx, w.Service.DB, "", orphanAge, sweepBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range orphans {
		errs = append(errs, w.Settler.Settle(ctx, o.RunID, o.CompanyID, o.ProfileID,
			failed("worker_lost", "no worker is left for this profile", true)))
	}
	return errors.Join(errs...)
}

// retentionPeriod is how often what is too old is deleted.
const retentionPeriod = time.Hour

// RetentionArgs is the periodic job that deletes what has been kept long enough.
type RetentionArgs struct{}

// Kind names the job to River.
func (RetentionArgs) Kind() string { return "retention" }

// InsertOpts makes the job unique by its period.
func (RetentionArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueUpkeep, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByPeriod: retentionPeriod}}
}

// RetentionWorker runs Service.SweepRetention.
type RetentionWorker struct {
	river.WorkerDefaults[RetentionArgs]
	Service *Service
}

// Timeout is below the age at which River takes a job for lost.
func (w *RetentionWorker) Timeout(*river.Job[RetentionArgs]) time.Duration { return 30 * time.Second }

// Work implements river.Worker. A backlog that takes longer is gone on with at once.
func (w *RetentionWorker) Work(ctx context.Context, _ *river.Job[RetentionArgs]) error {
	err := w.Service.SweepRetention(ctx, time.Now())
	if errors.Is(err, context.DeadlineExceeded) {
		return river.JobSnooze(time.Second)
	}
	return err
}

// Periodic lists the periodic jobs of this package. Each runs on start too,
// because River keeps the next run of a periodic job in memory only.
func Periodic() []*river.PeriodicJob {
	start := &river.PeriodicJobOpts{RunOnStart: true}
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(sweepPeriod), func() (river.JobArgs, *river.InsertOpts) { return SweepArgs{}, nil }, start),
		river.NewPeriodicJob(river.PeriodicInterval(retentionPeriod), func() (river.JobArgs, *river.InsertOpts) { return RetentionArgs{}, nil }, start),
	}
}
