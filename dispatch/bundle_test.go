package dispatch

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/uptrace/bun"

	"github.com/enrichd/enrichd/internal/access"
	"github.com/enrichd/enrichd/internal/egress"
	"github.com/enrichd/enrichd/internal/ident"
	"github.com/enrichd/enrichd/internal/jobs"
	"github.com/enrichd/enrichd/internal/pg"
	"github.com/enrichd/enrichd/internal/pgtest"
	"github.com/enrichd/enrichd/internal/seal"
)

// bundle is a dispatch service on a database of its own, with one company and one live key.
type bundle struct {
	*Service
	t         testing.TB
	db        *pgtest.DB
	principal *access.Principal
	policy    egress.Policy
	logs      *lockedBuffer
	workers   int
}

// quick makes retries come soon; statuses that ask for a minute still get it.
var quick = []time.Duration{30 * time.Millisecond}

func setup(t testing.TB) *bundle {
	t.Helper()
	db := pgtest.New(t)
	box, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{t: t, db: db, logs: new(lockedBuffer), workers: 16, policy: egress.Policy{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AllowHTTP: true, RootCAs: x509.NewCertPool(),
	}}
	log := slog.New(slog.NewTextHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	inserter, err := jobs.NewInserter(db.Bun, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	client := egress.NewClient(b.policy, egress.ForWebhook)
	t.Cleanup(client.Close)
	b.Service = &Service{DB: db.Bun, Box: box, Jobs: inserter, Egress: client, Log: log, Config: Config{Curve: quick, Version: "test"}}
	b.principal = b.company(false)
	return b
}

// company adds a company with one key.
func (b *bundle) company(test bool) *access.Principal {
	b.t.Helper()
	now := time.Now()
	p := &access.Principal{
		Company: access.Company{ID: ident.NewUUID(), Name: "Acme", Plan: "none", CreatedAt: now},
		Key:     access.Key{ID: ident.NewUUID(), Label: "k", Prefix: "sk", Test: test, Scopes: []access.Scope{access.WebhooksWrite}, AllowedIPs: []string{}, CreatedAt: now},
	}
	p.Key.CompanyID, p.Key.Digest = p.Company.ID, []byte(p.Key.ID)
	b.insert(&p.Company)
	b.insert(&p.Key)
	return p
}

// testKey adds a test key to the bundle's company.
func (b *bundle) testKey() *access.Principal {
	b.t.Helper()
	p := *b.principal
	p.Key.ID, p.Key.Test = ident.NewUUID(), true
	p.Key.Digest = []byte(p.Key.ID)
	b.insert(&p.Key)
	return &p
}

func (b *bundle) insert(model any) {
	b.t.Helper()
	if _, err := b.DB.NewInsert().Model(model).Exec(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) as(p *access.Principal) context.Context { return access.With(b.t.Context(), p) }

// webhook makes a webhook of the bundle's company; change may adapt it first.
func (b *bundle) webhook(url string, change func(*CreateWebhookInput)) (*Webhook, string) {
	b.t.Helper()
	return b.webhookOf(b.principal, url, change)
}

func (b *bundle) webhookOf(p *access.Principal, url string, change func(*CreateWebhookInput)) (*Webhook, string) {
	b.t.Helper()
	in := CreateWebhookInput{URL: url, AllRuns: true, MaxRetries: 9, TimeoutMillis: 5000}
	if change != nil {
		change(&in)
	}
	w, secret, err := b.CreateWebhook(b.as(p), in)
	if err != nil {
		b.t.Fatal(err)
	}
	return w, secret
}

// event is an end of a run of the bundle's company.
func (b *bundle) event(change func(*Event)) Event {
	e := Event{Type: EnrichCompleted, CompanyID: b.principal.Company.ID, RunID: ident.NewRun(), Sequence: 12, Data: []byte(`{"success":true, "z":1,"a":"é\u0000"}`), At: time.Now()}
	if change != nil {
		change(&e)
	}
	return e
}

// publish announces events in a transaction of their own.
func (b *bundle) publish(events ...Event) {
	b.t.Helper()
	if err := pg.InTx(b.t.Context(), b.DB, func(ctx context.Context, tx bun.Tx) error { return b.Publish(ctx, tx, events...) }); err != nil {
		b.t.Fatal(err)
	}
}

// work starts a node that delivers until the test ends.
func (b *bundle) work() *jobs.Worker {
	b.t.Helper()
	workers := river.NewWorkers()
	river.AddWorker(workers, &DeliveryWorker{Service: b.Service})
	river.AddWorker(workers, &ResumeWorker{Service: b.Service})
	river.AddWorker(workers, &UpkeepWorker{Service: b.Service})
	w, err := jobs.NewWorker(b.db.Pool(b.t), workers, jobs.WorkerConfig{NodeID: ident.NewUUID(), WebhookWorkers: b.workers, Log: b.Log})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := w.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := w.Stop(context.Background()); err != nil {
			b.t.Error(err)
		}
	})
	return w
}

// all reads every delivery, oldest first, as the owner sees them.
func (b *bundle) all() []*Delivery {
	b.t.Helper()
	var rows []*Delivery
	if err := seen(b.DB.NewSelect().Model(&rows), b.principal).OrderExpr("d.created_at, d.id").Scan(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return rows
}

// ended waits until every delivery has ended, and returns them.
func (b *bundle) ended(n int) []*Delivery {
	b.t.Helper()
	return b.until(func(rows []*Delivery) bool {
		done := 0
		for _, d := range rows {
			if d.CompletedAt != nil {
				done++
			}
		}
		return done == n
	})
}

// until waits for the deliveries to be as wanted.
func (b *bundle) until(wanted func([]*Delivery) bool) []*Delivery {
	b.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		rows := b.all()
		if wanted(rows) {
			return rows
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("deliveries after 30 s: %s\n%s", asJSON(rows), b.logs)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// attemptsOf reads the log of one delivery.
func (b *bundle) attemptsOf(id string) []*DeliveryAttempt {
	b.t.Helper()
	by, err := b.AttemptsOf(b.as(b.principal), []string{id})
	if err != nil {
		b.t.Fatal(err)
	}
	return by[id]
}

func (b *bundle) count(query string, args ...any) (n int) {
	b.t.Helper()
	if err := b.DB.NewRaw(query, args...).Scan(b.t.Context(), &n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bundle) exec(query string, args ...any) {
	b.t.Helper()
	if _, err := b.DB.NewRaw(query, args...).Exec(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// arrival is a request as it came in.
type arrival struct {
	Header http.Header
	Body   []byte
	At     time.Time
}

// endpoint is a real HTTP server on loopback that notes what arrives.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	arrivals []arrival
}

// receive starts a receiver that answers with handler (nil: 200) and lets the service reach it.
func (b *bundle) receive(tls bool, handler func(w http.ResponseWriter, r *http.Request, nth int)) *endpoint {
	b.t.Helper()
	rc := &endpoint{}
	rc.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender went away
		}
		rc.mu.Lock()
		rc.arrivals = append(rc.arrivals, arrival{r.Header.Clone(), body, time.Now()})
		nth := len(rc.arrivals)
		rc.mu.Unlock()
		if handler != nil {
			handler(w, r, nth)
		}
	}))
	rc.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if tls {
		rc.EnableHTTP2 = true
		rc.StartTLS()
		b.policy.RootCAs.AddCert(rc.Certificate())
	} else {
		rc.Start()
	}
	b.t.Cleanup(rc.Close)
	b.reach(rc.URL)
	return rc
}

// reach lets the service dial the port of address.
func (b *bundle) reach(address string) {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		b.t.Fatal(err)
	}
	b.policy.Ports = append(b.policy.Ports, uint16(port))
	b.Egress.SetPolicy(b.policy)
}

func (r *endpoint) seen() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrival(nil), r.arrivals...)
}

// lockedBuffer collects logs of several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func asJSON(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
