package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/extract"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/enrichment/source"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/limit"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
)

// patience is how long a test waits for what must come.
const patience = 40 * time.Second

// house is a whole node: the API on a socket, workers, deliveries. The sources
// are played, since they stand where the outside world is.
type house struct {
	*API
	t      testing.TB
	db     *pgtest.DB
	server *httptest.Server
	play   *play
}

// newHouse starts a node whose API is changed by change, if any.
func newHouse(t testing.TB, change func(*API)) *house {
	t.Helper()
	db := pgtest.New(t)
	log := slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	box, err := seal.New([]byte(strings.Repeat("k", seal.KeySize)))
	must(t, err)
	inserter, err := jobs.NewInserter(db.Bun, nil, log)
	must(t, err)
	waker := wake.NewPostgres(db.DSN, log)
	// Receivers live on loopback, without TLS; what else the guard refuses it refuses here too.
	ports := []uint16{}
	for p := 1024; p < 65536; p++ {
		ports = append(ports, uint16(p))
	}
	out := egress.NewClient(egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AllowHTTP: true, Ports: ports}, egress.ForWebhook)
	t.Cleanup(out.Close)
	ledger := &billing.Ledger{DB: db.Bun, Log: log}
	hooks := &dispatch.Service{
		DB: db.Bun, Box: box, Jobs: inserter, Egress: out, Log: log, Wake: waker,
		Config: dispatch.Config{ResetCooldown: time.Minute, WebhooksPerCompany: 100},
	}
	h := &house{
		t: t, db: db, play: &play{gates: map[string]chan struct{}{}},
		API: &API{
			Access:  &access.Service{DB: db.Bun, Box: box, Wake: waker, Failures: 1 << 20, Log: log},
			Billing: ledger, Dispatch: hooks, Log: log,
			Limit: &limit.Limiter{DB: db.Bun, Log: log},
		},
	}
	if change != nil {
		change(h.API)
	}
	h.Enrichment = &enrichment.Service{
		DB: db.Bun, Ledger: ledger, Dispatch: hooks, Jobs: inserter, Wake: waker, Box: box, Log: log,
		Feed: &enrichment.Feed{DB: db.Bun, Wake: waker, Log: log}, Render: h.Open.RenderResults,
	}
	settler := &enrichment.Settler{Service: h.Enrichment, Log: log}
	sandbox := &pipeline.Runner{Sources: source.Sandbox(), Verifier: source.SandboxVerifier{}, Identify: extract.Identify, Prepare: source.SandboxInput, Now: clock}
	workers := river.NewWorkers()
	river.AddWorker(workers, &enrichment.ProfileWorker{Service: h.Enrichment, Settler: settler, Live: h.play.runner(), Sandbox: sandbox, Log: log})
	river.AddWorker(workers, &enrichment.SweepWorker{Service: h.Enrichment, Settler: settler})
	river.AddWorker(workers, &dispatch.DeliveryWorker{Service: hooks})
	river.AddWorker(workers, &dispatch.UpkeepWorker{Service: hooks})
	river.AddWorker(workers, &dispatch.ResumeWorker{Service: hooks})
	worker, err := jobs.NewWorker(db.Pool(t), workers, jobs.WorkerConfig{NodeID: "rest-test", EnrichWorkers: 50, WebhookWorkers: 50, Log: log})
	must(t, err)
	ctx := context.Background()
	for _, s := range []interface {
		Start(context.Context) error
		Stop(context.Context) error
	}{waker, h.Enrichment.Feed, h.Limit, settler, worker} {
		must(t, s.Start(ctx))
		t.Cleanup(func() { must(t, s.Stop(ctx)) })
	}
	t.Cleanup(waker.Notify(h.Announced))
	t.Cleanup(waker.Notify(h.Access.Announced))
	mux := http.NewServeMux()
	h.Mount(mux)
	h.server = httptest.NewServer(mux)
	t.Cleanup(func() { h.Drain(); h.server.Close() })
	return h
}

func clock() time.Time { return time.Now().UTC() }

// tenant is a company with a key, as its own client.
type tenant struct {
	*house
	company access.Company
	key     access.Key
	token   string
}

// tenant makes a prepaid company with credits and a key with the given scopes, or all but ADMIN.
func (h *house) tenant(credits int64, scopes ...access.Scope) *tenant {
	h.t.Helper()
	company := h.newCompany("Acme & Söhne", credits, billing.Prepaid)
	return h.keyOf(company, access.NewKey{Scopes: scopes})
}

func (h *house) newCompany(name string, credits int64, mode billing.Mode) *access.Company {
	h.t.Helper()
	ctx := context.Background()
	var c *access.Company
	must(h.t, pg.InTx(ctx, h.db.Bun, func(ctx context.Context, tx bun.Tx) (err error) {
		if c, err = h.Access.CreateCompany(ctx, tx, name, "enterprise"); err != nil {
			return err
		}
		return h.Billing.OpenAccount(ctx, tx, c.ID, mode, nil)
	}))
	if credits > 0 {
		_, _, err := h.Billing.Grant(ctx, billing.Grant{CompanyID: c.ID, Credits: credits, Kind: billing.KindGrant, Memo: "test", Actor: "test", Key: "first"})
		must(h.t, err)
	}
	return c
}

