package cmd_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// collector is where the server sends its spans.
type collector struct {
	url string
	mu  sync.Mutex
	got bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got.Write(body) // protobuf: strings stand in it as they are
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// freeAddr is an address that nobody listens on at the moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestNobodyIsInTheLog plants a person in everything that a caller may send, and
// looks for it in everything that the server tells about itself.
func TestNobodyIsInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	traces, admin := newCollector(t), freeAddr(t)
	hook := newReceiver(t)
	w.env = append(settings(w.web, hook), "DATABASE_URL="+w.db.DSN)
	n := w.serve(t, "ENRICHD_SOURCES=site,github", "ENRICHD_LOG_FORMAT=text", "ENRICHD_LOG_LEVEL=debug",
		"ENRICHD_ADMIN_ADDR="+admin, "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.url)
	me := w.tenant(t, n, 20)

	const (
		name     = "Zacharias Plantagenet"
		mail     = "zacharias.plantagenet@planted.example"
		external = "planted-4711"
	)
	planted := []byte(`{"externalId":"` + external + `","name":"` + name + `","emails":["` + mail + `"],"location":"Plantagetown",` +
		`"currentCompany":"Planted Works","links":["` + w.site("ada-lindqvist") + `"]}` + "\n")
	person := importFile(t, w.env, me.company, "people.jsonl", planted)
	people := w.importAll(t, me.company)

	hookID, secret := me.webhook(t, hook.url, "ENRICH_COMPLETED")
	id := me.started(t, append(people.pick(t, "ada-lindqvist", "mateo-ibarra"), person[external], mail), hookID)
	events := me.follow(t, id, new(int)).all(t)
	expectWhole(t, events, 4)
	me.results(t, id)
	hook.one(t)

	// What callers call things is theirs: operations, variables, paths, headers, and what is wrong with them.
	said := url.QueryEscape(mail)
	agent := []string{"User-Agent", name, "X-Request-Id", external, "X-Forwarded-For", "203.0.113.99", "Referer", "https://" + said}
	me.graphql(t, `query Plantagenet { viewer { company { id plantedAlias: name } } }`, nil, agent...)
	me.graphql(t, `query($p: String) { `+external, map[string]any{"p": mail}, agent...)
	me.graphql(t, `query($p: ID!) { enrichmentRun(requestId: $p) { status } }`, map[string]any{"p": mail}, agent...)
	me.send(t, "GET", "/graphql?query="+url.QueryEscape(`{ node(id: "`+mail+`") { id } }`), nil, agent...)
	for _, path := range []string{"/sourcing/enrich/" + said + "/results", "/profiles/" + said, "/webhooks/" + said, "/v1/" + said, "/" + said, "/billing/usage?start=" + said} {
		me.send(t, "GET", path, nil, agent...)
	}
	me.send(t, "POST", "/sourcing/enrich", []byte(`{"profileIds":["`+mail+`"`), agent...)
	me.start(t, []string{mail}, mail, agent...)
	caller{n.url, "sk_plantagenet"}.send(t, "GET", "/billing/usage", nil, agent...)

	res, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	n.stop(t)

	told := map[string]string{"the log": n.log.String(), "stdout": n.out.String(), "the metrics": string(metrics), "the spans": traces.String()}
	for where, text := range told {
		for _, word := range []string{
			name, "plantagenet", "zacharias", "planted", "plantagetown", mail, "4711", "203.0.113.99",
			"lindqvist", "ada@", "ibarra", "mateo", me.key, secret, strings.TrimPrefix(secret, "whsec_"),
		} {
			for _, form := range []string{word, strings.ToLower(word), url.QueryEscape(word)} {
				if i := strings.Index(strings.ToLower(text), strings.ToLower(form)); i >= 0 {
					t.Errorf("%s holds %q: …%s…", where, word, text[max(0, i-200):min(len(text), i+200)])
					break
				}
			}
		}
	}
	// That the planted is nowhere means something only if the rest is there.
	for where, wanted := range map[string][]string{
		"the log":     {"msg=request", "msg=operation", "msg=profile", `msg="webhook attempt"`, "request_id=req_", "company_id=" + me.company, "key_id=" + me.keyID, "run_id=" + id, "trace_id="},
		"the metrics": {"http_server_request_duration_seconds", "graphql_operation_duration_seconds", "graphql_rejected_total", "enrichment_runs_total{outcome=\"COMPLETED\"} 1", "enrichment_profiles_total", "run_events_lag_seconds", "webhook_attempts_total{class=\"2xx\",outcome=\"delivered\"} 1", "webhook_delivery_latency_seconds", "webhook_queue_depth 0", "billing_captures_total", "billing_open_holds", "ws_messages_sent_total", "go_sql_", "go_goroutines"},
		"the spans":   {"enrichd", "webhook attempt", "profile", "subscription", id},
	} {
		for _, w := range wanted {
			if !strings.Contains(told[where], w) {
				t.Errorf("%s lacks %q", where, w)
			}
		}
	}
	for _, label := range regexp.MustCompile(`\{[^}]*\}`).FindAllString(string(metrics), -1) {
		if strings.Contains(label, me.company) || strings.Contains(label, me.keyID) || strings.Contains(label, "http://") {
			t.Errorf("a label of the metrics names somebody: %s", label)
		}
	}
}

// TestAdmin asks a server for what its operator asks.
func TestAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, roles := range []string{"api,enrich,dispatch", "enrich"} {
		admin := freeAddr(t)
		p := spawn(t, append(w.env, "ENRICHD_ADMIN_ADDR="+admin, "ENRICHD_LOG_LEVEL=warn"), "serve", "--roles", roles)
		c := caller{url: "http://" + admin}
		eventually(t, patience, "it has started", func() bool {
			res, err := http.Get(c.url + "/startupz")
			if err != nil {
				return false
			}
			res.Body.Close()
			return res.StatusCode == 200
		})
		for _, path := range []string{"/livez", "/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=1"} {
			if r := c.send(t, "GET", path, nil); r.status != 200 {
				t.Errorf("%s %s: %d %s", roles, path, r.status, r.body)
			}
		}
		for level, status := range map[string]int{"debug": 200, "nonsense": 400} {
			if r := c.send(t, "PUT", "/log/level", []byte(level)); r.status != status {
				t.Errorf("%s: %d %s", level, r.status, r.body)
			}
		}
		if r := c.send(t, "GET", "/log/level", nil); strings.TrimSpace(string(r.body)) != "debug" {
			t.Errorf("the level is %s", r.body)
		}
		p.signal(t, interrupt)
		if status := p.wait(t, patience); status != 0 {
			t.Errorf("%s: status %d", roles, status)
		}
	}
}
