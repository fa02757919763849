package resolvers

import (
	"context"
	"fmt"
	"sync"

	"github.com/99designs/gqlgen/graphql"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/graph/exec"
)

// A list's items all have the same fields selected. So whoever answers with a
// list says what is in it (saw…), and the first item that asks across a table
// asks for all of them: the number of statements hangs on the document, not on
// the data, and nobody waits for others to ask.

// kin are the things of one kind that an answer holds.
type kin[P any] struct {
	mu   sync.Mutex
	seen map[string]P
}

func (k *kin[P]) saw(id string, p P) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen == nil {
		k.seen = map[string]P{}
	}
	k.seen[id] = p
}

// batch is one question about every one of kin.
type batch[P, V any] struct {
	kin *kin[P]
	ask func(ctx context.Context, of []P) (map[string]V, error)

	mu       sync.Mutex
	answered map[string]bool
	answers  map[string]V
}

// get answers for one, the zero value when the answer has none. An error is
// for whoever asked; the next one tries again.
func (b *batch[P, V]) get(ctx context.Context, id string, p P) (v V, err error) {
	b.kin.saw(id, p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.answered[id] {
		return b.answers[id], nil
	}
	var ids []string
	var of []P
	b.kin.mu.Lock()
	for other, p := range b.kin.seen {
		if !b.answered[other] {
			ids, of = append(ids, other), append(of, p)
		}
	}
	b.kin.mu.Unlock()
	answers, err := b.ask(ctx, of)
	if err != nil {
		return v, err
	}
	for _, id := range ids {
		b.answered[id], b.answers[id] = true, answers[id]
	}
	return b.answers[id], nil
}

// loaders batch what one response asks across tables.
type loaders struct {
	runs      kin[*enrichment.Run]
	profiles  kin[*enrichment.Profile]
	runIDs    kin[string]
	personIDs kin[string]
	hookIDs   kin[string]
	sentIDs   kin[string]

	mu      sync.Mutex
	batches map[string]any
}

type loadersKey struct{}

func (r *Resolver) loaders(ctx context.Context) *loaders {
	if l, ok := ctx.Value(loadersKey{}).(*loaders); ok {
		return l
	}
	return &loaders{batches: map[string]any{}} // outside a response: everybody for himself
}

// batchOf is the batch of a question with its arguments.
func batchOf[P, V any](l *loaders, k *kin[P], question string, ask func(context.Context, []P) (map[string]V, error)) *batch[P, V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.batches[question].(*batch[P, V]); ok {
		return b
	}
	b := &batch[P, V]{kin: k, ask: ask, answered: map[string]bool{}, answers: map[string]V{}}
	l.batches[question] = b
	return b
}

// NewSchema is the executable schema over r. Every response, and with it every
// event of a subscription, has loaders of its own, so that none shows what was true earlier.
func NewSchema(r *Resolver, directives exec.DirectiveRoot) graphql.ExecutableSchema {
	return perResponse{exec.NewExecutableSchema(exec.Config{Resolvers: r, Directives: directives})}
}

type perResponse struct{ graphql.ExecutableSchema }

// Exec implements graphql.ExecutableSchema.
func (s perResponse) Exec(ctx context.Context) graphql.ResponseHandler {
	next := s.ExecutableSchema.Exec(ctx)
	return func(ctx context.Context) *graphql.Response {
		return next(context.WithValue(ctx, loadersKey{}, &loaders{batches: map[string]any{}}))
	}
}

func (l *loaders) sawRuns(runs ...*enrichment.Run) {
	for _, r := range runs {
		l.runs.saw(r.ID, r)
	}
}

func (l *loaders) sawProfiles(profiles ...*enrichment.Profile) {
	for _, p := range profiles {
		l.profiles.saw(p.ID, p)
	}
}

func (l *loaders) sawCandidate(c *pipeline.Candidate) {
	if c == nil {
		return
	}
	for _, f := range c.AllFacts {
		for _, e := range f.Evidence {
			l.runIDs.saw(e.RunID, e.RunID)
		}
	}
}

func (l *loaders) sawDeliveries(deliveries ...*dispatch.Delivery) {
	for _, d := range deliveries {
		l.hookIDs.saw(d.WebhookID, d.WebhookID)
		l.sentIDs.saw(d.ID, d.ID)
		l.sawRunID(d.RunID)
	}
}

func (l *loaders) sawRunID(id *string) {
	if id != nil && *id != "" {
		l.runIDs.saw(*id, *id)
	}
}

// run answers with the run that another object names; nil when it names none, or the run is gone.
func (r *Resolver) run(ctx context.Context, id *string) (*enrichment.Run, error) {
	if id == nil || *id == "" {
		return nil, nil
	}
	l := r.loaders(ctx)
	return batchOf(l, &l.runIDs, "runs", func(ctx context.Context, ids []string) (map[string]*enrichment.Run, error) {
		runs, err := r.Enrichment.RunsByID(ctx, ids)
		for _, run := range runs {
			l.sawRuns(run)
		}
		return runs, err
	}).get(ctx, *id, *id)
}

func (r *Resolver) profile(ctx context.Context, id string) (*enrichment.Profile, error) {
	l := r.loaders(ctx)
	return batchOf(l, &l.personIDs, "profiles", func(ctx context.Context, ids []string) (map[string]*enrichment.Profile, error) {
		profiles, err := r.Enrichment.ProfilesByID(ctx, ids)
		for _, p := range profiles {
			l.sawProfiles(p)
		}
		return profiles, err
	}).get(ctx, id, id)
}

func (r *Resolver) members(ctx context.Context, run *enrichment.Run, first int, after *string, outcomes []enrichment.Outcome) (*enrichment.RunProfileConnection, error) {
	l := r.loaders(ctx)
	question := fmt.Sprintf("members %d %q %q", first, deref(after), outcomes)
	return batchOf(l, &l.runs, question, func(ctx context.Context, runs []*enrichment.Run) (map[string]*enrichment.RunProfileConnection, error) {
		pages, err := r.Enrichment.Members(ctx, runs, args(first, after), outcomes)
		for _, c := range pages {
			for _, m := range c.Nodes {
				l.personIDs.saw(m.ProfileID, m.ProfileID)
				l.sawCandidate(m.Candidate)
			}
		}
		return pages, err
	}).get(ctx, run.ID, run)
}

func (r *Resolver) events(ctx context.Context, run *enrichment.Run, first, after int) ([]enrichment.Event, error) {
	l := r.loaders(ctx)
	question := fmt.Sprintf("events %d %d", first, after)
	return batchOf(l, &l.runs, question, func(ctx context.Context, runs []*enrichment.Run) (map[string][]enrichment.Event, error) {
		ids := make([]string, len(runs))
		for i, run := range runs {
			ids[i] = run.ID
		}
		return r.Enrichment.Events(ctx, ids, after, first)
	}).get(ctx, run.ID, run)
}

func (r *Resolver) candidate(ctx context.Context, p *enrichment.Profile) (*pipeline.Candidate, error) {
	l := r.loaders(ctx)
	return batchOf(l, &l.profiles, "candidates", func(ctx context.Context, profiles []*enrichment.Profile) (map[string]*pipeline.Candidate, error) {
		candidates, err := r.Enrichment.Candidates(ctx, profiles)
		for _, c := range candidates {
			l.sawCandidate(c)
		}
		return candidates, err
	}).get(ctx, p.ID, p)
}

func (r *Resolver) fields(ctx context.Context, p *enrichment.Profile, names []string) ([]*enrichment.ProfileField, error) {
	l := r.loaders(ctx)
	return batchOf(l, &l.profiles, fmt.Sprintf("fields %q", names), func(ctx context.Context, profiles []*enrichment.Profile) (map[string][]*enrichment.ProfileField, error) {
		fields, err := r.Enrichment.Fields(ctx, profiles, names)
		for _, list := range fields {
			for _, f := range list {
				for _, e := range f.Evidence {
					l.sawRunID(&e.RunID)
				}
			}
		}
		return fields, err
	}).get(ctx, p.ID, p)
}

func (r *Resolver) runsOf(ctx context.Context, p *enrichment.Profile, first int, after *string) (*enrichment.RunConnection, error) {
	l := r.loaders(ctx)
	question := fmt.Sprintf("runs of %d %q", first, deref(after))
	return batchOf(l, &l.profiles, question, func(ctx context.Context, profiles []*enrichment.Profile) (map[string]*enrichment.RunConnection, error) {
		pages, err := r.Enrichment.RunsOf(ctx, profiles, args(first, after))
		for _, c := range pages {
			l.sawRuns(c.Nodes...)
		}
		return pages, err
	}).get(ctx, p.ID, p)
}

func (r *Resolver) webhook(ctx context.Context, id string) (*dispatch.Webhook, error) {
	l := r.loaders(ctx)
	return batchOf(l, &l.hookIDs, "webhooks", r.Dispatch.WebhooksByID).get(ctx, id, id)
}

func (r *Resolver) deliveriesOf(ctx context.Context, webhookID string, first int, after *string, status []dispatch.DeliveryStatus) (*dispatch.DeliveryConnection, error) {
	l := r.loaders(ctx)
	question := fmt.Sprintf("deliveries %d %q %q", first, deref(after), status)
	return batchOf(l, &l.hookIDs, question, func(ctx context.Context, ids []string) (map[string]*dispatch.DeliveryConnection, error) {
		pages, err := r.Dispatch.DeliveriesOf(ctx, ids, args(first, after), status)
		for _, c := range pages {
			l.sawDeliveries(c.Nodes...)
		}
		return pages, err
	}).get(ctx, webhookID, webhookID)
}

func (r *Resolver) healthOf(ctx context.Context, webhookID string, hours int) (*dispatch.WebhookHealth, error) {
	l := r.loaders(ctx)
	return batchOf(l, &l.hookIDs, fmt.Sprintf("health %d", hours), func(ctx context.Context, ids []string) (map[string]*dispatch.WebhookHealth, error) {
		return r.Dispatch.HealthOf(ctx, ids, hours)
	}).get(ctx, webhookID, webhookID)
}

func (r *Resolver) attempts(ctx context.Context, deliveryID string) ([]*dispatch.DeliveryAttempt, error) {
	l := r.loaders(ctx)
	attempts, err := batchOf(l, &l.sentIDs, "attempts", r.Dispatch.AttemptsOf).get(ctx, deliveryID, deliveryID)
	return append([]*dispatch.DeliveryAttempt{}, attempts...), err
}

// The lists that say what is in them.

func (r *Resolver) listRuns(ctx context.Context, c *enrichment.RunConnection, err error) (*enrichment.RunConnection, error) {
	if err == nil {
		r.loaders(ctx).sawRuns(c.Nodes...)
	}
	return c, err
}

func (r *Resolver) listProfiles(ctx context.Context, c *enrichment.ProfileConnection, err error) (*enrichment.ProfileConnection, error) {
	if err == nil {
		r.loaders(ctx).sawProfiles(c.Nodes...)
	}
	return c, err
}

func (r *Resolver) listEntries(ctx context.Context, c billing.LedgerEntryConnection, err error) (*billing.LedgerEntryConnection, error) {
	l := r.loaders(ctx)
	for _, e := range c.Nodes {
		l.sawRunID(e.RunID)
	}
	return &c, err
}

func (r *Resolver) listDeliveries(ctx context.Context, c dispatch.DeliveryConnection, err error) (*dispatch.DeliveryConnection, error) {
	r.loaders(ctx).sawDeliveries(c.Nodes...)
	return &c, err
}

func (r *Resolver) listWebhooks(ctx context.Context, c dispatch.WebhookConnection, err error) (*dispatch.WebhookConnection, error) {
	l := r.loaders(ctx)
	for _, w := range c.Nodes {
		l.hookIDs.saw(w.ID, w.ID)
	}
	return &c, err
}
