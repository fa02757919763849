package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/enrichd/enrichd/billing"
	"github.com/enrichd/enrichd/enrichment"
	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/config"
	"github.com/enrichd/enrichd/internal/sandbox"
)

const (
	demoCredits = 20
	// demoUnknown is an id that no profile has, to show what becomes of it.
	demoUnknown = "prof_nobody"
	demoLimit   = 60 * time.Second
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the main job done, with no set-up: a private PostgreSQL, a web of our own, a dozen people",
		Long: "See the main job done, with no set-up. The demo starts a private PostgreSQL and a small web on loopback (candidates' sites,\n" +
			"the sources' APIs, DNS), imports fictional people through the public API, starts two runs, follows them live, receives and\n" +
			"verifies the signed webhooks, and shows what was found, with evidence, and what it cost. Then it goes on serving.",
		Args: usage(cobra.NoArgs),
	}
	leave := c.Flags().Bool("exit", false, "end after the runs; status 0 only if everything was as expected")
	keep := c.Flags().String("keep", "", "keep the database in this folder; it vanishes otherwise")
	asJSON := c.Flags().Bool("json", false, "print the summary as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		d := &demo{out: c.OutOrStdout(), talk: c.OutOrStdout(), asJSON: *asJSON}
		if *asJSON {
			d.talk = c.ErrOrStderr()
		}
		return d.run(c.Context(), *keep, *leave)
	}
	return c
}

// demo is one showing.
type demo struct {
	out, talk io.Writer
	asJSON    bool

	web  *sandbox.Sandbox
	app  *App
	api  *client
	sink *webhookSink
	// ids are the imported profiles' ids by external id, names the names by id.
	ids, names map[string]string
	summary    demoSummary
}

// demoSummary is what --json prints.
type demoSummary struct {
	OK       bool            `json:"ok"`
	Problems []string        `json:"problems"`
	Seconds  float64         `json:"seconds"`
	URL      string          `json:"url"`
	Key      string          `json:"key"`
	Before   accountView     `json:"before"`
	After    accountView     `json:"after"`
	Runs     []demoRun       `json:"runs"`
	Webhooks []demoDelivery  `json:"webhooks"`
	Results  []demoCandidate `json:"results"`
}

type demoRun struct {
	RequestID string            `json:"requestId"`
	Status    enrichment.Status `json:"status"`
	Events    int               `json:"events"`
	Progress  progress          `json:"progress"`
	Credits   credits           `json:"credits"`
}

type demoCandidate struct {
	ExternalID string             `json:"externalId"`
	Name       string             `json:"name"`
	Outcome    enrichment.Outcome `json:"outcome"`
	Missing    []string           `json:"missing"`
	Emails     map[string]string  `json:"emails"` // status by address
	Facts      int                `json:"facts"`
}

func (d *demo) run(ctx context.Context, keep string, leave bool) (err error) {
	began := time.Now()
	stop, err := d.open(ctx, keep)
	if err != nil {
		return errors.Join(err, stop())
	}
	defer func() { err = errors.Join(err, stop()) }()
	d.say("ready in %.1f s: service at %s, a private web of %d sites beside it", time.Since(began).Seconds(), d.api.url, len(d.web.Hosts()))

	limited, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	if err := d.show(limited); err != nil {
		return err
	}
	d.summary.Seconds = float64(time.Since(began).Milliseconds()) / 1000
	d.summary.OK = len(d.summary.Problems) == 0
	if d.asJSON {
		if err := printJSON(d.out, d.summary); err != nil {
			return err
		}
	}
	for _, p := range d.summary.Problems {
		d.say("NOT AS EXPECTED: %s", p)
	}
	if d.summary.OK {
		d.say("\neverything was as expected, %.1f s after the start", d.summary.Seconds)
	}
	if leave {
		if !d.summary.OK {
			return exit(exitError)
		}
		return nil
	}
	d.say("\nstill serving; interrupt ends it\n  GraphQL  %s/graphql (POST, WebSocket, SSE)\n  key      %s\n  try      ENRICHD_URL=%s ENRICHD_API_KEY=%s enrichd watch %s --after 0",
		d.api.url, d.api.key, d.api.url, d.api.key, d.summary.Runs[0].RequestID)
	<-ctx.Done()
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.talk, format+"\n", args...) }

