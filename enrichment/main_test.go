package enrichment

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
)

func TestMain(m *testing.M) {
	// The pool over which pgtest lends databases lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

// house is one node on a database of its own.
type house struct {
	*Service
	t       *testing.T
	db      *pgtest.DB
	access  *access.Service
	settler *Settler
	worker  *ProfileWorker
	log     *slog.Logger
}

// newHouse gives a node with workers that play p, on db, or on a new database when db is nil.
func newHouse(t *testing.T, db *pgtest.DB, p *play) *house {
	t.Helper()
	if db == nil {
		db = pgtest.New(t)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	box, err := seal.New([]byte(strings.Repeat("k", seal.KeySize)))
	must(t, err)
	inserter, err := jobs.NewInserter(db.Bun, nil, log)
	must(t, err)
	w := wake.NewPostgres(db.DSN, log)
	out := egress.NewClient(egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Ports: p.ports, AllowHTTP: true}, egress.ForWebhook)
	ledger := &billing.Ledger{DB: db.Bun, Log: log}
	h := &house{
		t: t, db: db, log: log,
		access: &access.Service{DB: db.Bun, Box: box, Wake: w},
		Service: &Service{
			DB: db.Bun, Ledger: ledger, Jobs: inserter, Wake: w, Box: box, Log: log,
			Dispatch: &dispatch.Service{DB: db.Bun, Box: box, Jobs: inserter, Egress: out, Log: log},
			Feed:     &Feed{DB: db.Bun, Wake: w, Log: log},
			Render: func(r *Run, ms []*RunProfile) ([]byte, error) {
				return []byte(fmt.Sprintf(`{"run":%q,"profiles":%d}`, r.ID, len(ms))), nil
			},
		},
	}
	h.settler = &Settler{Service: h.Service, Log: log}
	h.worker = &ProfileWorker{Service: h.Service, Settler: h.settler, Live: p.runner(), Sandbox: p.runner(), Log: log}
	workers := river.NewWorkers()
	river.AddWorker(workers, h.worker)
	river.AddWorker(workers, &SweepWorker{Service: h.Service, Settler: h.settler})
	river.AddWorker(workers, &RetentionWorker{Service: h.Service})
	river.AddWorker(workers, &dispatch.DeliveryWorker{Service: h.Dispatch})
	pool := db.Pool(t)
	node := fmt.Sprintf("node-%p", h)
	worker, err := jobs.NewWorker(pool, workers, jobs.WorkerConfig{NodeID: node, EnrichWorkers: max(p.workers, 1), WebhookWorkers: 2, Log: log})
	must(t, err)
	ctx := context.Background()
	for _, s := range []interface {
		Start(context.Context) error
		Stop(context.Context) error
	}{w, h.Feed, h.settler, &jobs.Node{ID: node, DSN: db.DSN, Worker: worker, Log: log}, worker} {
		must(t, s.Start(ctx))
		t.Cleanup(func() { must(t, s.Stop(ctx)) })
	}
	t.Cleanup(out.Close)
	return h
}

// company makes a company with credits (prepaid) and a key, and returns a context that acts with it.
func (h *house) company(credits int64, test bool) context.Context {
	h.t.Helper()
	ctx := context.Background()
	var c *access.Company
	must(h.t, pg.InTx(ctx, h.DB, func(ctx context.Context, tx bun.Tx) (err error) {
		if c, err = h.access.CreateCompany(ctx, tx, "Test", "none"); err != nil {
			return err
		}
		return h.Ledger.OpenAccount(ctx, tx, c.ID, billing.Prepaid, nil)
	}))
	if credits > 0 {
		_, _, err := h.Ledger.Grant(ctx, billing.Grant{CompanyID: c.ID, Credits: credits, Kind: billing.KindGrant, Memo: "test", Actor: "test", Key: "first"})
		must(h.t, err)
	}
	key, _, err := h.access.CreateKey(ctx, access.NewKey{CompanyID: c.ID, Label: "test", Test: test, Scopes: access.Scopes})
	must(h.t, err)
	return access.With(ctx, &access.Principal{Company: *c, Key: *key})
}

// profiles imports n people and returns their ids.
func (h *house) profiles(ctx context.Context, names ...string) []string {
	h.t.Helper()
	rows := make([]ImportRow, len(names))
	for i, n := range names {
		rows[i].Input = ProfileInput{ExternalID: fmt.Sprintf("x%d", i), Name: n, Links: []string{"https://" + strings.ReplaceAll(strings.ToLower(n), " ", "-") + ".test"}}
	}
	im, err := h.Import(ctx, strings.ReplaceAll("import-"+strings.Join(names, "-"), " ", "-"), rows)
	must(h.t, err)
	ids := make([]string, len(im.Profiles))
	for i, p := range im.Profiles {
		ids[i] = p.ID
	}
	return ids
}

// start starts a run and fails the test when it is refused.
func (h *house) start(ctx context.Context, ids ...string) *Run {
	h.t.Helper()
	run, _, err := h.Start(ctx, StartInput{ProfileIDs: ids})
	must(h.t, err)
	return run
}

// finished follows a run to its end and returns it with all its events.
func (h *house) finished(ctx context.Context, run *Run) (*Run, []Event) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	zero := 0
	events := collect(h.t, ctx, h.Feed, run.ID, &zero)
	end, err := h.Run(ctx, run.ID)
	must(h.t, err)
	if !end.Status.Final() {
		h.t.Fatalf("run %s is %s after its stream ended", end.ID, end.Status)
	}
	return end, events
}

