package dispatch

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/jobs"
)

// DeliveryArgs are the arguments of a delivery's job: ids and nothing of what it
// says. The webhook and the company let the gate decide without the database.
type DeliveryArgs struct {
	DeliveryID string `json:"delivery_id"`
	WebhookID  string `json:"webhook_id"`
	CompanyID  string `json:"company_id"`
}

// Kind names the job.
func (DeliveryArgs) Kind() string { return "webhook_delivery" }

// InsertOpts puts deliveries on their own queue. A failed attempt snoozes,
// which gives River's attempt back: 25 are for faults of ours, such as a lost database.
func (DeliveryArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueWebhook, MaxAttempts: 25, Priority: priorityFirst}
}

// The priorities of jobs: what was asked for in bulk never goes before what just happened.
const (
	priorityFirst      = 1
	priorityRedelivery = 3
)

// enqueue inserts the deliveries' jobs and notes their ids on them.
func (s *Service) enqueue(ctx context.Context, tx bun.Tx, deliveries []*Delivery, priority int) error {
	params := make([]river.InsertManyParams, len(deliveries))
	for i, d := range deliveries {
		opts := DeliveryArgs{}.InsertOpts()
		opts.Priority = priority
		params[i] = river.InsertManyParams{
			Args: DeliveryArgs{DeliveryID: d.ID, WebhookID: d.WebhookID, CompanyID: d.CompanyID}, InsertOpts: &opts,
		}
	}
	inserted, err := s.Jobs.InsertMany(ctx, tx, params)
	if err != nil {
		return fmt.Errorf("enqueue deliveries: %w", err)
	}
	for i, d := range deliveries {
		d.JobID = &inserted[i].Job.ID
	}
	return nil
}

// DeliveryWorker makes attempts of deliveries.
type DeliveryWorker struct {
	river.WorkerDefaults[DeliveryArgs]
	Service *Service
}

// Timeout is 30 s for the longest attempt and 5 s for the bookkeeping.
func (*DeliveryWorker) Timeout(*river.Job[DeliveryArgs]) time.Duration {
	return maxTimeout*time.Millisecond + bookkeeping
}

// Work makes one attempt and snoozes until the next one is due, or until there is room for it.
func (w *DeliveryWorker) Work(ctx context.Context, job *river.Job[DeliveryArgs]) error {
	s := w.Service
	next, err := s.gate.through(job.Args, s.Config.withDefaults().Workers, func() (step, error) {
		return s.deliver(ctx, job.Args.DeliveryID, job.ID)
	})
	if err != nil {
		return err
	}
	if next.Done {
		return nil
	}
	return river.JobSnooze(next.Again)
}

// ResumeArgs are the arguments of the job that follows the closing of a circuit.
type ResumeArgs struct {
	WebhookID string `json:"webhook_id"`
}

// Kind names the job.
func (ResumeArgs) Kind() string { return "webhook_resume" }

// InsertOpts puts the job beside the deliveries that it wakes.
func (ResumeArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueWebhook, MaxAttempts: 25, Priority: 1}
}

// enqueueResume has a webhook's held deliveries made due when tx commits.
func (s *Service) enqueueResume(ctx context.Context, tx bun.Tx, webhookID string) error {
	if _, err := s.Jobs.InsertMany(ctx, tx, []river.InsertManyParams{{Args: ResumeArgs{WebhookID: webhookID}}}); err != nil {
		return fmt.Errorf("enqueue resume of webhook %s: %w", webhookID, err)
	}
	return nil
}

// ResumeWorker makes a webhook's held deliveries due, oldest first and in blocks, so
// that a receiver that has just come back is not flattened.
type ResumeWorker struct {
	river.WorkerDefaults[ResumeArgs]
	Service *Service
}

// Timeout leaves room after resumeFor.
func (*ResumeWorker) Timeout(*river.Job[ResumeArgs]) time.Duration { return resumeFor + 2*bookkeeping }

// Work wakes blocks until none is left, the circuit opened again, or its turn is over.
func (w *ResumeWorker) Work(ctx context.Context, job *river.Job[ResumeArgs]) error {
	done, err := w.Service.resume(ctx, job.Args.WebhookID)
	if err != nil || done {
		return err
	}
	return river.JobSnooze(0)
}

// UpkeepArgs are the arguments of the periodic upkeep job: none.
type UpkeepArgs struct{}

// Kind names the job.
func (UpkeepArgs) Kind() string { return "dispatch_upkeep" }

// InsertOpts makes the job unique by period, because every node asks for it.
func (UpkeepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: jobs.QueueUpkeep, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByPeriod: UpkeepEvery}}
}

// UpkeepEvery is how often UpkeepWorker should run; it should also run on start.
const UpkeepEvery = 5 * time.Minute

// UpkeepWorker runs Service.Maintain.
type UpkeepWorker struct {
	river.WorkerDefaults[UpkeepArgs]
	Service *Service
}

// Work maintains everything that is due, not one period's worth.
func (w *UpkeepWorker) Work(ctx context.Context, _ *river.Job[UpkeepArgs]) error {
	return w.Service.Maintain(ctx, time.Now())
}