// open starts everything: sandbox, database, service, webhook receiver. stop ends what was started.
func (d *demo) open(ctx context.Context, keep string) (stop func() error, err error) {
	var closers []func() error
	stop = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	if d.web, err = sandbox.Start(ctx, sandbox.Config{}); err != nil {
		return stop, err
	}
	closers = append(closers, d.web.Close)
	dir := keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "enrichd-demo-"); err != nil {
			return stop, err
		}
		closers = append(closers, func() error { return os.RemoveAll(dir) })
	}
	conf, err := d.config(dir)
	if err != nil {
		return stop, err
	}
	if d.sink, err = newWebhookSink(); err != nil {
		return stop, err
	}
	closers = append(closers, d.sink.Close)
	conf.EgressPorts = append(conf.EgressPorts, d.sink.port)

	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if d.app, err = newApp(ctx, conf, whileServing, log); err != nil {
		return stop, err
	}
	closers = append(closers, d.app.Close)
	service, err := d.app.start(ctx, roles{api: true, enrich: true, dispatch: true})
	if err != nil {
		return stop, err
	}
	closers = append(closers, func() error { return service.Stop(context.WithoutCancel(ctx)) })

	company, err := d.app.createCompany(ctx, newCompany{Name: "Demo", Plan: "business", Mode: billing.Prepaid, Credits: demoCredits})
	if err != nil {
		return stop, err
	}
	_, secret, err := d.app.Access.CreateKey(ctx, access.NewKey{CompanyID: company.ID, Label: "demo", Scopes: access.Scopes})
	if err != nil {
		return stop, err
	}
	d.api = &client{url: "http://" + service.api.Addr, key: secret}
	d.summary.URL, d.summary.Key = d.api.url, secret
	return stop, nil
}

// config is the environment's, with the sandbox's settings over it.
func (d *demo) config(dir string) (*config.Config, error) {
	conf, err := config.FromEnv()
	if err != nil {
		return nil, err
	}
	web := d.web.Settings()
	conf.StateDir = dir
	conf.EgressAllow, conf.EgressPorts, conf.DNSServer = web.EgressAllow, web.EgressPorts, web.DNSServer
	conf.SourceURLs, conf.CrawlRate = web.SourceURLs, web.CrawlRate
	conf.SourceKeys = map[string]config.Secret{}
	for name, key := range web.SourceKeys {
		conf.SourceKeys[name] = config.Secret(key)
	}
	conf.Sources = []string{"site", "github", "openalex"}
	conf.WebhookHTTP, conf.Dev = true, true
	if os.Getenv("ENRICHD_ADDR") == "" && taken(conf.Addr) {
		conf.Addr = "127.0.0.1:0"
	}
	if !conf.AdminChosen && taken(conf.AdminAddr) {
		conf.AdminAddr = "127.0.0.1:0"
	}
	return conf, nil
}

func taken(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return true
	}
	l.Close()
	return false
}

// show does the main job through the public API alone, and looks whether all of it was as expected.
func (d *demo) show(ctx context.Context) error {
	if err := d.importAll(ctx); err != nil {
		return err
	}
	hook, err := d.api.createWebhook(ctx, d.sink.URL())
	if err != nil {
		return err
	}
	d.sink.secret = hook
	if d.summary.Before, err = d.api.account(ctx); err != nil {
		return err
	}
	d.say("\nledger before:")
	d.say("%s", d.summary.Before)

	results := map[string]sandbox.Result{}
	for n, group := range d.groups() {
		if err := d.oneRun(ctx, n+1, group, results); err != nil {
			return err
		}
	}
	d.summary.Webhooks = d.sink.wait(ctx, len(d.summary.Runs))
	d.say("\nwebhooks:")
	for _, w := range d.summary.Webhooks {
		d.say("  %s %s  signature %s, older signature %s", w.Event, w.RequestID, verdict(w.Verified), verdict(w.OlderVerified))
	}
	if d.summary.After, err = d.api.account(ctx); err != nil {
		return err
	}
	d.say("\nledger after:")
	d.say("%s", d.summary.After)
	d.summary.Problems = append([]string{}, d.web.Judge(results)...)
	d.judge()
	return nil
}

func verdict(ok bool) string { return map[bool]string{true: "verified", false: "WRONG"}[ok] }

// importAll brings the sandbox's people in through importProfiles.
func (d *demo) importAll(ctx context.Context) error {
	rows, _, err := enrichment.ReadRows(enrichment.FormatCSV, bytes.NewReader(d.web.Profiles()))
	if err != nil {
		return err
	}
	inputs := make([]enrichment.ProfileInput, len(rows))
	for i, r := range rows {
		if r.Err != nil {
			return r.Err
		}
		inputs[i] = r.Input
	}
	profiles, err := d.api.importProfiles(ctx, inputs)
	if err != nil {
		return err
	}
	d.ids, d.names = map[string]string{}, map[string]string{demoUnknown: "(an unknown id)"}
	for _, p := range profiles {
		d.ids[p.ExternalID], d.names[p.ID] = p.ID, p.Name
	}
	d.say("imported %d profiles", len(profiles))
	return nil
}

// groups are the profile ids of each run; the last one holds an unknown id as well.
func (d *demo) groups() [][]string {
	var groups [][]string
	for _, e := range d.web.Expected() {
		for len(groups) < e.Run {
			groups = append(groups, nil)
		}
		groups[e.Run-1] = append(groups[e.Run-1], d.ids[e.ExternalID])
	}
	last := len(groups) - 1
	groups[last] = append(groups[last], demoUnknown)
	return groups
}