// collect reads a run's stream to its end and checks that it has no gap and no repeat.
func collect(t *testing.T, ctx context.Context, f *Feed, id string, after *int) []Event {
	t.Helper()
	stream, err := f.Follow(ctx, id, after)
	must(t, err)
	var events []Event
	next := 1
	if after != nil {
		next = *after + 1
	}
	for e := range stream {
		if _, snapshot := e.(*RunSnapshot); snapshot {
			next = e.At()
		}
		if e.At() != next {
			t.Fatalf("event %d came where %d was due", e.At(), next)
		}
		if p := e.head().Progress; p.Total != p.Finished()+p.Queued+p.Active || p.Queued < 0 || p.Active < 0 {
			t.Errorf("counts of event %d do not add up: %+v", e.At(), p)
		}
		events = append(events, e)
		next++
	}
	if ctx.Err() != nil {
		t.Fatalf("the stream of %s did not end; %d events came", id, len(events))
	}
	return events
}

func (h *house) balance(ctx context.Context) billing.CreditBalance {
	h.t.Helper()
	a, err := h.Ledger.Account(ctx, access.From(ctx).Company.ID)
	must(h.t, err)
	return a.Balance()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", w.t.Name(), b)
	return len(b), nil
}

// play is a source whose behaviour hangs on the profile's name: it stands where
// the outside world is, behind pipeline.Source.
type play struct {
	mu    sync.Mutex
	asked map[string]int
	// gate, when set, is waited for by every fetch.
	gate chan struct{}
	// workers is how many profiles the node works on at once.
	workers int
	// ports are where receivers of webhooks listen.
	ports []uint16
}

func newPlay() *play { return &play{asked: map[string]int{}, workers: 100} }

func (p *play) runner() *pipeline.Runner {
	return &pipeline.Runner{Sources: []pipeline.Source{p}, Verifier: p, Identify: func(s string) (pipeline.Identifier, bool) {
		return pipeline.Identifier{Kind: "website", Value: s, URL: s}, true
	}}
}

func (p *play) Name() string { return "play" }
func (p *play) Policy() pipeline.Policy {
	return pipeline.Policy{ContactEligible: true, Reliability: 0.9}
}

func (p *play) Ask(k pipeline.Known, s pipeline.Stage) []pipeline.Ask {
	if s != pipeline.Lookup {
		return nil
	}
	return []pipeline.Ask{{Source: "play", Stage: s, Kind: "page", URL: k.Seed.Links[0], Origin: "seed"}}
}

func (p *play) Fetch(ctx context.Context, a pipeline.Ask) pipeline.Answer {
	p.mu.Lock()
	p.asked[a.URL]++
	p.mu.Unlock()
	out := pipeline.Answer{Ask: a, URL: a.URL, Status: 200, Body: []byte(a.URL), Hash: "h", FetchedAt: time.Now()}
	if p.gate != nil {
		select {
		case <-p.gate:
		case <-ctx.Done():
			out.Loss = pipeline.LossTimeout
		}
	}
	switch {
	case strings.Contains(a.URL, "hang"):
		<-ctx.Done()
		out.Loss = pipeline.LossTimeout
	case strings.Contains(a.URL, "broken"):
		out.Loss = pipeline.LossBroken
	}
	return out
}

func (p *play) Read(k pipeline.Known, answers []pipeline.Answer) []pipeline.Record {
	var records []pipeline.Record
	for _, a := range answers {
		if a.Loss != "" || strings.Contains(a.URL, "nobody") {
			continue
		}
		if strings.Contains(a.URL, "panic") {
			panic("a parser of ours fell over")
		}
		ev := pipeline.Evidence{Source: "play", URL: &a.URL, Extractor: "play/1", ContactEligible: true, ObservedAt: a.FetchedAt}
		records = append(records, pipeline.Record{
			Source: "play", ID: a.URL, URL: a.URL, Group: "site:" + a.URL, Kind: pipeline.Person, Names: []string{k.Seed.Name},
			Identifiers: []pipeline.Identifier{{Kind: "website", Value: a.URL, URL: a.URL}, {Kind: "email", Value: "me@" + strings.TrimPrefix(a.URL, "https://")}},
			Claims: []pipeline.Claim{
				{Field: pipeline.FieldName, Text: k.Seed.Name, Evidence: ev},
				{Field: pipeline.FieldHeadline, Text: "Plays " + k.Seed.Name, Evidence: ev},
				{Field: pipeline.FieldEmails, Text: "me@" + strings.TrimPrefix(a.URL, "https://"), Evidence: ev},
			},
		})
	}
	return records
}

func (p *play) Check(_ context.Context, address string, published bool) pipeline.EmailCheck {
	return pipeline.EmailCheck{Address: address, Status: pipeline.EmailValid, Method: pipeline.EmailSelfPublished, Reasons: []string{"published"}}
}
