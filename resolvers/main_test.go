package resolvers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/dispatch"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/enrichment/pipeline"
	"github.com/enrichd/enrichd/graph"
	"github.com/enrichd/enrichd/graph/exec"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/limit"
	"github.com/enrichd/enrichd/internal/page"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/seal"
	"github.com/enrichd/enrichd/internal/wake"
	"github.com/enrichd/enrichd/resolvers"
)

func TestMain(m *testing.M) {
	// The pool over which pgtest lends databases lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

// house is the API on a database of its own. Nobody works on runs; finish ends their profiles.
type house struct {
	t       *testing.T
	db      *bun.DB
	access  *access.Service
	runs    *enrichment.Service
	ledger  *billing.Ledger
	hooks   *dispatch.Service
	settler *enrichment.Settler
	server  *httptest.Server
	count   atomic.Pointer[pg.Count] // of the last request
}

func newHouse(t *testing.T) *house {
	t.Helper()
	db := pgtest.New(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	box, err := seal.New(bytes.Repeat([]byte("k"), seal.KeySize))
	must(t, err)
	inserter, err := jobs.NewInserter(db.Bun, nil, log)
	must(t, err)
	w := wake.NewPostgres(db.DSN, log)
	out := egress.NewClient(egress.Policy{}, egress.ForWebhook)
	h := &house{t: t, db: db.Bun, access: &access.Service{DB: db.Bun, Box: box, Wake: w}, ledger: &billing.Ledger{DB: db.Bun, Log: log}}
	h.hooks = &dispatch.Service{DB: db.Bun, Box: box, Jobs: inserter, Egress: out, Log: log, Wake: w}
	h.runs = &enrichment.Service{
		DB: db.Bun, Ledger: h.ledger, Dispatch: h.hooks, Jobs: inserter, Wake: w, Box: box, Log: log,
		Feed:   &enrichment.Feed{DB: db.Bun, Wake: w, Log: log},
		Render: func(*enrichment.Run, []*enrichment.RunProfile) ([]byte, error) { return []byte(`{}`), nil },
	}
	h.settler = &enrichment.Settler{Service: h.runs, Log: log}
	api := graph.NewServer(graph.Options{
		Schema: resolvers.NewSchema(&resolvers.Resolver{
			Access: h.access, Enrichment: h.runs, Billing: h.ledger, Dispatch: h.hooks, Limit: &limit.Limiter{DB: db.Bun, Log: log},
		}, exec.DirectiveRoot{Auth: graph.Auth}),
		Log: log,
		Authenticate: func(ctx context.Context, token string, _ *http.Request) (context.Context, error) {
			p, err := h.access.Authenticate(ctx, token, noAddr())
			if err != nil {
				return nil, graph.Unauthenticated(err.Error())
			}
			ctx, count := pg.CountStatements(access.With(ctx, p))
			h.count.Store(count)
			return ctx, nil
		},
	})
	h.server = httptest.NewServer(api)
	ctx := context.Background()
	for _, s := range []interface {
		Start(context.Context) error
		Stop(context.Context) error
	}{w, h.runs.Feed, h.settler} {
		must(t, s.Start(ctx))
		t.Cleanup(func() { must(t, s.Stop(ctx)) })
	}
	t.Cleanup(func() {
		out.Close()
		must(t, api.Shutdown(ctx))
		h.server.Close()
	})
	return h
}

// caller is one key of one company.
type caller struct {
	*house
	ctx   context.Context // acts with the key, past the API
	token string
	who   *access.Principal
}

func (h *house) caller(credits int64, scopes ...access.Scope) *caller {
	h.t.Helper()
	ctx := context.Background()
	var c *access.Company
	must(h.t, pg.InTx(ctx, h.db, func(ctx context.Context, tx bun.Tx) (err error) {
		if c, err = h.access.CreateCompany(ctx, tx, "Test", "none"); err == nil {
			err = h.ledger.OpenAccount(ctx, tx, c.ID, billing.Prepaid, nil)
		}
		return err
	}))
	if credits > 0 {
		_, _, err := h.ledger.Grant(ctx, billing.Grant{CompanyID: c.ID, Credits: credits, Kind: billing.KindGrant, Memo: "test", Actor: "test", Key: "first"})
		must(h.t, err)
	}
	return h.key(c, scopes...)
}

// key makes another key of the company.
func (h *house) key(c *access.Company, scopes ...access.Scope) *caller {
	h.t.Helper()
	if len(scopes) == 0 {
		scopes = access.Scopes
	}
	k, token, err := h.access.CreateKey(context.Background(), access.NewKey{CompanyID: c.ID, Label: "test", Scopes: scopes})
	must(h.t, err)
	p := &access.Principal{Company: *c, Key: *k}
	return &caller{house: h, ctx: access.With(context.Background(), p), token: token, who: p}
}

// people imports n people.
func (c *caller) people(n int) (ids []string) {
	c.t.Helper()
	rows := make([]enrichment.ImportRow, n)
	for i := range rows {
		rows[i].Input = enrichment.ProfileInput{
			ExternalID: fmt.Sprintf("x%03d", i), Name: fmt.Sprintf("Person Number%03d", i), Links: []string{fmt.Sprintf("https://p%03d.test", i)},
		}
	}
	im, err := c.runs.Import(c.ctx, fmt.Sprintf("import-%d", n), rows)
	must(c.t, err)
	for _, p := range im.Profiles {
		ids = append(ids, p.ID)
	}
	return ids
}

// enriched starts a run and ends all of its profiles with a candidate.
func (c *caller) enriched(ids ...string) *enrichment.Run {
	c.t.Helper()
	run, _, err := c.runs.Start(c.ctx, enrichment.StartInput{ProfileIDs: ids})
	must(c.t, err)
	for _, id := range ids {
		c.finish(run, id, candidate(run.ID, id))
	}
	return run
}

func (c *caller) finish(run *enrichment.Run, profileID string, found *pipeline.Candidate) {
	c.t.Helper()
	f := enrichment.Finish{Outcome: enrichment.OutcomeEnriched, Candidate: found}
	if found == nil {
		f = enrichment.Finish{Outcome: enrichment.OutcomeFailed, Failure: &enrichment.Failure{Code: "internal", Message: "a test", Retryable: true}}
	}
	must(c.t, c.settler.Settle(c.ctx, run.ID, run.CompanyID, profileID, f))
}

func candidate(runID, profileID string) *pipeline.Candidate {
	return &pipeline.Candidate{
		ProfileID: profileID, Name: "Found " + profileID, ScoreBasis: pipeline.ScoreIdentity, Skills: []string{}, FitPoints: []string{}, RedFlags: []string{},
		AllFacts: []pipeline.Fact{{
			Name: "name", Value: json.RawMessage(`"Found"`), Confidence: 0.9, Conflicts: []pipeline.FactConflict{},
			Evidence: []pipeline.Evidence{{Source: "play", Extractor: "play/1", Confidence: 0.9, ObservedAt: time.Now().UTC(), RunID: runID}},
		}},
	}
}

// ask sends an operation and reads data into v; errors fail the test.
func (c *caller) ask(v any, query string, variables ...map[string]any) {
	c.t.Helper()
	data, errs := c.answer(query, variables...)
	if len(errs) > 0 {
		c.t.Fatalf("%s\n%v", query, errs)
	}
	must(c.t, json.Unmarshal(data, v))
}

type gqlError struct {
	Message    string
	Path       []any
	Extensions map[string]any
}

// answer sends an operation and returns both parts of the answer.
func (c *caller) answer(query string, variables ...map[string]any) (json.RawMessage, []gqlError) {
	c.t.Helper()
	body := map[string]any{"query": query}
	if len(variables) > 0 {
		body["variables"] = variables[0]
	}
	b, err := json.Marshal(body)
	must(c.t, err)
	return c.send("application/json", bytes.NewReader(b))
}

func (c *caller) send(contentType string, body io.Reader) (json.RawMessage, []gqlError) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.server.URL, body)
	must(c.t, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultClient.Do(req)
	must(c.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(c.t, err)
	var got struct {
		Data   json.RawMessage
		Errors []gqlError
	}
	if err := json.Unmarshal(text, &got); err != nil {
		c.t.Fatalf("%d %s", res.StatusCode, text)
	}
	return got.Data, got.Errors
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shape gives the kinds of statements that the last request made.
func (h *house) shape() string {
	var b strings.Builder
	for _, s := range h.count.Load().Statements() {
		fmt.Fprintf(&b, "%.90s\n", strings.Join(strings.Fields(s), " "))
	}
	return b.String()
}

func pageOf(first int) page.Args { return page.Args{First: first} }