// oneRun starts a run, follows it to its end, and shows what it found.
func (d *demo) oneRun(ctx context.Context, n int, ids []string, into map[string]sandbox.Result) error {
	run, err := d.api.start(ctx, map[string]any{
		"idempotencyKey": fmt.Sprintf("demo-%d", n), "profileIds": ids, "label": fmt.Sprintf("demo %d", n),
	})
	if err != nil {
		return err
	}
	d.say("\nrun %d: %s, %d profiles, %d credits held", n, run.RequestID, len(ids), run.Credits.Held)
	var state runState
	paint := newPainter(d.talk, d.names)
	seen, gaps := 0, 0
	var last event
	after := 0
	err = d.api.follow(ctx, run.RequestID, &after, func(e event) error {
		if e.Sequence != seen+1 {
			gaps++
		}
		seen, last = e.Sequence, e
		state.fold(e)
		paint.show(&state, e, state.Status.Final())
		return nil
	})
	if err != nil {
		return err
	}
	if paint.fd >= 0 {
		paint.show(&state, last, true)
	}
	if gaps > 0 {
		d.problem("run %d: the subscription had %d gaps or repeats", n, gaps)
	}
	res, lines, err := d.api.results(ctx, run.RequestID)
	if err != nil {
		return err
	}
	d.summary.Runs = append(d.summary.Runs, demoRun{run.RequestID, res.Status, seen, state.Progress, res.Credits})
	d.say("")
	for i, l := range lines {
		printResult(d.talk, l)
		if err := d.keep(l, res.Profiles.Nodes[i], into); err != nil {
			return err
		}
	}
	return nil
}

// keep notes one result for the summary and for judging.
func (d *demo) keep(l resultLine, raw json.RawMessage, into map[string]sandbox.Result) error {
	c := demoCandidate{Outcome: l.Outcome, Missing: l.Missing, Emails: map[string]string{}, ExternalID: l.ProfileID, Name: d.names[l.ProfileID]}
	if l.Profile != nil {
		c.ExternalID = l.Profile.ExternalID
		judged, err := judgedResult(raw)
		if err != nil {
			return err
		}
		into[c.ExternalID] = judged
	} else if l.Outcome != enrichment.OutcomeNotFound {
		d.problem("the unknown id ended %s", l.Outcome)
	}
	if l.Candidate != nil {
		c.Facts = len(l.Candidate.Facts)
		for _, e := range l.Candidate.Emails {
			c.Emails[e.Address] = e.Status
		}
	}
	d.summary.Results = append(d.summary.Results, c)
	return nil
}

// judgedResult reads a result as the sandbox judges it.
func judgedResult(raw json.RawMessage) (sandbox.Result, error) {
	var in struct {
		Outcome   string
		Missing   []string
		Candidate *struct {
			ScoreBasis string
			MatchScore int
			Emails     []sandbox.ResultEmail
			Links      []struct {
				URL      string
				Verified bool
			}
			Facts []struct {
				Name     string
				Value    json.RawMessage
				Evidence []struct{ Source string }
			}
		}
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return sandbox.Result{}, err
	}
	out := sandbox.Result{Outcome: in.Outcome, Missing: in.Missing}
	if in.Candidate == nil {
		return out, nil
	}
	out.ScoreBasis, out.MatchScore, out.Emails = in.Candidate.ScoreBasis, in.Candidate.MatchScore, in.Candidate.Emails
	for _, l := range in.Candidate.Links {
		if l.Verified {
			out.VerifiedLinks = append(out.VerifiedLinks, l.URL)
		}
	}
	for _, f := range in.Candidate.Facts {
		fact := sandbox.ResultFact{Name: f.Name, Value: string(f.Value)}
		var text string
		if json.Unmarshal(f.Value, &text) == nil {
			fact.Value = text
		}
		for _, e := range f.Evidence {
			fact.Sources = append(fact.Sources, e.Source)
		}
		out.Facts = append(out.Facts, fact)
	}
	return out, nil
}

func (d *demo) problem(format string, args ...any) {
	d.summary.Problems = append(d.summary.Problems, fmt.Sprintf(format, args...))
}

// judge looks at what lies between the results: credits and webhooks.
func (d *demo) judge() {
	var spent int64
	for _, r := range d.summary.Runs {
		spent += r.Credits.Captured
		if r.Status != enrichment.StatusCompleted {
			d.problem("run %s ended %s", r.RequestID, r.Status)
		}
		if r.Credits.Held != 0 || r.Credits.Captured+r.Credits.Released != r.Credits.Reserved || int(r.Credits.Captured) != r.Progress.succeeded() {
			d.problem("the credits of run %s do not add up: %+v", r.RequestID, r.Credits)
		}
	}
	if b, a := d.summary.Before, d.summary.After; b.Available-a.Available != spent || a.Held != 0 {
		d.problem("%d credits were spent, but the balance went from %d to %d with %d held", spent, b.Available, a.Available, a.Held)
	}
	if len(d.summary.Webhooks) != len(d.summary.Runs) {
		d.problem("%d webhooks came for %d runs", len(d.summary.Webhooks), len(d.summary.Runs))
	}
	for _, w := range d.summary.Webhooks {
		if !w.Verified || !w.OlderVerified || !w.SameAsPolled {
			d.problem("webhook %s of %s: signature %s, older signature %s, same as polled %v", w.ID, w.RequestID, verdict(w.Verified), verdict(w.OlderVerified), w.SameAsPolled)
		}
	}
}