// labels tell keys apart: at most two live keys of a company share a name.
var labels atomic.Int64

func (h *house) keyOf(company *access.Company, in access.NewKey) *tenant {
	h.t.Helper()
	in.CompanyID = company.ID
	if in.Label == "" {
		in.Label = fmt.Sprintf("test %d", labels.Add(1))
	}
	if len(in.Scopes) == 0 {
		in.Scopes = access.Scopes[:len(access.Scopes)-1]
	}
	key, token, err := h.Access.CreateKey(context.Background(), in)
	must(h.t, err)
	return &tenant{house: h, company: *company, key: *key, token: token}
}

// with is the context in which services act for the tenant.
func (c *tenant) with() context.Context {
	return access.With(context.Background(), &access.Principal{Company: c.company, Key: c.key})
}

// person imports someone whose name says how the played sources behave.
func (c *tenant) person(name string) string {
	c.t.Helper()
	slug := strings.ReplaceAll(strings.ToLower(name), " ", "-")
	im, err := c.Enrichment.Import(c.with(), "import-"+slug, []enrichment.ImportRow{{Input: enrichment.ProfileInput{
		ExternalID: "x-" + slug, Name: name, Links: []string{"https://" + slug + ".test", "https://www.linkedin.com/in/" + slug},
	}}})
	must(c.t, err)
	if len(im.Profiles) != 1 {
		c.t.Fatalf("%s was not taken: %v", name, im.Refused)
	}
	return im.Profiles[0].ID
}

// play are the sources. A profile whose first link says hang never gets an
// answer, broken is lost, nobody is not known, gate waits for its gate; everybody else is found.
type play struct {
	mu    sync.Mutex
	gates map[string]chan struct{}
}

func (p *play) runner() *pipeline.Runner {
	return &pipeline.Runner{Sources: []pipeline.Source{p}, Verifier: p, Identify: extract.Identify, Now: clock}
}

// gate gives what profiles with this word in their link wait for.
func (p *play) gate(word string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gates[word] == nil {
		p.gates[word] = make(chan struct{})
	}
	return p.gates[word]
}

func (*play) Name() string { return "play" }

func (*play) Policy() pipeline.Policy {
	return pipeline.Policy{ContactEligible: true, Reliability: 0.9}
}

func (*play) Ask(k pipeline.Known, s pipeline.Stage) []pipeline.Ask {
	if s != pipeline.Lookup || len(k.Seed.Links) == 0 {
		return nil
	}
	return []pipeline.Ask{{Source: "play", Stage: s, Kind: "page", URL: k.Seed.Links[0], Origin: "seed"}}
}

func (p *play) Fetch(ctx context.Context, a pipeline.Ask) pipeline.Answer {
	out := pipeline.Answer{Ask: a, URL: a.URL, Status: 200, Body: []byte(a.URL), Hash: "h", FetchedAt: clock()}
	p.mu.Lock()
	var gate chan struct{}
	for word, g := range p.gates {
		if strings.Contains(a.URL, word) {
			gate = g
		}
	}
	p.mu.Unlock()
	switch {
	case strings.Contains(a.URL, "hang"):
		<-ctx.Done()
		out.Loss = pipeline.LossTimeout
	case strings.Contains(a.URL, "broken"):
		out.Loss = pipeline.LossBroken
	case gate != nil:
		select {
		case <-gate:
		case <-ctx.Done():
			out.Loss = pipeline.LossTimeout
		}
	}
	return out
}

func (*play) Read(k pipeline.Known, answers []pipeline.Answer) []pipeline.Record {
	var records []pipeline.Record
	for _, a := range answers {
		if a.Loss != "" || strings.Contains(a.URL, "nobody") {
			continue
		}
		mail := "me@" + strings.TrimPrefix(a.URL, "https://")
		ev := pipeline.Evidence{Source: "play", URL: &a.URL, Extractor: "play/1", ContactEligible: true, ObservedAt: a.FetchedAt}
		claim := func(field, text string) pipeline.Claim { return pipeline.Claim{Field: field, Text: text, Evidence: ev} }
		records = append(records, pipeline.Record{
			Source: "play", ID: a.URL, URL: a.URL, Group: "site:" + a.URL, Kind: pipeline.Person, Names: []string{k.Seed.Name},
			Identifiers: []pipeline.Identifier{{Kind: "website", Value: a.URL, URL: a.URL}, {Kind: "email", Value: mail}},
			Claims: []pipeline.Claim{
				claim(pipeline.FieldName, k.Seed.Name), claim(pipeline.FieldHeadline, "Plays "+k.Seed.Name), claim(pipeline.FieldEmails, mail),
				claim(pipeline.FieldSkills, "Go"), claim(pipeline.FieldCurrentRole, "Player"), claim(pipeline.FieldCurrentCompany, "Stage"),
			},
		})
	}
	return records
}

func (*play) Check(_ context.Context, address string, _ bool) pipeline.EmailCheck {
	return pipeline.EmailCheck{Address: address, Status: pipeline.EmailValid, Method: pipeline.EmailSelfPublished, Reasons: []string{"published"}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a thing to be so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", w.t.Name(), b)
	return len(b), nil
}
